"""Label maps as a codec needs them: a class at every pixel, whole cells of the token grid, and random crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bench.common.grid import Grid
from methods.base import UNLABELLED

WINDOW = 512
"""Side of the part of a label map that is kept for fitting."""
KEPT_BYTES = 1 << 30
"""Memory for label maps during a fit; of more of them a random sample is kept."""
SCALES = (0.5, 2.0)
"""Range of the random enlargement of crops."""
CANDIDATES = 1 << 25
"""Distances from void pixels that are compared at once on a device: 128 MiB."""


def fill_void(labels: Tensor) -> Tensor:
    """``labels`` (H, W) or (B, H, W) with the nearest class of the same map at every pixel that has none.

    Nearest is Euclidean; among equally near ones any. A map without a single class becomes class 0 throughout.
    """
    if labels.ndim == 2:
        return fill_void(labels[None])[0]
    # SciPy needs few operations per pixel, one after the other; a device does many at once and need not wait for it.
    return torch.stack([_filled(part) for part in labels]) if labels.device.type == "cpu" else _filled_at_once(labels)


def _filled(labels: Tensor) -> Tensor:
    """``fill_void`` of one map (H, W) on the CPU."""
    void = labels >= UNLABELLED
    if not void.any():
        return labels
    if void.all():
        return torch.zeros_like(labels)
    _, (rows, columns) = ndimage.distance_transform_edt(void.numpy(), return_indices=True)
    return labels[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def _filled_at_once(labels: Tensor) -> Tensor:
    """``fill_void`` of maps (B, H, W) by brute force along the rows, after the nearest class of every column.

    Exact: the nearest class of a pixel is, among the columns' nearest to its row, the nearest.
    """
    _, height, width = labels.shape
    void = labels >= UNLABELLED
    rows = torch.arange(height, dtype=torch.int32, device=labels.device)[:, None].expand_as(void)
    columns = torch.arange(width, dtype=torch.int32, device=labels.device)
    far = 2 * (height + width)  # farther than anything in the map
    above = torch.where(void, -far, rows).cummax(dim=1).values
    below = torch.where(void, far, rows).flip(1).cummin(dim=1).values.flip(1)
    source = torch.where(rows - above < below - rows, above, below)
    squares = (source - rows).square()
    source = source.clamp(0, height - 1)

    filled = labels.clone()
    for image, row, column in zip(*(p.split(max(1, CANDIDATES // width)) for p in void.nonzero(as_tuple=True))):
        best = (squares[image, row] + (columns - column[:, None].int()).square()).argmin(dim=1)
        filled[image, row, column] = labels[image, source[image, row, best], best]
    return torch.where(filled >= UNLABELLED, 0, filled)


def pad_to_cells(labels: Tensor, cell: int) -> Tensor:
    """``labels`` (B, H, W) with the last row and column repeated until ``cell`` divides both sides."""
    grid = Grid((labels.shape[1], labels.shape[2]), cell)
    if grid.span == grid.size:
        return labels
    rows, columns = (
        torch.arange(span, device=labels.device).clamp_(max=pixels - 1) for span, pixels in zip(grid.span, grid.size)
    )
    return labels[:, rows][:, :, columns]


def whole_maps(label_maps: Callable[[], Iterator[Tensor]]) -> Iterator[Tensor]:
    """The label maps (H, W) int64 that have any class, with void filled."""
    return (fill_void(labels) for labels in label_maps() if bool((labels < UNLABELLED).any()))


class CropSampler:
    """Random crops of training label maps.

    Keeps at most ``KEPT_BYTES`` of them: one window of each map, of a uniform random sample of the maps where they
    are too many.

    Args:
        maps: (H, W) integer with a class at every pixel.
        crop: side of the crops.
        generator: draws windows and crops; the same one gives the same crops.
    """

    def __init__(self, maps: Iterable[Tensor], crop: int, generator: torch.Generator) -> None:
        self.crop, self.generator = crop, generator
        side = max(WINDOW, int(crop / SCALES[0]))
        limit = max(1, KEPT_BYTES // side**2)
        self.kept: list[Tensor] = []
        for seen, labels in enumerate(maps):
            place = seen if seen < limit else self._below(seen + 1)
            if place >= limit:
                continue
            window = self._window(labels, side, side).to(torch.uint8).clone()
            if place < len(self.kept):
                self.kept[place] = window
            else:
                self.kept.append(window)

    def __len__(self) -> int:
        return len(self.kept)

    def draw(self, size: int) -> Tensor:
        """``size`` crops (size, crop, crop) int64: random map, scale, place and mirroring each."""
        return torch.stack([self._crop() for _ in range(size)]).long()

    def _crop(self) -> Tensor:
        labels = self.kept[self._below(len(self.kept))]
        low, high = np.log(SCALES)
        scale = float(np.exp(low + (high - low) * torch.rand((), generator=self.generator).item()))
        source = max(1, round(self.crop / scale))
        window = self._window(labels, source, source)
        height, width = window.shape
        positions = ((torch.arange(self.crop) + 0.5) * (source / self.crop)).long()
        columns = positions.flip(0) if self._below(2) else positions
        # A map smaller than the crop goes on with its last row and column.
        return window[positions.clamp(max=height - 1)][:, columns.clamp(max=width - 1)]

    def _window(self, labels: Tensor, height: int, width: int) -> Tensor:
        top = self._below(max(labels.shape[0] - height, 0) + 1)
        left = self._below(max(labels.shape[1] - width, 0) + 1)
        return labels[top : top + height, left : left + width]

    def _below(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self.generator))
