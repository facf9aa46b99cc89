"""The method contract: the life of a method plugin, in the order in which the harness calls it.

A method is everything between the network's dense features and its predictions. One run goes through

1. ``Method(config, network, classes)``   build the head on the shared encoder-decoder;
2. ``prepare(context)``                    before training, and again before a resumed state is loaded;
3. ``losses(batch)``                       every batch: named scalar terms, summed and back-propagated by the harness;
4. ``after_step(observed, context)``       after each optimiser step: online estimation without gradient;
5. ``finish(context)``                     once, after training;
6. ``predict(images)``                     evaluation, in ``eval`` mode and without gradient.

Only 1, 3 and 6 are required. What some methods can do besides stands in ``methods/capabilities.py``: a method says so
by inheriting from an ability. Whatever a method learns or estimates lives in its ``state_dict``, so checkpoints, resume
and evaluation elsewhere need nothing from the method. A method never asks how many ranks there are: it reduces through
``self.collectives``, which is the identity on one rank.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common.grid import downsample_labels as downsample_labels
from bench.common.grid import subsample as subsample
from bench.common.grid import upsample as upsample
from bench.common.labels import IGNORE as IGNORE
from bench.common.labels import UNLABELLED as UNLABELLED
from methods.errors import MethodError as MethodError

Progress = Callable[[Iterable[Any], str, int | None], Iterable[Any]]
"""``progress(items, description, total)`` iterates with a progress bar."""


class MethodConfig(BaseModel):
    """Base of a method's hyper-parameters: unknown keys are errors, values are validated and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def added(default: Any, **constraints: Any) -> Any:
    """A pydantic field that joins a configuration of which there are runs already.

    While it has its ``default`` it is left out of what is recorded, so that those runs keep their ids and their rows.
    """
    return Field(default, exclude_if=lambda value: bool(value == default), **constraints)


class Classes(Protocol):
    """What a method may know of the classes; a dataset's ``ClassSet`` satisfies it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in training-id order."""

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colour of each class, 0..255."""

    def __len__(self) -> int: ...


class Features(NamedTuple):
    """What the network computes for a batch of images of size (H, W)."""

    dense: Tensor
    """(B, D, ceil(H/s), ceil(W/s)) decoder output, with s the network's ``stride``."""
    pyramid: tuple[Tensor, ...]
    """Encoder feature maps from fine to coarse, each (B, C_i, ceil(H/s_i), ceil(W/s_i))."""


class Network(nn.Module):
    """The encoder-decoder all methods share. Takes RGB images in [0, 1] of any size and normalises them itself."""

    encoder: nn.Module
    """Has its own learning rate, and may be frozen."""
    decoder: nn.Module
    out_channels: int
    """D, the channels of ``Features.dense``."""
    stride: int
    """Image pixels per cell of ``Features.dense``."""
    pyramid_channels: tuple[int, ...]
    pyramid_strides: tuple[int, ...]

    def forward(self, images: Tensor) -> Features:
        """Compute features of ``images`` (B, 3, H, W), float RGB in [0, 1]."""
        raise NotImplementedError  # an abstract method: nn.Module rules out ABCMeta here

    def __call__(self, images: Tensor) -> Features:
        """Run ``forward`` with hooks; here only for its type."""
        features: Features = super().__call__(images)
        return features


@dataclass
class Batch:
    """One training batch, after augmentation, on the training device."""

    images: Tensor
    """(B, 3, H, W) float32 RGB in [0, 1]."""
    labels: Tensor
    """(B, H, W) int64: 0..C-1, ``UNLABELLED`` or ``IGNORE``."""
    ids: tuple[str, ...] = ()
    present: Tensor | None = None
    """(B, C) bool: classes annotated anywhere in the *uncropped* label map (image tags)."""
    regions: Tensor | None = None
    """(B, H, W) int64: an over-segmentation of each image that was computed elsewhere; only if the run names one."""

    def pin_memory(self) -> Batch:
        """The batch where a GPU can fetch it from; called by torch's loader."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device`` in the types above: files hold bytes, which are widened there."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        images = moved.images if moved.images.is_floating_point() else moved.images.float().div_(255)
        regions = None if moved.regions is None else moved.regions.long()
        return replace(moved, images=images, labels=moved.labels.long(), regions=regions)

    def split(self, size: int) -> list[Batch]:
        """Its images in batches of ``size``, of which the last may be smaller."""
        return [self._part(slice(first, first + size)) for first in range(0, len(self.images), size)]

    def _part(self, images: slice) -> Batch:
        return replace(self._each(lambda tensor: tensor[images]), ids=self.ids[images])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        tensors: dict[str, Any] = {n: change(value) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


class Losses(NamedTuple):
    """What a method makes of a batch."""

    terms: Mapping[str, Tensor]
    """Named scalars, each already weighted."""
    observed: Any = None
    """What ``after_step`` needs of the batch: tensors without gradient, in a tuple or dictionary of any depth."""


@dataclass
class Prediction:
    """What a method says of a batch of images. Any resolution (h, w): the harness resizes bilinearly."""

    logits: Tensor
    """(B, C, h, w) float32 class scores; their softmax is the class posterior."""
    log_density: Tensor | None = None
    """(B, C, h, w) float32 log p(x | c) in nats, before any calibration."""
    anomaly: dict[str, Tensor] = field(default_factory=dict)
    """Further named score maps (B, h, w), higher is more anomalous."""
    readings: dict[str, Tensor] = field(default_factory=dict)
    """Further class scores (B, C, h', w') of the same checkpoint, such as another decoding or an auxiliary head.
    The closed-set and cross-domain protocols score each as a row beside the method's."""


