"""One Gaussian per (image, class): centres, distances, variances and affinities, as pure functions.

Only the P pairs (image, class) that occur are evaluated. Where images are processed together, the pairs of each
image take slots 0..K-1, with K the largest number of pairs of one image. Shapes: B images, C classes, N = h * w
feature cells per image, D channels.

Geometry is that of ``bench.common.grid``: bilinear between cell centres, never ``align_corners``.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bench.common.grid import Grid
from methods.base import IGNORE

Distance = Literal["l1mean", "l2", "diag"]
Variance = Literal["none", "pred_weighted", "uniform"]

EPS = 1e-6
"""The released code's guard: added to the mass under a centre, to that under a variance, and to 2 sigma^2."""
RIDGE = 0.01
"""Share of the mean variance of all channels that each channel's own receives (``diag``): channels that ReLU
keeps at zero in one class would otherwise decide alone."""
CHUNK_ELEMENTS = {"cpu": 1 << 17}
"""Differences held at once, by device: what stays in a core's cache."""
DEVICE_CHUNK_ELEMENTS = 1 << 25
"""The same on other devices: 128 MiB in float32."""


class Pairs(NamedTuple):
    """The P pairs (image, class) that occur in a batch, sorted by image, then class."""

    present: Tensor
    """(B, C) bool."""
    image: Tensor
    """(P,) int64."""
    label: Tensor
    """(P,) int64."""
    slot: Tensor
    """(P,) int64: the pair's place among those of its image."""
    slots: int
    """K, the largest number of pairs of one image."""

    def of_class(self, maps: Tensor) -> Tensor:
        """The pairs' maps (P, ...) among ``maps`` (B, C, ...)."""
        return maps.flatten(0, 1).index_select(0, self.image * self.present.shape[1] + self.label)

    def of_slot(self, padded: Tensor) -> Tensor:
        """The pairs' rows (P, ...) among ``padded`` (B, K, ...)."""
        return padded.flatten(0, 1).index_select(0, self.image * self.slots + self.slot)

    def to_slots(self, values: Tensor) -> Tensor:
        """``values`` (P, ...) as (B, K, ...), zero where an image has fewer pairs."""
        padded = values.new_zeros(self.present.shape[0] * self.slots, *values.shape[1:])
        padded = padded.index_copy(0, self.image * self.slots + self.slot, values)
        return padded.view(self.present.shape[0], self.slots, *values.shape[1:])

    def to_classes(self, values: Tensor) -> Tensor:
        """``values`` (P, ...) as (B, C, ...), zero for absent classes."""
        images, classes = self.present.shape
        maps = values.new_zeros(images * classes, *values.shape[1:])
        maps = maps.index_copy(0, self.image * classes + self.label, values)
        return maps.view(images, classes, *values.shape[1:])


def find_pairs(present: Tensor) -> Pairs:
    """The pairs that ``present`` (B, C) bool marks."""
    image, label = present.nonzero(as_tuple=True)
    slot = (present.cumsum(dim=1) - 1)[image, label]
    return Pairs(present, image, label, slot, int(present.sum(dim=1).max()))


def present_classes(labels: Tensor, classes: int) -> Tensor:
    """Which classes (B, C) bool have a labelled pixel in ``labels`` (B, H, W)."""
    found = torch.zeros(labels.shape[0], IGNORE + 1, dtype=torch.bool, device=labels.device)
    return found.scatter_(1, labels.flatten(1), True)[:, :classes]


class Points(NamedTuple):
    """L labelled pixels, each a bilinear mixture of four cells of its image."""

    image: Tensor
    """(L,) int64."""
    label: Tensor
    """(L,) int64."""
    cells: Tensor
    """(L, 4) int64, 0..N-1."""
    weights: Tensor
    """(L, 4), rows add up to 1."""


