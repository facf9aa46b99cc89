"""Maskiges: label maps as RGB images (X), and back to class scores (its inverse), free or trained (GSS, sec. 3.2).

Colours are in [0, 1]. All maps into classes give scores; their softmax is a posterior over classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.gss.attention import WindowBlock, pointwise

WINDOW_CHANNELS, WINDOW_HEADS, WINDOW_SIDE, WINDOW_HIDDEN = 128, 4, 7, 256
"""Of the block behind ``ft-w`` [released code]."""
CONV_CHANNELS = 64
"""Of the 3-layer CNN behind ``ft`` and ``tt``."""


def paint(labels: Tensor, palette: Tensor) -> Tensor:
    """X: colours (B, 3, H, W) of ``labels`` (B, H, W) by table look-up; differentiable in ``palette`` (C, 3)."""
    return F.embedding(labels, palette).permute(0, 3, 1, 2)


def nearest_colour(colours: Tensor, palette: Tensor, tau: float | Tensor) -> Tensor:
    """Class scores (B, C, H, W) in nats: -|x - beta_k|^2 / tau up to what all classes share.

    Affine in x, (2 beta_k . x - |beta_k|^2) / tau, so nothing of shape (B, C, 3, H, W) exists. It is the posterior of
    Gaussians around the colours with covariance tau / 2. Colours are centred first, which keeps clean ones exact in
    float32 for every palette of distinct 8-bit colours; a matrix product, because convolutions may round to TF32.

    Args:
        colours: (B, 3, H, W) in [0, 1].
        palette: (C, 3).
        tau: squared distance that counts as one nat.
    """
    centred = palette - 0.5
    weight, bias = 2 * centred / tau, -centred.square().sum(dim=1, keepdim=True) / tau
    pixels = (colours - 0.5).flatten(2)
    scores = torch.baddbmm(bias, weight.expand(len(pixels), -1, -1), pixels)
    mapped: Tensor = scores.unflatten(2, colours.shape[2:])
    return mapped


def palette_distance(colours: Tensor, palette: Tensor) -> Tensor:
    """Euclidean distance (B, H, W) of ``colours`` (B, 3, H, W) to the nearest colour of ``palette`` (C, 3)."""
    nearest = nearest_colour(colours, palette, 1.0).argmax(dim=1)
    distance: Tensor = torch.linalg.vector_norm(colours - paint(nearest, palette), dim=1)
    return distance


class ConvInverse(nn.Sequential):
    """The trained inverse of FT and TT: colours (B, 3, H, W) to class scores (B, C, H, W) by three convolutions."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(3, CONV_CHANNELS, 3, padding=1, padding_mode="replicate"),
            nn.ReLU(inplace=True),
            nn.Conv2d(CONV_CHANNELS, CONV_CHANNELS, 3, padding=1, padding_mode="replicate"),
            nn.ReLU(inplace=True),
            nn.Conv2d(CONV_CHANNELS, num_classes, 1),
        )


class WindowInverse(nn.Module):
    """The trained inverse of FT-W: colours (B, 3, H, W) to class scores (B, C, H, W) by windowed attention.

    A 1x1 convolution, ReLU, ``depth`` window blocks of which every second one is shifted, LayerNorm and a 1x1
    convolution, at the resolution of the labels. The code normalises the first convolution over the batch; here
    it is over each pixel's channels, which needs neither statistics nor their synchronisation, and makes a window's
    result independent of what else is in the image.
    """

    def __init__(self, num_classes: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WINDOW_CHANNELS, 1)
        self.first_norm = nn.LayerNorm(WINDOW_CHANNELS)
        self.blocks = nn.Sequential(
            *[
                WindowBlock(WINDOW_CHANNELS, WINDOW_HEADS, WINDOW_SIDE, WINDOW_HIDDEN, shifted=index % 2 == 1)
                for index in range(depth)
            ]
        )
        self.last_norm = nn.LayerNorm(WINDOW_CHANNELS)
        self.last = nn.Conv2d(WINDOW_CHANNELS, num_classes, 1)

    def forward(self, colours: Tensor) -> Tensor:
        """Class scores (B, C, H, W) of ``colours`` (B, 3, H, W)."""
        hidden = F.relu(self.first_norm(pointwise(self.first, colours.movedim(1, -1))), inplace=True)
        blended = self.blocks(hidden.movedim(-1, 1))
        return pointwise(self.last, self.last_norm(blended.movedim(1, -1))).movedim(-1, 1)
