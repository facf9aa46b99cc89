"""Confusion matrices and what follows from them: IoU, accuracy, and their means.

A matrix counts pixels, rows ground truth and columns prediction, both in training ids. Scores are those of
the whole split: the matrices of the images are added before anything is divided.
``IoU_c = C_cc / (row_c + column_c - C_cc)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.scoring.metrics.images import ImageIds, as_numpy, ratio

if TYPE_CHECKING:
    from torch import Tensor


def confusion_matrix(predictions: Tensor, labels: Tensor, num_classes: int, num_predicted: int | None = None) -> Tensor:
    """Pixels per (ground truth, prediction), counted on the device of ``labels``.

    Args:
        predictions: (H, W), or any other shape, integer: 0..P-1.
        labels: the same shape, integer; pixels outside 0..C-1 (void, unlabelled) are not counted.
        num_classes: C.
        num_predicted: P, where a prediction may be something else than a class ("no class" in column C);
            C if None.

    Returns:
        (C, P) int64.

    Raises:
        TypeError: a map that is not integer.
        ValueError: shapes that differ, or a prediction outside 0..P-1, on void pixels too.
    """
    import torch

    columns = num_classes if num_predicted is None else num_predicted
    if predictions.shape != labels.shape:
        raise ValueError(
            f"predictions are {tuple(predictions.shape)} but labels are {tuple(labels.shape)}; "
            "resize the logits to the label's resolution first"
        )
    for name, values in (("predictions", predictions), ("labels", labels)):
        if values.is_floating_point() or values.is_complex():
            raise TypeError(f"{name} must be integer class ids, not {values.dtype}")
    if labels.numel() == 0:
        return torch.zeros(num_classes, columns, dtype=torch.int64, device=labels.device)
    lowest, highest = (int(bound) for bound in torch.aminmax(predictions))
    if lowest < 0 or highest >= columns:
        raise ValueError(f"predictions span {lowest}..{highest}, but there are {columns} columns")
    # Void pixels go to two spare rows, one below and one above, which costs less than masking them out.
    if labels.dtype == torch.int64:
        rows = labels.clamp(-1, num_classes).to(torch.int32).add_(1)
    else:
        rows = labels.to(torch.int32).add(1).clamp_(0, num_classes + 1)
    cells = rows.mul_(columns).add_(predictions.to(rows.device))
    counts = torch.bincount(cells.flatten(), minlength=(num_classes + 2) * columns)
    return counts.view(num_classes + 2, columns)[1:-1].clone()


def class_iou(confusion: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each class, NaN where neither ground truth nor prediction has it.

    Args:
        confusion: (..., C, P) counts, P >= C. Columns from C on are predictions of no class: misses of the
            pixel's own class, false alarms of none.

    Returns:
        (..., C) float64.
    """
    counts, diagonal = _counts_and_diagonal(confusion)
    classes = diagonal.shape[-1]
    union = counts.sum(-1) + counts[..., :classes].sum(-2) - diagonal
    return ratio(diagonal, union)