def labelled_points(labels: Tensor, classes: int, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> Points:
    """The labelled pixels of ``labels`` (B, H, W) on a grid of ``size`` = (h, w) cells.

    A map read at ``cells`` with ``weights`` is what ``Grid.enlarge`` would give at the pixel.
    """
    image, row, column = (labels < classes).nonzero(as_tuple=True)
    grid = Grid.of((labels.shape[-2], labels.shape[-1]), size)
    axes = []
    for position, span, length in zip((row, column), grid.span, size):
        scale = span / length
        # positions left of the first centre and right of the last one take the border cell
        centre = ((position.to(dtype) + 0.5) / scale - 0.5).clamp(min=0, max=length - 1)
        low = centre.long()
        fraction = centre - low
        neighbours = torch.stack([low, (low + 1).clamp(max=length - 1)], dim=1)
        axes.append((neighbours, torch.stack([1 - fraction, fraction], dim=1)))
    (rows, row_weights), (columns, column_weights) = axes
    cells = (rows.unsqueeze(2) * size[1] + columns.unsqueeze(1)).flatten(1)
    weights = (row_weights.unsqueeze(2) * column_weights.unsqueeze(1)).flatten(1)
    return Points(image, labels[image, row, column], cells, weights)


def valid_cells(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """How far each cell lies in pixels other than ``IGNORE``: (B, N) in [0, 1], bilinear at the cell's centre."""
    valid = (labels != IGNORE).float().unsqueeze(1)
    valid = F.pad(valid, Grid.of((labels.shape[-2], labels.shape[-1]), size).padding, mode="replicate")
    return F.interpolate(valid, size=size, mode="bilinear", align_corners=False).flatten(1)


def label_mass(points: Points, pairs: Pairs, cells: int) -> Tensor:
    """Labelled pixels per cell (B, K, N), each pixel spread over its four cells.

    This is bilinear sampling of the features at the labelled pixels, transposed: the product of these weights
    with the cells' features is the sum of the sampled features, for any number of labelled pixels.
    """
    images, classes = pairs.present.shape
    slot = torch.zeros(images, classes, dtype=torch.long, device=points.image.device)
    slot[pairs.image, pairs.label] = pairs.slot
    row = points.image * pairs.slots + slot[points.image, points.label]
    mass = points.weights.new_zeros(images * pairs.slots * cells)
    mass.index_add_(0, (row.unsqueeze(1) * cells + points.cells).flatten(), points.weights.flatten())
    return mass.view(images, pairs.slots, cells)


def centres(rows: Tensor, mass: Tensor) -> Tensor:
    """Means (B, K, D) of ``rows`` (B, N, D) under weights ``mass`` (B, K, N); zero without mass."""
    return torch.bmm(mass, rows) / (mass.sum(dim=2, keepdim=True) + EPS)


class _MeanAbsoluteDifference(torch.autograd.Function):
    """``cdist(p=1) / D`` that holds no (B, N, K, D) tensor in its backward pass either: CUDA's own does."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, centres: Tensor) -> Tensor:
        ctx.save_for_backward(rows, centres)
        return torch.cdist(rows, centres, p=1).div_(rows.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows, centres = ctx.saved_tensors
        images, cells, dim = rows.shape
        gradient = (gradient / dim).unsqueeze(3)
        to_rows, to_centres = torch.empty_like(rows), torch.zeros_like(centres)
        elements = CHUNK_ELEMENTS.get(rows.device.type, DEVICE_CHUNK_ELEMENTS)
        step = max(1, elements // max(1, images * centres.shape[1] * dim))
        means, buffer = centres.unsqueeze(1), rows.new_empty(images, min(step, cells), centres.shape[1], dim)
        tiny = torch.finfo(rows.dtype).tiny
        for start in range(0, cells, step):
            chunk = slice(start, start + step)
            part = rows[:, chunk].unsqueeze(2)
            # the gradient times sign(x - mu), 0 at 0, in a single pass: memory is what bounds this
            signs = buffer[:, : part.shape[1]]
            torch.ops.aten.smooth_l1_loss_backward.grad_input(
                gradient[:, chunk], part, means, 0, tiny, grad_input=signs
            )
            torch.sum(signs, dim=2, out=to_rows[:, chunk])
            to_centres -= signs.sum(dim=1)
        return to_rows, to_centres


def mean_absolute_difference(rows: Tensor, centres: Tensor) -> Tensor:
    """Mean over D of |x - mu|, (B, N, K), of ``rows`` (B, N, D) and ``centres`` (B, K, D).

    The derivative of a coordinate's absolute difference at 0 is 0.
    """
    differences: Tensor = _MeanAbsoluteDifference.apply(rows, centres)
    return differences


def _mean_square(rows: Tensor, centres: Tensor, precision: Tensor | None = None) -> Tensor:
    """Mean over D of ``precision`` (B, K, D) times (x - mu)^2, (B, N, K), by matrix products.

    Rows are taken relative to their image's mean, so that little cancels.
    """
    origin = rows.detach().mean(dim=1, keepdim=True)
    rows, centres = rows - origin, centres - origin
    if precision is None:
        squares = rows.square().sum(dim=2, keepdim=True)
        weighted = centres
    else:
        squares = torch.bmm(rows.square(), precision.transpose(1, 2))
        weighted = centres * precision
    products = torch.bmm(rows, weighted.transpose(1, 2))
    own = (centres * weighted).sum(dim=2).unsqueeze(1)
    return ((squares - 2 * products + own) / rows.shape[2]).clamp(min=0)


def squared_distances(rows: Tensor, centres: Tensor, distance: Distance) -> Tensor:
    """d^2 (B, N, K): the square of the mean absolute difference (released code), or the mean square (l2)."""
    if distance == "l1mean":
        return mean_absolute_difference(rows, centres).square()
    return _mean_square(rows, centres)


@torch.no_grad()
def _channel_variances(rows: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    """Variances (B, K, D) of ``rows`` about ``centres``, weighted by ``weights`` (B, N, K)."""
    origin = rows.mean(dim=1, keepdim=True)
    rows, centres = rows - origin, centres - origin
    weights = (weights / (weights.sum(dim=1, keepdim=True) + EPS)).transpose(1, 2)
    first, second = torch.bmm(weights, rows), torch.bmm(weights, rows.square())
    total = weights.sum(dim=2, keepdim=True)
    variances = (second - 2 * centres * first + total * centres.square()).clamp(min=0)
    return variances + RIDGE * variances.mean(dim=2, keepdim=True)


def energies(
    rows: Tensor, centres: Tensor, weights: Tensor | None, distance: Distance, mask: Tensor | None = None
) -> Tensor:
    """-log r (B, N, K), where r in (0, 1] is a cell's affinity to a Gaussian.

    Without ``weights``, r = exp(-d^2), a kernel of fixed width. With them, (B, N, K), r = exp(-d^2 / (2 s^2)),
    where s^2 is the weighted mean of d^2, a constant for the gradient (the paper's adaptive variance); for
    ``distance="diag"``, d^2 / s^2 is the mean over the channels of (x - mu)^2 over the channel's own variance.
    ``mask`` (B, N) multiplies d, as in the released code.
    """
    factor = 1 if mask is None else mask.square().unsqueeze(2)
    if distance == "diag":
        if weights is None:
            raise ValueError("distance diag has no meaning without a variance")
        precision = (2 * _channel_variances(rows, centres, weights) + EPS).reciprocal()
        return factor * _mean_square(rows, centres, precision)
    squared = factor * squared_distances(rows, centres, distance)
    if weights is None:
        return squared
    variance = (weights * squared.detach()).sum(dim=1) / (weights.sum(dim=1) + EPS)
    return squared / (2 * variance + EPS).unsqueeze(1)
