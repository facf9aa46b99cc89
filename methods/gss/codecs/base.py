"""The interface of codecs: label maps to tokens, tokens or their probabilities to class scores."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import MethodError, Progress
from methods.gss.codecs.settings import CodecSettings

LabelMaps = Callable[[], Iterator[Tensor]]
"""Iterates over label maps (H, W) int64, from the first with each call."""

IMPOSSIBLE = -200.0
"""Score in nats of a class of probability zero. Its softmax is exactly zero in float32 but keeps all arithmetic finite;
a floor at the smallest float32, -87.3, would come back as a probability that wins where all others are zero."""


class Codec(nn.Module):
    """A map between label maps and a grid of tokens, fitted once on label maps alone, then frozen.

    Fitting has two stages: ``fit_latents`` makes what turns labels into tokens and back, ``fit_colours`` a trained X
    or inverse on top of it. Both are deterministic from ``settings.codec_seed`` alone. All tensors have their final
    shapes from construction, so that a state can be loaded without fitting. Arithmetic is float32 (``full_precision``)
    whatever the autocast: near ties between tokens would otherwise fall with the precision.
    """

    stride: int
    """f, label pixels per token along each axis."""
    vocabulary: int
    """V, number of tokens; channels of the latents where they are ``continuous``."""
    continuous: ClassVar[bool] = False
    """Whether latents are real-valued maps instead of tokens: then ``targets`` takes the place of ``encode``."""
    fitted_by_steps: ClassVar[bool] = False
    """Whether the number of optimiser steps decides the result."""
    caches_latents: ClassVar[bool] = True
    """Whether the first stage is worth storing."""
    palette: Tensor | None
    """(C, 3) colours in [0, 1] of codecs that have any."""

    def __init__(self, settings: CodecSettings, num_classes: int) -> None:
        super().__init__()
        self.settings = settings.codec_settings()
        self.num_classes = num_classes
        self.palette = None

    def encode(self, labels: Tensor) -> Tensor:
        """Tokens (B, ceil(H / f), ceil(W / f)) int64 of ``labels`` (B, H, W) int64, 0..C-1 at every pixel.

        Cells that reach over the edge go on with the last row and column.
        """
        raise NotImplementedError  # an abstract method: nn.Module rules out ABCMeta here

    def decode(self, latents: Tensor) -> Tensor:
        """Class scores (B, C, h * f, w * f) float32, with the posterior as their softmax; the caller cuts padding.

        ``latents`` are tokens (B, h, w) int64, or probabilities of tokens (B, V, h, w) float, which give the soft
        decode: that of the expected code. Differentiable in the probabilities.
        """
        raise NotImplementedError

    def maskige(self, latents: Tensor) -> Tensor | None:
        """Decoded colours (B, 3, h * f, w * f) in [0, 1], or None for codecs without colours."""
        return None

    def decode_with_colours(self, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """What ``decode`` and ``maskige`` give, at the cost of one of them where that is possible."""
        return self.decode(latents), self.maskige(latents)

    @property
    def fits_colours(self) -> bool:
        """Whether the second stage of fitting has anything to do."""
        return self.settings.trains_inverse() or self.settings.trains_palette()

    def fit_latents(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """First stage: fit what turns labels into tokens and back. Default: nothing."""

    def fit_colours(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """Second stage: fit the trained X and inverse of ``settings.variant``. Default: nothing."""

    def latent_state(self) -> dict[str, Tensor]:
        """The part of the state that the first stage fits, shared by all variants."""
        return dict(self.state_dict())

    def source_hash(self) -> str:
        """Hash of what is fitted from besides label maps; empty for most."""
        return ""

    def freeze(self) -> None:
        """No parameter learns, and no statistic follows what is shown."""
        self.requires_grad_(False).eval()

    def fingerprint(self) -> str:
        """SHA-256 of settings, palette and weights; a model is only valid with the codec that it was trained with."""
        digest = hashlib.sha256(self.settings.settings_hash().encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """float32 inside, on ``device`` whatever its autocast: also in convolutions, where GPUs round inputs to TF32."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


def refuse_variant(settings: CodecSettings) -> None:
    """Raise MethodError: this codec has no colours, or none that anything could be learnt about."""
    raise MethodError(
        f"codec={settings.codec} leaves nothing for variant={settings.variant} to learn; "
        "set method.variant=ff, or method.codec=vqvae"
    )


def embed(latents: Tensor, table: Tensor) -> Tensor:
    """Codes (B, d, h, w) from ``table`` (V, d): those of tokens (B, h, w), or expected ones under (B, V, h, w)."""
    if latents.is_floating_point():
        expected: Tensor = (table.t() @ latents.float().flatten(2)).unflatten(2, latents.shape[2:])
        return expected
    # In the same memory format as above, so that what follows rounds alike.
    return F.embedding(latents, table).permute(0, 3, 1, 2).contiguous()


def log_one_hot(classes: Tensor, num_classes: int) -> Tensor:
    """Class scores (B, C, H, W) of certain ``classes`` (B, H, W): 0 for the class, ``IMPOSSIBLE`` for all others."""
    shape = (len(classes), num_classes, *classes.shape[1:])
    return torch.full(shape, IMPOSSIBLE, device=classes.device).scatter_(1, classes.unsqueeze(1), 0.0)


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Logarithm of ``probabilities``, ``IMPOSSIBLE`` and without gradient where they are zero."""
    values = probabilities.float()
    possible = values > 0
    return torch.where(possible, torch.where(possible, values, 1.0).log(), IMPOSSIBLE)
