"""Maskiges without latents: the network regresses colours, and the nearest colour names the class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Classes, MethodError, downsample_labels
from methods.gss.codecs.base import refuse_variant
from methods.gss.codecs.colours import ColourCodec
from methods.gss.codecs.settings import CodecSettings
from methods.gss.label_maps import pad_to_cells
from methods.gss.maskige import paint


class ColourRegression(ColourCodec):
    """Latents are colours (B, 3, h, w), one per cell; there are no tokens.

    It shows what painting alone contributes. Scores of the cells' classes are enlarged, never the colours:
    their blends would name a third class.
    """

    continuous = True
    fitted_by_steps = False
    caches_latents = False

    def __init__(self, settings: CodecSettings, classes: Classes) -> None:
        if settings.trains_inverse() or settings.trains_palette():
            refuse_variant(settings)
        super().__init__(settings, classes)
        self.stride, self.vocabulary = settings.codec_stride, 3

    def encode(self, labels: Tensor) -> Tensor:
        """Raise MethodError: there are no tokens."""
        raise MethodError("codec=colour has no tokens; choose another method.codec where tokens are needed")

    def targets(self, labels: Tensor) -> Tensor:
        """Colours (B, 3, ceil(H / f), ceil(W / f)) in [0, 1] of the labels (B, H, W) at the cells' centres."""
        padded = pad_to_cells(labels, self.stride)
        size = (padded.shape[1] // self.stride, padded.shape[2] // self.stride)
        return paint(downsample_labels(padded, size), self.palette)

    def maskige(self, latents: Tensor) -> Tensor:
        """Each cell's colour at all of its pixels, cut to [0, 1]."""
        return F.interpolate(latents.float().clamp(0, 1), scale_factor=float(self.stride), mode="nearest")

    def decode_with_colours(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Both, each enlarged in its own way."""
        return self.decode(latents), self.maskige(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Class scores of the colours (B, 3, h, w), enlarged bilinearly to (B, C, h * f, w * f)."""
        with torch.autocast(latents.device.type, enabled=False):
            scores = self.free_inverse(latents.float())
        return F.interpolate(scores, scale_factor=float(self.stride), mode="bilinear", align_corners=False)
