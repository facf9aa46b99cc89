"""What the fits of codecs share: their crops, their source of randomness, and the optimisation itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from methods.base import MethodError, Progress
from methods.gss.codecs.base import LabelMaps
from methods.gss.codecs.settings import CodecSettings
from methods.gss.label_maps import CropSampler, whole_maps

SETTLING = 16
"""Batches over which the statistics of a fitted codec are taken."""


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from ``seed`` inside, and leave the global generators outside as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def normalising_by_batch(*modules: nn.Module) -> Iterator[None]:
    """Let ``modules`` normalise by each batch inside, and by their own statistics outside."""
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


@torch.no_grad()
def settle(modules: Sequence[nn.Module], show: Callable[[], object]) -> None:
    """Set the statistics of ``modules`` to the mean over ``SETTLING`` batches, each of which ``show`` passes through.

    Those gathered while fitting are of weights, and of relaxed tokens, that have changed since.
    """
    for module in modules:
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
    with normalising_by_batch(*modules):
        for _ in range(SETTLING):
            show()


def crops_of(label_maps: LabelMaps, settings: CodecSettings) -> CropSampler:
    """Random crops of the training labels. Raises MethodError where no label map has a class."""
    generator = torch.Generator().manual_seed(settings.codec_seed)
    crops = CropSampler(whole_maps(label_maps), settings.codec_crop, generator)
    if not len(crops):
        raise MethodError("there is no labelled training pixel to fit the codec on; use a data set with labels")
    return crops


def optimise(
    parameters: Sequence[Tensor],
    loss: Callable[[int], Tensor],
    steps: int,
    lr: float,
    progress: Progress,
    description: str,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Minimise ``loss(step)`` in ``parameters`` with AdamW, its rate falling from ``lr`` to 0 along a cosine.

    ``after_step(step)`` runs without gradient. Parameters are frozen afterwards. Raises MethodError when the loss
    is not finite.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=lr)
    for step in progress(range(steps), description, steps):
        optimiser.param_groups[0]["lr"] = lr * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        value = loss(step)
        if not bool(torch.isfinite(value)):
            raise MethodError(f"{description} diverged at step {step + 1}; lower method.codec_lr, now {lr:g}")
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        with torch.no_grad():
            after_step(step)
    for parameter in parameters:
        parameter.requires_grad_(False).grad = None