class Collectives:
    """Sums and gathers over the ranks of a run; this base class is one rank, where each is the identity."""

    rank: int = 0
    world_size: int = 1

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum ``tensor`` (same shape on each rank) over ranks; all have the result; gradients flow through it."""
        return tensor

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Stack ``tensor`` (same shape on each rank) to (world_size, ...) in rank order; gradients flow likewise."""
        return tensor.unsqueeze(0)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Concatenate ``rows`` (P_r, ...) of all ranks, which may have different numbers of them, in rank order."""
        if self.world_size == 1:
            return rows
        counts = self.all_gather(torch.full((1,), len(rows), device=rows.device)).flatten().tolist()
        padded = torch.cat([rows, rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])])
        return torch.cat([part[:count] for part, count in zip(self.all_gather(padded), counts)])

    def pooled(self, mean: Tensor, count: Tensor | int) -> Tensor:
        """A ``mean`` over this rank's ``count`` items, weighted so that the mean over ranks is that over all items.

        The harness takes the mean over ranks of every loss term and gradient, as of batches of one size.
        """
        if isinstance(count, int):  # without a wait for the device
            count = torch.full((), count, device=mean.device)
        return mean * (count * self.world_size / self.all_reduce_sum(count).clamp(min=1))


class Images(Protocol):
    """Training images in their order, from the first with each call."""

    def __call__(self, first: int = 0, every: int = 1) -> Iterator[Batch]:
        """Each ``every``-th from ``first`` on; the others are not read."""


@dataclass
class Context:
    """What the harness lends a method around training; a method keeps none of it."""

    device: torch.device
    seed: int
    steps: int
    """Optimiser steps of the whole run: time constants of a paper's schedule are scaled to it."""
    step: int
    """Index of the current optimiser step, from 0."""
    collectives: Collectives
    cache: Path
    """A folder that outlives the run, for what is fitted once per dataset and settings."""
    label_maps: Callable[[], Iterator[Tensor]]
    """Iterate over the training label maps (H, W) int64, whole and not augmented, at inference scale."""
    images: Images
    """Iterate over the training images with labels, whole, not augmented, one per batch, at inference scale."""
    progress: Progress = field(default=lambda items, description, total: items)
    note: Callable[[str], None] = field(default=lambda text: None)
    """Tell the user one line."""

    def share(self) -> Iterator[tuple[int, Batch]]:
        """This rank's part of ``images``, which alone it reads, each with its place among all."""
        rank, ranks = self.collectives.rank, self.collectives.world_size
        return zip(itertools.count(rank, ranks), self.images(rank, ranks))


class Method(nn.Module, ABC):
    """A segmentation method as a plugin. Subclass it in one file and give it a ``name`` and a ``Config``."""

    name: ClassVar[str]
    """The name that users type."""
    version: ClassVar[str] = "1"
    """Raised whenever results change; part of a run's fingerprint."""
    reference: ClassVar[str] = ""
    """The paper, as a citation."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    density_score: ClassVar[str] = "nll"
    """Name under which the harness reports -max_c ``log_density`` as an anomaly score."""
    headline_score: ClassVar[str] = "msp"
    """The anomaly score by which the method is usually judged, and which pictures show."""
    window_average: ClassVar[Literal["logits", "probabilities"]] = "logits"
    """What overlapping windows and test-time augmentations average."""
    training_only: ClassVar[Sequence[str]] = ()
    """Buffers that only continued training needs: kept in training checkpoints, left out of the final model."""
    check_config: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Configuration under which ``bench check`` runs, where the default one is larger than a check needs."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.classes = classes
        self.collectives = ONE_RANK
        """Those of the run while it trains, in ``losses`` too: each rank calls the same, whatever its batch holds."""

    def prepare(self, context: Context) -> None:
        """Before training: allocate what depends on the run's length, fit what precedes the network."""

    @abstractmethod
    def losses(self, batch: Batch) -> Losses:
        """Loss terms of ``batch``, which the harness sums and back-propagates; the state stays as it is."""

    def after_step(self, observed: Sequence[Any], context: Context) -> None:
        """Online estimation, once after each optimiser step and without gradient.

        ``observed`` holds what ``losses`` observed of each batch of the step: one, or several if gradients add up.
        """

    def finish(self, context: Context) -> None:
        """After the last step, in ``eval`` mode and without gradient: build what prediction needs."""

    @abstractmethod
    def predict(self, images: Tensor) -> Prediction:
        """Predict ``images`` (B, 3, H, W), float RGB in [0, 1]; called in ``eval`` mode without gradient."""

    def facts(self) -> Mapping[str, float | str | None]:
        """What the record of a trained model shall say of it, by name: the bound of a codec, say."""
        return {}


ONE_RANK = Collectives()


def projection(channels: int, dim: int) -> nn.Sequential:
    """From features (B, channels, h, w) to (B, dim, h, w): 1x1 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, dim, kernel_size=1, bias=False), nn.BatchNorm2d(dim), nn.ReLU(inplace=True)
    )


def pixel_cross_entropy(logits: Tensor, labels: Tensor, collectives: Collectives = ONE_RANK) -> Tensor:
    """Mean cross-entropy of ``logits`` (B, C, h, w), enlarged to ``labels`` (B, H, W), over labelled pixels.

    Labels outside 0..C-1 do not count; a batch without any labelled pixel has loss zero, with a graph. With the
    ``collectives`` of a run it counts as much as it has labelled pixels among those of all ranks (``pooled``).
    """
    labelled = labels < logits.shape[1]
    enlarged = upsample(logits.float(), (labels.shape[-2], labels.shape[-1]))
    total = F.cross_entropy(enlarged, torch.where(labelled, labels, -100), ignore_index=-100, reduction="sum")
    count = labelled.sum()
    return collectives.pooled(total / count.clamp(min=1), count)
