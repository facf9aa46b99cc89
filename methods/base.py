"""The method contract: what a method plugin is, in the order in which the harness calls it.

A method is everything between the network's dense features and its predictions. One run goes through

1. ``Method(config, network, classes)``   build the head on the shared encoder-decoder;
2. ``prepare(context)``                    before training, and again before a resumed state is loaded;
3. ``losses(batch)``                       every step: named scalar terms, summed and back-propagated by the harness;
4. ``after_step(batch, context)``          after the optimiser's step: online estimation without gradient;
5. ``finish(context)``                     once, after training;
6. ``predict(images)``                     evaluation, in ``eval`` mode and without gradient;
7. ``evidence()``, ``explain(images)``     for ``bench explain``, if predictions rest on segments of training images;
8. ``diagnose(images, labels)``            for a method whose errors have parts worth telling apart;
9. ``sample``, ``generate``                for ``bench sample``, if it has a distribution over whole label maps.

Only 1, 3 and 6 are required. Whatever a method learns or estimates lives in its ``state_dict``, so checkpoints,
resume and evaluation elsewhere need nothing from the method. A method never asks how many ranks there are:
it reduces through ``context.collectives``, which is the identity on one rank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from methods.errors import MethodError

IGNORE = 255
"""Label of a pixel that does not exist for training or scoring: void, padding, outside."""

UNLABELLED = 254
"""Label of a valid pixel that nobody annotated (sparse supervision)."""

T = TypeVar("T")


class MethodConfig(BaseModel):
    """Base of a method's hyper-parameters: unknown keys are errors, values are validated and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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
    """Has a learning rate of its own, and may be frozen."""
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
        return super().__call__(images)


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
    scratch: dict[str, Any] = field(default_factory=dict)
    """What ``losses`` leaves for ``after_step`` of the same batch; dropped afterwards."""


@dataclass
class Prediction:
    """What a method says of a batch of images. Any resolution (h, w): the harness resizes bilinearly."""

    logits: Tensor
    """(B, C, h, w) float32 class scores whose softmax is the class posterior."""
    log_density: Tensor | None = None
    """(B, C, h, w) float32 log p(x | c) in nats, before any calibration."""
    anomaly: dict[str, Tensor] = field(default_factory=dict)
    """Further named score maps (B, h, w), higher is more anomalous."""
    readings: dict[str, Tensor] = field(default_factory=dict)
    """Further class scores (B, C, h', w') of the same checkpoint, such as another decoding or an auxiliary head.
    The closed-set and cross-domain protocols score each as a row of its own beside the method's."""


@dataclass
class Evidence:
    """What a method that predicts by retrieval may retrieve: P segments of its training images."""

    features: Tensor
    """(P, D) float32 unit vectors, compared by cosine."""
    labels: Tensor
    """(P,) int64 classes, as ``predict`` reads them."""
    images: Tensor
    """(P,) int64: the training image that each is from, in the order of ``Context.images``."""
    segments: Tensor
    """(P,) int64: which of the ``Explanation.segments`` of that image it is."""


@dataclass
class Explanation:
    """Which evidence the prediction of B images rests on, for S segments in each."""

    segments: Tensor
    """(B, h, w) int64, 0..S-1, at any resolution; ids without a cell are allowed."""
    rows: Tensor
    """(B, S, k) int64 rows of ``Evidence``, the most similar first; without meaning where an id has no cell."""
    cosines: Tensor
    """(B, S, k) float32 similarity of each to the segment."""