def class_accuracy(confusion: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Recall of each class, (..., C) float64, NaN where the ground truth has none of it."""
    counts, diagonal = _counts_and_diagonal(confusion)
    return ratio(diagonal, counts.sum(-1))


def mean_iou(confusion: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Mean of ``class_iou`` over the classes with a union, (...) float64; NaN if there is none."""
    return nan_mean(class_iou(confusion))


def mean_accuracy(confusion: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Mean of ``class_accuracy`` over the classes in the ground truth, (...) float64; NaN if none is."""
    return nan_mean(class_accuracy(confusion))


def pixel_accuracy(confusion: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Share of the counted pixels that are right, (...) float64; NaN if no pixel was counted."""
    counts, diagonal = _counts_and_diagonal(confusion)
    return ratio(diagonal.sum(-1), counts.sum((-2, -1)))


def margins(confusion: Tensor | ArrayLike) -> NDArray[np.int64]:
    """Right, labelled and predicted pixels of each class, (..., 3, C): all that the means below need of a matrix."""
    counts, diagonal = _counts_and_diagonal(confusion)
    return np.stack([diagonal, counts.sum(-1), counts[..., : diagonal.shape[-1]].sum(-2)], axis=-2)


def margin_metrics(margins: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """``miou``, ``mean_accuracy`` and ``pixel_accuracy``, (...) each, of ``margins`` (..., 3, C)."""
    right, labelled, predicted = np.moveaxis(np.asarray(margins), -2, 0)
    return {
        "miou": nan_mean(ratio(right, labelled + predicted - right)),
        "mean_accuracy": nan_mean(ratio(right, labelled)),
        "pixel_accuracy": ratio(right.sum(-1), labelled.sum(-1)),
    }


def harmonic_mean(values: ArrayLike) -> Any:
    """Harmonic mean over the first axis, as cross-domain tables use it: one failed domain pulls it down, a zero makes
    it zero.

    NaN for no values or where one is NaN; raises ``ValueError`` for a negative one.
    """
    numbers = np.asarray(values, np.float64)
    if (numbers < 0).any():
        raise ValueError("the harmonic mean is of non-negative values")
    with np.errstate(divide="ignore", invalid="ignore"):
        return len(numbers) / (1 / numbers).sum(0)


def nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN, (...) float64; NaN, without a warning, where all is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1))


class ConfusionMeter:
    """Confusion matrices of single images, from which the split's follows.

    An image's matrix is kept as its non-zero cells: a street scene fills a few hundred of the 171 x 171.

    Args:
        num_classes: C.
        num_predicted: P, C if None; see ``confusion_matrix``.
    """

    def __init__(self, num_classes: int, num_predicted: int | None = None) -> None:
        self.num_classes = num_classes
        self.num_predicted = num_classes if num_predicted is None else num_predicted
        self._ids = ImageIds()
        self._cells: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
        self._total = np.zeros((self.num_classes, self.num_predicted), np.int64)

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of ``per_image``."""
        return list(self._ids)

    @property
    def per_image(self) -> NDArray[np.int32]:
        """Matrices of the images, (n, C, P) int32."""
        matrices = np.zeros((len(self._cells), self._total.size), np.int32)
        for matrix, (cells, counts) in zip(matrices, self._cells, strict=True):
            matrix[cells] = counts
        return matrices.reshape(-1, *self._total.shape)

    @property
    def total(self) -> NDArray[np.int64]:
        """Their sum, (C, P) int64."""
        return self._total.copy()

    def update(self, image_id: str, predictions: Tensor, labels: Tensor) -> None:
        """Count one image, as ``confusion_matrix`` does; raises ``DuplicateImage`` the second time."""
        matrix = confusion_matrix(predictions, labels, self.num_classes, self.num_predicted).cpu().numpy()
        self._ids.add(image_id)
        cells = np.flatnonzero(matrix)
        self._cells.append((cells.astype(np.int32), matrix.reshape(-1)[cells].astype(np.int32)))
        self._total += matrix

    def select(self, image_ids: Iterable[str]) -> ConfusionMeter:
        """A meter of some of the images; raises ``KeyError`` for one that was not counted."""
        chosen = ConfusionMeter(self.num_classes, self.num_predicted)
        flat = chosen._total.reshape(-1)
        for image_id, place in self._ids.places(image_ids):
            cells, counts = self._cells[place]
            chosen._ids.add(image_id)
            chosen._cells.append((cells, counts))
            flat[cells] += counts
        return chosen

    def merge(self, other: ConfusionMeter) -> None:
        """Add the images of another shard; raises ``ValueError`` where shapes differ or images repeat."""
        if other._total.shape != self._total.shape:
            raise ValueError(f"cannot merge {other._total.shape} confusion matrices into {self._total.shape}")
        self._ids.extend(other._ids)
        self._cells.extend(other._cells)
        self._total += other._total


def _counts_and_diagonal(
    confusion: Tensor | ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    counts = as_numpy(confusion)
    if counts.ndim < 2 or counts.shape[-1] < counts.shape[-2]:
        raise ValueError(f"a confusion matrix is (..., C, P) with P >= C, not {counts.shape}")
    # Narrow per-image counts would overflow in sums over images; weighted (float) counts stay as they are.
    if counts.dtype.kind in "iub":
        counts = counts.astype(np.int64, copy=False)
    return counts, np.diagonal(counts, axis1=-2, axis2=-1)
