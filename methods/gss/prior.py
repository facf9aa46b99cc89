"""The prior p(z | x): from the network's features to a distribution over tokens for each cell of the codec's grid."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common.grid import Grid
from methods.base import Features, Network, projection
from methods.gss.attention import WindowBlock, pointwise

FINEST, COARSEST = 4, 32
"""Strides of the encoder levels that are aggregated, inclusive."""
LEVELS = 4
"""Encoder levels that are aggregated, at most; the coarsest ones if there are more."""


class PriorFeatures(NamedTuple):
    """What a head computes for images of size (H, W), on cells of ``stride`` pixels: h = ceil(H/stride)."""

    tokens: Tensor
    """(B, D, h, w), input of the last layer."""
    classes: Tensor
    """(B, K, h, w) logits of the auxiliary head, in float32."""


def resample(maps: Tensor, stride: int, target: int, size: tuple[int, int]) -> Tensor:
    """Resize ``maps`` (B, C, ., .) with cells of ``stride`` pixels to cells of ``target`` pixels, ``size`` of them.

    Bilinear where cells become finer, the mean where they become coarser. Both grids begin at the image's upper left
    corner and cover it in whole cells, so nothing shifts; strides of which neither divides the other are stretched.
    """
    if stride == target:
        return maps
    height, width = size
    if stride % target == 0:
        finer = F.interpolate(maps, scale_factor=stride / target, mode="bilinear", align_corners=False)
        return finer[..., :height, :width]
    if target % stride == 0:
        return F.avg_pool2d(maps, target // stride, ceil_mode=True)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


class LinearHead(nn.Module):
    """The dense features as they are, under two linear classifiers: the softmax baseline's own head.

    With the identity codec the prior is then the softmax baseline itself. Cells are those of the dense features, or
    means of them where the codec's are larger.
    """

    def __init__(self, network: Network, classes: int, codec_stride: int) -> None:
        super().__init__()
        self.dense_stride, self.stride = network.stride, max(network.stride, codec_stride)
        self.channels = network.out_channels
        self.auxiliary = nn.Conv2d(self.channels, classes, kernel_size=1)

    def forward(self, features: Features, size: tuple[int, int]) -> PriorFeatures:
        """Features for images of ``size`` (H, W)."""
        grid = Grid(size, self.stride).cells
        cells = resample(features.dense, self.dense_stride, self.stride, grid)
        return PriorFeatures(cells, self.auxiliary(cells).float())


class LevelFusion(nn.Module):
    """Levels of the network as one map: each is projected and brought to cells of one size, and a layer fuses them.

    Levels are the encoder's with strides 4 to 32, four at most, and the decoder's dense features, which the paper's
    encoder-only network does not have: all methods share one network, and an encoder without such levels still has
    them. Cells have 4 pixels, or as many as the codec's where those are larger.

    Args:
        network: its features are fused.
        codec_stride: pixels per token.
        hidden: channels of every layer.
        fusion: whether batch norm and ReLU follow the fusing layer, as they follow the projections.
    """

    def __init__(
        self, network: Network, codec_stride: int, hidden: int, fusion: Literal["linear", "normalised"] = "linear"
    ) -> None:
        super().__init__()
        self.stride = max(FINEST, codec_stride)
        usable = [i for i, stride in enumerate(network.pyramid_strides) if FINEST <= stride <= COARSEST]
        self.levels = tuple(usable[-LEVELS:])
        self.strides = (*(network.pyramid_strides[i] for i in self.levels), network.stride)
        channels = (*(network.pyramid_channels[i] for i in self.levels), network.out_channels)
        self.projections = nn.ModuleList(projection(c, hidden) for c in channels)
        wide = hidden * len(channels)
        self.fusion = nn.Conv2d(wide, hidden, kernel_size=1) if fusion == "linear" else projection(wide, hidden)

    def fused(self, features: Features, size: tuple[int, int]) -> Tensor:
        """``features`` of images of ``size`` (H, W) as one map (B, hidden, ., .)."""
        grid = Grid(size, self.stride).cells
        levels = [features.pyramid[i] for i in self.levels] + [features.dense]
        projected = [
            resample(project(level), stride, self.stride, grid)
            for project, level, stride in zip(self.projections, levels, self.strides)
        ]
        maps: Tensor = self.fusion(torch.cat(projected, dim=1))
        return maps


class AggregationHead(LevelFusion):
    """Multi-level aggregation ("MLA") with windowed attention.

    Window blocks over the fused levels, every second one shifted, and a perceptron follow. The auxiliary head reads the
    fused levels before the blocks, or has a fusion that nothing else reads.

    Args:
        network: its features are aggregated.
        classes: K.
        codec_stride: pixels per token.
        hidden: channels of every layer.
        depth: window blocks.
        heads: attention heads.
        window: side of a window in cells.
        dropout: probability that a channel is dropped before the last layer.
        fusion: see ``LevelFusion``.
        auxiliary_fusion: whether the auxiliary head shares the fusion.
    """

    def __init__(
        self,
        network: Network,
        classes: int,
        codec_stride: int,
        hidden: int,
        depth: int,
        heads: int,
        window: int,
        dropout: float,
        fusion: Literal["linear", "normalised"] = "linear",
        auxiliary_fusion: Literal["shared", "separate"] = "shared",
    ) -> None:
        super().__init__(network, codec_stride, hidden, fusion)
        self.channels = hidden
        self.auxiliary = nn.Conv2d(hidden, classes, kernel_size=1)
        self.blocks = nn.Sequential(
            *(WindowBlock(hidden, heads, window, 2 * hidden, shifted=i % 2 == 1) for i in range(depth))
        )
        self.norm = nn.LayerNorm(hidden)
        self.perceptron = projection(hidden, hidden)
        self.dropout = nn.Dropout2d(dropout)
        separate = auxiliary_fusion == "separate"
        self.auxiliary_levels = LevelFusion(network, codec_stride, hidden, fusion) if separate else None

    def forward(self, features: Features, size: tuple[int, int]) -> PriorFeatures:
        """Features for images of ``size`` (H, W)."""
        fused = self.fused(features, size)
        read = fused if self.auxiliary_levels is None else self.auxiliary_levels.fused(features, size)
        cells = self.norm(self.blocks(fused).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return PriorFeatures(self.dropout(self.perceptron(cells)), self.auxiliary(read).float())


class Prior(nn.Module):
    """A head and the last layer over it.

    Args:
        head: what feeds the last layer.
        outputs: channels of the last layer: the codec's vocabulary, or the parameters of its colours' density.
        codec_stride: pixels per token; where it is finer than the head's cells, the outputs are enlarged bilinearly.
    """

    def __init__(self, head: LinearHead | AggregationHead, outputs: int, codec_stride: int) -> None:
        super().__init__()
        self.head, self.codec_stride = head, codec_stride
        self.classifier = nn.Conv2d(head.channels, outputs, kernel_size=1)

    def forward(self, features: Features, size: tuple[int, int]) -> PriorFeatures:
        """The head's features for images of ``size`` (H, W)."""
        found: PriorFeatures = self.head(features, size)
        return found

    def outputs(self, cells: Tensor, size: tuple[int, int]) -> Tensor:
        """Outputs (B, V, ceil(H/f), ceil(W/f)) in float32 of the head's ``cells``, for images of ``size`` (H, W)."""
        # Outputs then lie with their channels innermost, over which softmax runs.
        rows = pointwise(self.classifier, cells.movedim(1, -1))
        return self.on_codec_grid(rows.float().movedim(-1, 1), size)

    def on_codec_grid(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """``maps`` (B, C, ., .) of the head's cells on those of the codec, for images of ``size`` (H, W)."""
        return resample(maps, self.head.stride, self.codec_stride, Grid(size, self.codec_stride).cells)
