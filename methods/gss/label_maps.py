"""Label maps as a codec needs them: a class at every pixel, whole cells of the token grid, and random crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from methods.base import UNLABELLED

WINDOW = 512
"""Side of the part of a label map that is kept for fitting."""
KEPT_BYTES = 1 << 30
"""Memory for label maps during a fit; of more of them a random sample is kept."""
SCALES = (0.5, 2.0)
"""Range of the random enlargement of crops."""


def fill_void(labels: Tensor) -> Tensor:
    """``labels`` (H, W) or (B, H, W) with the nearest class of the same map at every pixel that has none.

    Nearest is Euclidean; among equally near ones any. A map without a single class becomes class 0 throughout.
    """
    if labels.ndim == 3:
        return torch.stack([fill_void(part) for part in labels])
    void = labels >= UNLABELLED
    if not void.any():
        return labels
    if void.all():
        return torch.zeros_like(labels)
    _, (rows, columns) = ndimage.distance_transform_edt(void.cpu().numpy(), return_indices=True)
    return labels[torch.from_numpy(rows).long().to(labels.device), torch.from_numpy(columns).long().to(labels.device)]


def pad_to_cells(labels: Tensor, cell: int) -> Tensor:
    """``labels`` (B, H, W) with the last row and column repeated until ``cell`` divides both sides."""
    height, width = labels.shape[1:]
    if height % cell == 0 and width % cell == 0:
        return labels
    rows = torch.arange(-(-height // cell) * cell, device=labels.device).clamp_(max=height - 1)
    columns = torch.arange(-(-width // cell) * cell, device=labels.device).clamp_(max=width - 1)
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
