"""The small convolutional encoder and decoder of the codecs that are fitted here.

Half the stride costs most: the first convolution halves the resolution at once, and the last enlargement is a
rearrangement of channels, so that no map of many channels exists at the resolution of the labels. Normalisation is
over the batch while fitting, and fixed afterwards: a token then depends on the labels near it alone, which is what a
prior can predict from the image, and means the same in a crop, a window and a whole image.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

RESIDUAL_BLOCKS = 2


def _norm(channels: int) -> nn.BatchNorm2d:
    """Its statistics are plain means over batches: those of ``settle``, for while fitting none are used."""
    return nn.BatchNorm2d(channels, momentum=None)


class ResidualBlock(nn.Module):
    """BatchNorm, SiLU and a 3x3 convolution, then the same with 1x1, added to the input (B, C, H, W)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, hidden, 3, padding=1),
            _norm(hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Add the branch."""
        result: Tensor = maps + self.branch(maps)
        return result


def make_encoder(stride: int, width: int, out_channels: int) -> nn.Sequential:
    """Colours (B, 3, h * f, w * f) to (B, ``out_channels``, h, w), f = ``stride``, a power of 2 above 1.

    Channels are w at half resolution and 2w below, w = ``width``.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1)]
    channels = width
    for _ in range(int(math.log2(stride)) - 1):
        layers += [_norm(channels), nn.SiLU()]
        layers += [nn.Conv2d(channels, 2 * width, 4, stride=2, padding=1)]
        channels = 2 * width
    layers += [ResidualBlock(channels, width) for _ in range(RESIDUAL_BLOCKS)]
    layers += [_norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 1)]
    return nn.Sequential(*layers)


def make_decoder(stride: int, width: int, in_channels: int) -> nn.Sequential:
    """Codes (B, ``in_channels``, h, w) to colours (B, 3, h * f, w * f) in (0, 1): the encoder's mirror image."""
    halvings = int(math.log2(stride)) - 1
    channels = 2 * width if halvings else width
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1)]
    layers += [ResidualBlock(channels, width) for _ in range(RESIDUAL_BLOCKS)]
    layers += [_norm(channels), nn.SiLU()]
    for left in reversed(range(halvings)):
        narrower = 2 * width if left else width
        layers += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(channels, narrower, 3, padding=1)]
        layers += [_norm(narrower), nn.SiLU()]
        channels = narrower
    layers += [nn.Conv2d(channels, 12, 3, padding=1), nn.PixelShuffle(2), nn.Sigmoid()]
    return nn.Sequential(*layers)
