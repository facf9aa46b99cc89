"""Boundary IoU and boundary F1: how well a segmentation follows contours, which IoU of large regions hides.

Boundary IoU (Cheng et al. 2021): IoU restricted to the pixels of either mask within a distance d of its own
contour, d being 2 % of the image diagonal, rounded, at least one pixel. Distance is that of d erosions by a
3 x 3 square (the larger of the two coordinate differences), and the image border is a contour.

Boundary F1 (Csurka et al. 2013): contour pixels of a class are those with one of their four neighbours in
another class. Precision is the share of predicted contour pixels within a Euclidean distance of a
ground-truth contour pixel of the class (0.75 % of the diagonal, at least one pixel), recall the converse. The
image border is no contour.

Both are taken per class from counts that are added over the images of a split before anything is divided (the
papers average over instances and over images). Void pixels belong to no class in either map: predictions
there are removed. For boundary IoU the rim of a void region ends the masks on both sides; for boundary F1 it
is no contour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.common.contours import contour, within
from bench.scoring.metrics.images import ImageIds, as_numpy, ratio

if TYPE_CHECKING:
    from torch import Tensor

IOU_DISTANCE = 0.02
"""Width of the region of boundary IoU, as a share of the image diagonal (Cheng et al. 2021, sec. 5.1)."""

F1_TOLERANCE = 0.0075
"""Distance at which contours match in boundary F1, as a share of the image diagonal (Csurka et al. 2013)."""

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]


def boundary_iou_counts(
    predictions: Tensor | ArrayLike,
    labels: Tensor | ArrayLike,
    num_classes: int,
    distance: float = IOU_DISTANCE,
) -> Int64s:
    """Pixels of each class in both boundary regions, in the ground truth's, and in the prediction's.

    Args:
        predictions: (H, W) integer class ids; what is outside 0..C-1 is no class.
        labels: (H, W) integer; pixels outside 0..C-1 are void.
        num_classes: C.
        distance: share of the image diagonal.

    Returns:
        (C, 3) int64.
    """
    predicted, truth = _maps(predictions, labels, num_classes)
    pixels = max(1, round(distance * math.hypot(*truth.shape)))
    near_predicted, near_truth = _near_contour(predicted, pixels), _near_contour(truth, pixels)
    both = near_predicted & near_truth & (predicted == truth)
    regions = (truth[both], truth[near_truth], predicted[near_predicted])
    counts = [np.bincount(ids, minlength=num_classes + 1)[:num_classes] for ids in regions]
    return np.stack(counts, axis=-1).astype(np.int64)


def boundary_f1_counts(
    predictions: Tensor | ArrayLike,
    labels: Tensor | ArrayLike,
    num_classes: int,
    tolerance: float = F1_TOLERANCE,
) -> Int64s:
    """Contour pixels of each class: predicted that match, predicted, ground-truth that match, ground-truth.

    Arguments as of ``boundary_iou_counts``; ``tolerance`` is a share of the image diagonal.

    Returns:
        (C, 4) int64.
    """
    predicted, truth = _maps(predictions, labels, num_classes)
    void = truth == num_classes
    reach = max(1.0, tolerance * math.hypot(*truth.shape))
    contour_predicted, contour_truth = contour(predicted, ~void), contour(truth, ~void)
    points_predicted = _points_by_class(contour_predicted, predicted, num_classes)
    points_truth = _points_by_class(contour_truth, truth, num_classes)
    counts = np.zeros((num_classes, 4), np.int64)
    for row, ours, theirs in zip(counts, points_predicted, points_truth, strict=True):
        row[:] = within(ours, theirs, reach).sum(), len(ours), within(theirs, ours, reach).sum(), len(theirs)
    return counts


def boundary_iou(counts: ArrayLike) -> Float64s:
    """Boundary IoU of each class from (..., C, 3) counts: (..., C) float64, NaN where it is in neither."""
    both, truth, predicted = np.moveaxis(np.asarray(counts), -1, 0)
    return ratio(both, truth + predicted - both)


def boundary_f1(counts: ArrayLike) -> Float64s:
    """Boundary F1 of each class from (..., C, 4) counts: (..., C) float64.

    NaN where neither map has a contour of the class, 0 where only one has or nothing matches.
    """
    matched_predicted, predicted, matched_truth, truth = np.moveaxis(np.asarray(counts), -1, 0)
    precision = np.nan_to_num(ratio(matched_predicted, predicted))
    recall = np.nan_to_num(ratio(matched_truth, truth))
    f1 = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
    return np.where((predicted == 0) & (truth == 0), np.nan, f1)


class BoundaryMeter:
    """Boundary counts of single images, from which the split's metrics follow.

    Args:
        num_classes: C.
        distance: of boundary IoU, a share of the image diagonal.
        tolerance: of boundary F1, a share of the image diagonal.
    """

    def __init__(self, num_classes: int, distance: float = IOU_DISTANCE, tolerance: float = F1_TOLERANCE) -> None:
        self.num_classes = num_classes
        self.distance = distance
        self.tolerance = tolerance
        self._ids = ImageIds()
        self._counts: list[NDArray[np.int32]] = []

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of ``per_image``."""
        return list(self._ids)

    @property
    def per_image(self) -> NDArray[np.int32]:
        """(n, C, 7) int32: three counts of ``boundary_iou_counts``, then four of ``boundary_f1_counts``."""
        return np.array(self._counts, np.int32).reshape(-1, self.num_classes, 7)

    @property
    def iou(self) -> Float64s:
        """Boundary IoU of each class over the split, (C,) float64."""
        return boundary_iou(self._total[:, :3])

    @property
    def f1(self) -> Float64s:
        """Boundary F1 of each class over the split, (C,) float64."""
        return boundary_f1(self._total[:, 3:])

    def update(self, image_id: str, predictions: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> None:
        """Count one image, (H, W) integer maps; raises ``DuplicateImage`` the second time."""
        counts = np.concatenate(
            [
                boundary_iou_counts(predictions, labels, self.num_classes, self.distance),
                boundary_f1_counts(predictions, labels, self.num_classes, self.tolerance),
            ],
            axis=-1,
        )
        self._ids.add(image_id)
        self._counts.append(counts.astype(np.int32))

    def select(self, image_ids: Iterable[str]) -> BoundaryMeter:
        """A meter of some of the images; raises ``KeyError`` for one that was not counted."""
        chosen = BoundaryMeter(self.num_classes, self.distance, self.tolerance)
        for image_id, place in self._ids.places(image_ids):
            chosen._ids.add(image_id)
            chosen._counts.append(self._counts[place])
        return chosen

    def merge(self, other: BoundaryMeter) -> None:
        """Add another shard; raises ``ValueError`` where settings differ or images repeat."""
        mine = (self.num_classes, self.distance, self.tolerance)
        theirs = (other.num_classes, other.distance, other.tolerance)
        if mine != theirs:
            raise ValueError(f"cannot merge boundaries at (classes, distance, tolerance) {theirs} into {mine}")
        self._ids.extend(other._ids)
        self._counts += other._counts

    @property
    def _total(self) -> Int64s:
        total: Int64s = self.per_image.sum(0, dtype=np.int64)
        return total


def _maps(
    predictions: Tensor | ArrayLike, labels: Tensor | ArrayLike, num_classes: int
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Both maps with one id, C, for what is void in the ground truth, and for predictions of no class."""
    predicted, truth = as_numpy(predictions), as_numpy(labels)
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(f"predictions {predicted.shape} and labels {truth.shape} must both be (H, W)")
    void = (truth < 0) | (truth >= num_classes)
    none = void | (predicted < 0) | (predicted >= num_classes)
    return (
        np.where(none, num_classes, predicted).astype(np.int16),
        np.where(void, num_classes, truth).astype(np.int16),
    )


def _near_contour(ids: NDArray[np.int16], pixels: int) -> NDArray[np.bool_]:
    """Where another id, or the image border, is within ``pixels`` of a pixel: all masks at once."""
    from scipy import ndimage

    size = 2 * pixels + 1
    lowest = ndimage.minimum_filter(ids, size, mode="constant", cval=-1)
    highest = ndimage.maximum_filter(ids, size, mode="constant", cval=-1)
    near: NDArray[np.bool_] = lowest != highest
    return near


def _points_by_class(contour: NDArray[np.bool_], ids: NDArray[np.int16], num_classes: int) -> list[NDArray[np.int64]]:
    """Coordinates of the contour pixels of each class: C arrays, (points, 2)."""
    points = np.argwhere(contour)
    classes = ids[contour]
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(num_classes + 1))
    return np.split(points[order], starts)[1 : num_classes + 1]