@dataclass
class Diagnosis:
    """What a method's errors are made of, on images with known labels: the closed-set protocol adds it up."""

    readings: dict[str, Tensor] = field(default_factory=dict)
    """Class maps (B, H, W) int64, 0..C-1, that need the labels and are scored like a prediction: an upper bound, say.
    What needs none belongs to the readings of a ``Prediction``."""
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Hits and total of what is not counted in labelled pixels: right tokens, say."""


class Collectives:
    """Sums and gathers over the ranks of a run; this base class is one rank, where each is the identity."""

    rank: int = 0
    world_size: int = 1

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum ``tensor`` over ranks (same shape on each); the result is on every rank."""
        return tensor

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Stack ``tensor`` (same shape on each rank) to (world_size, ...) in rank order."""
        return tensor.unsqueeze(0)


def _no_progress(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    return items


def _no_note(text: str) -> None:
    pass


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
    images: Callable[[], Iterator[Batch]]
    """Iterate over the training images with labels, whole, not augmented, one per batch, at inference scale."""
    progress: Callable[[Iterable[Any], str, int | None], Iterable[Any]] = _no_progress
    """``progress(items, description, total)`` iterates with a progress bar."""
    note: Callable[[str], None] = _no_note
    """Tell the user one line."""
    more_batches: bool = False
    """In ``after_step``: whether the step has further batches, as one of accumulated gradients does."""


class Method(nn.Module, ABC):
    """A segmentation method as a plugin. Subclass it in one file and give it a ``name`` and a ``Config``."""

    name: ClassVar[str]
    """The name that users type."""
    version: ClassVar[str] = "1"
    """Raised whenever results change; part of a run's fingerprint."""
    reference: ClassVar[str] = ""
    """The paper, as a citation."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    without_labels: ClassVar[Mapping[str, Any] | None] = None
    """Settings under which ``losses`` learns from images alone, None if there are none. ``--supervision none`` asks for
    them: ``prepare`` and every step then see only unlabelled pixels and void ones, the latter as the dense labels have
    them; ``finish`` sees the dense labels."""
    trains_network: ClassVar[bool] = True
    """False for methods without gradient steps: the harness then calls ``prepare`` and ``finish`` only."""
    density_score: ClassVar[str] = "nll"
    """Name under which the harness reports -max_c ``log_density`` as an anomaly score."""
    headline_score: ClassVar[str | None] = None
    """The anomaly score that pictures show; None: the density if it has a name of its own, else ``msp``."""
    window_average: ClassVar[Literal["logits", "probabilities"]] = "logits"
    """What overlapping windows and test-time augmentations average."""
    training_only: ClassVar[Sequence[str]] = ()
    """Buffers that only continued training needs: kept in training checkpoints, left out of the final model."""
    sized_by_training: ClassVar[Sequence[str]] = ()
    """Buffers of the method itself that ``finish`` makes as large as it needs; a saved state brings their size."""
    relabels: ClassVar[str | None] = None
    """What tables call ``relabel``, for a method that has it."""
    check_config: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Configuration under which ``bench check`` runs, where the default one is larger than a check needs."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.classes = classes

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.sized_by_training:
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, self.get_buffer(name).new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def prepare(self, context: Context) -> None:
        """Before training: allocate what depends on the run's length, fit what precedes the network."""

    @abstractmethod
    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """Named scalar loss terms of ``batch``, each already weighted; the harness sums and back-propagates them."""

    def after_step(self, batch: Batch, context: Context) -> None:
        """Online estimation after the optimiser's step, called without gradient, once for each batch of the step."""

    def finish(self, context: Context) -> None:
        """After the last step, in ``eval`` mode and without gradient: build what prediction needs."""

    @abstractmethod
    def predict(self, images: Tensor) -> Prediction:
        """Predict ``images`` (B, 3, H, W), float RGB in [0, 1]; called in ``eval`` mode without gradient."""

    def sample(self, images: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` label maps (count, B, h, w) int64 of ``images`` (B, 3, H, W) from the joint posterior.

        ``generator`` is a CPU one. Called like ``predict``; only for methods with a distribution over whole label maps.
        Raises MethodError for the others.
        """
        raise self._undrawn()

    def generate(self, context: Context, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` label maps (count, H, W) int64 without an image, from what training label maps are like.

        May estimate what it needs from ``context.label_maps`` and keep it in ``context.cache``. Raises MethodError for
        methods without a distribution over label maps.
        """
        raise self._undrawn()

    def _undrawn(self) -> MethodError:
        return MethodError(f"{self.name} draws no label maps; take a run of a method that does, such as gss")

    def relabel(self, table: Sequence[int], num_classes: int) -> None:
        """Predict other classes from here on, without training: class c of training counts as ``table[c]``.

        Entries outside 0..num_classes-1 take the class out of prediction; ``logits`` then has ``num_classes`` channels.
        The identity table undoes it. Only for methods that keep labelled examples and say so in ``relabels``: the
        cross-domain protocol scores them this way too, where the target has other classes.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot answer in other classes")

    def evidence(self) -> Evidence:
        """All that ``explain`` can name. Raises MethodError in methods that do not predict by retrieval."""
        raise self._unexplained()

    def explain(self, images: Tensor) -> Explanation:
        """The evidence for the prediction of ``images``, as ``predict`` takes them and in the same mode.

        Of a training image, whole and at inference scale, it gives the segments that ``evidence`` speaks of. Raises
        MethodError in methods that do not predict by retrieval.
        """
        raise self._unexplained()

    def _unexplained(self) -> MethodError:
        return MethodError(
            f"method {self.name} does not explain its predictions by retrieval; choose a run of one that does, "
            "such as segsort"
        )

    def diagnose(self, images: Tensor, labels: Tensor) -> Diagnosis:
        """Take the predictions of ``images`` (B, 3, H, W) with ``labels`` (B, H, W) apart; called like ``predict``.

        Images are whole, at the size at which they enter the network, and the labels with them. Methods that do not
        define it are never asked.
        """
        return Diagnosis()

    def facts(self) -> Mapping[str, float | str | None]:
        """What the record of a trained model shall say of it, by name: the bound of a codec, say."""
        return {}


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``maps`` (B, C, h, w) bilinearly to ``size`` = (H, W) without shifting the image grid.

    Maps of a network of stride s have ceil(H/s) rows, which cover up to s-1 rows of padding: they are enlarged by
    exactly s and cut, so that cell centres stay where the network saw them. Other sizes are stretched.
    """
    height, width = size
    h, w = maps.shape[-2:]
    if (h, w) == (height, width):
        return maps
    stride = _stride(height, width, (h, w))
    if stride is not None:
        full = F.interpolate(maps, scale_factor=float(stride), mode="bilinear", align_corners=False)
        return full[..., :height, :width]
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def subsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (B, h, w) of integer ``maps`` (B, H, W) at the centres of cells, aligned with ``upsample``.

    A cell whose centre lies in the padding takes the last row or column.
    """
    height, width = maps.shape[-2:]
    if size == (height, width):
        return maps
    rows, columns = _centres(height, width, size, _stride(height, width, size), maps.device)
    return maps[:, rows][:, :, columns]


def downsample_labels(labels: Tensor, size: tuple[int, int], stretched: bool = False) -> Tensor:
    """Labels (B, h, w) int64 of the cells of ``labels`` (B, H, W), aligned with ``upsample``.

    Each cell takes the label at its centre. Where nobody annotated that pixel, it takes the nearest label within the
    cell: by centres alone, a grid of stride 4 would lose 15 of 16 points. ``stretched``: the cells fill the map
    exactly, as the pixels of a resized image do; otherwise cells of a whole stride may reach over its edge.
    """
    height, width = labels.shape[-2:]
    stride = None if stretched else _stride(height, width, size)
    rows, columns = _centres(height, width, size, stride, labels.device)
    centres = labels if size == (height, width) else labels[:, rows][:, :, columns]
    if size == (height, width) or not bool((centres == UNLABELLED).any()):
        return centres
    h, w = size
    cell_rows, cell_columns = _cells(height, h, stride, labels.device), _cells(width, w, stride, labels.device)
    down = torch.arange(height, device=labels.device) - rows[cell_rows]
    right = torch.arange(width, device=labels.device) - columns[cell_columns]
    distance = down[:, None] ** 2 + right**2
    # One integer orders by distance and carries the label, so that the smallest of a cell is what it takes.
    unlabelled = (height**2 + width**2) * 256 + UNLABELLED  # beyond every distance
    keys = torch.where(labels < UNLABELLED, distance * 256 + labels, unlabelled)
    cells = (cell_rows[:, None] * w + cell_columns).flatten().expand(len(labels), -1)
    nearest = keys.new_full((len(labels), h * w), unlabelled)
    nearest.scatter_reduce_(1, cells, keys.flatten(1), "amin")
    return torch.where(centres == UNLABELLED, (nearest % 256).view(-1, h, w), centres)


def _stride(height: int, width: int, size: tuple[int, int]) -> int | None:
    """The stride of a grid of ceil(H/s) x ceil(W/s) cells; None for a stretched one."""
    stride_h, stride_w = -(-height // size[0]), -(-width // size[1])
    whole = stride_h == stride_w and -(-height // stride_h) == size[0] and -(-width // stride_w) == size[1]
    return stride_h if whole else None


def _cells(pixels: int, cells: int, stride: int | None, device: torch.device) -> Tensor:
    """The cell of each pixel along one axis."""
    numbers = torch.arange(pixels, device=device)
    return numbers * cells // pixels if stride is None else numbers // stride


def _centres(
    height: int, width: int, size: tuple[int, int], stride: int | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows (h,) and columns (w,) of the cells' centres."""

    def along(pixels: int, cells: int) -> Tensor:
        numbers = torch.arange(cells, device=device)
        centres = ((numbers + 0.5) * (pixels / cells)).long() if stride is None else numbers * stride + stride // 2
        return centres.clamp_(max=pixels - 1)

    return along(height, size[0]), along(width, size[1])


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of ``logits`` (B, C, h, w), enlarged to ``labels`` (B, H, W), over labelled pixels.

    Labels outside 0..C-1 do not count; a batch without any labelled pixel has loss zero, with a graph.
    """
    labelled = labels < logits.shape[1]
    enlarged = upsample(logits.float(), (labels.shape[-2], labels.shape[-1]))
    total = F.cross_entropy(enlarged, torch.where(labelled, labels, -100), ignore_index=-100, reduction="sum")
    return total / labelled.sum().clamp(min=1)
