"""Where the cells of a network's maps lie in an image, and how maps and labels go from one to the other.

A network of stride s makes ceil(H/s) x ceil(W/s) cells of an image (H, W). They begin at its upper left corner, and the
last ones may reach over its edge, so that every centre stays where the network saw it: maps are enlarged to whole cells
and then cut, never stretched to the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.common.labels import UNLABELLED

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Grid:
    """The cells of ``stride`` pixels that cover an image of ``size``; or ``cells`` that fill it exactly, stretched."""

    size: Size
    """Of the image (H, W), in pixels."""
    stride: int | None
    """Pixels per cell along both axes; None where cells are stretched."""
    cells: Size = (0, 0)
    """Rows and columns of cells (h, w); they follow from the stride where there is one."""

    def __post_init__(self) -> None:
        if self.stride is not None:
            object.__setattr__(self, "cells", tuple(-(-pixels // self.stride) for pixels in self.size))

    @classmethod
    def of(cls, size: Size, cells: Size) -> Grid:
        """The grid of so many ``cells``: of the least stride that makes them, and stretched where none does."""
        regular = cls(size, max(-(-pixels // count) for pixels, count in zip(size, cells)))
        return regular if regular.cells == cells else cls(size, None, cells)

    @property
    def span(self) -> Size:
        """Pixels (H', W') that the cells cover: the image, and what whole cells reach over it."""
        if self.stride is None:
            return self.size
        return self.cells[0] * self.stride, self.cells[1] * self.stride

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """What ``torch.nn.functional.pad`` adds right and below to fill up the last cells."""
        return 0, self.span[1] - self.size[1], 0, self.span[0] - self.size[0]

    def centres(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Row (h,) and column (w,) of the pixel at each cell's centre; in the padding, the last one of the image."""

        def along(pixels: int, cells: int, span: int) -> Tensor:
            numbers = torch.arange(cells, device=device)
            return ((numbers + 0.5) * (span / cells)).long().clamp_(max=pixels - 1)

        rows, columns = map(along, self.size, self.cells, self.span)
        return rows, columns

    def of_pixels(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The row of cells in which each row of pixels (H,) lies, and the column of each column (W,)."""

        def along(pixels: int, cells: int, span: int) -> Tensor:
            return torch.arange(pixels, device=device) * cells // span

        rows, columns = map(along, self.size, self.cells, self.span)
        return rows, columns

    def cut(self, maps: Tensor) -> Tensor:
        """``maps`` (..., h', w') of a larger image that begins alike, on this one's cells (..., h, w)."""
        return maps[..., : self.cells[0], : self.cells[1]]

    def enlarge(self, maps: Tensor) -> Tensor:
        """``maps`` (B, C, h, w) at the image's size (B, C, H, W), bilinear between the centres of cells."""
        if self.cells == self.size:
            return maps
        full = F.interpolate(maps, size=self.span, mode="bilinear", align_corners=False)
        return full[..., : self.size[0], : self.size[1]]

    def sample(self, maps: Tensor) -> Tensor:
        """Values (B, h, w) of ``maps`` (B, H, W) of integers at the centres of cells."""
        if self.cells == self.size:
            return maps
        rows, columns = self.centres(maps.device)
        return maps[:, rows][:, :, columns]

    def sample_labels(self, labels: Tensor) -> Tensor:
        """Labels (B, h, w) of the cells of ``labels`` (B, H, W) of any integers: those at the centres.

        Where that pixel has no annotation, a cell takes the nearest label within it: by centres alone, a grid of stride
        4 would lose 15 of 16 points.
        """
        at_centres = self.sample(labels)
        if self.cells == self.size or not bool((at_centres == UNLABELLED).any()):
            return at_centres
        (height, width), (h, w) = self.size, self.cells
        (rows, columns), (cell_rows, cell_columns) = self.centres(labels.device), self.of_pixels(labels.device)
        down = torch.arange(height, device=labels.device) - rows[cell_rows]
        right = torch.arange(width, device=labels.device) - columns[cell_columns]
        distance = down[:, None] ** 2 + right**2
        # One integer orders by distance and carries the label, so that the smallest of a cell is what it takes.
        unlabelled = (height**2 + width**2) * 256 + UNLABELLED  # beyond every distance
        keys = torch.where(labels < UNLABELLED, distance * 256 + labels, unlabelled)
        cells = (cell_rows[:, None] * w + cell_columns).flatten().expand(len(labels), -1)
        nearest = keys.new_full((len(labels), h * w), unlabelled)
        nearest.scatter_reduce_(1, cells, keys.flatten(1), "amin")
        return torch.where(at_centres == UNLABELLED, (nearest % 256).to(labels.dtype).view(-1, h, w), at_centres)


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def upsample(maps: Tensor, size: Size) -> Tensor:
    """``maps`` (B, C, h, w) at ``size`` = (H, W); see ``Grid.enlarge``."""
    return Grid.of(size, _size(maps)).enlarge(maps)


def subsample(maps: Tensor, size: Size) -> Tensor:
    """Values (B, h, w) of integer ``maps`` (B, H, W) on ``size`` = (h, w) cells; see ``Grid.sample``."""
    return Grid.of(_size(maps), size).sample(maps)


def downsample_labels(labels: Tensor, size: Size) -> Tensor:
    """Labels (B, h, w) of ``labels`` (B, H, W) on ``size`` = (h, w) cells; see ``Grid.sample_labels``."""
    return Grid.of(_size(labels), size).sample_labels(labels)
