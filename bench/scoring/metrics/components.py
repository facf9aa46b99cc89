"""Component metrics of anomaly segmentation: sIoU, PPV and F1* (Chan et al. 2021, SegmentMeIfYouCan, sec. 4).

A segmentation may be almost perfect pixel by pixel and still miss every small obstacle, so obstacles are
scored as connected components. All overlaps of an image come from one contingency table (ground-truth
component x predicted component), hence the cost is that of labelling the components, not their number times
the image.

In the region of interest, which is without void and without ground-truth components too small to count:

- ``sIoU(k)`` of a ground-truth component k: its overlap with the predicted components that touch it, over
  their union, where pixels of those on *other* ground-truth components are forgiven, since one prediction may
  cover two objects.
- ``PPV(k')`` of a predicted component k': the share of it on ground truth.
- At a level t, a component with sIoU >= t is found (TP) or else missed (FN); a predicted one with PPV < t is
  false (FP). F1* is the mean of ``2 TP / (2 TP + FN + FP)`` over the eleven levels 0.25, 0.30, ..., 0.75.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.scoring.metrics.images import VOID, ImageIds, NonFiniteScore, as_numpy, ratio

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = np.arange(5, 16) / 20
"""The eleven levels of sIoU and PPV: 0.25, 0.30, ..., 0.75, each the float64 nearest to it."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class ImageComponents:
    """Scores of the components of one image, in [0, 1].

    Attributes:
        siou_gt: (G,) float64, of each ground-truth component.
        siou_pred: (P,) float64, of each predicted component, the mirror image of ``siou_gt``; not in F1*.
        ppv: (P,) float64, of each predicted component.
    """

    siou_gt: NDArray[np.float64]
    siou_pred: NDArray[np.float64]
    ppv: NDArray[np.float64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """TP, FN and FP at each of ``LEVELS``, (3, 11) int64."""
        found = (self.siou_gt[:, None] >= LEVELS).sum(0)
        false = (self.ppv[:, None] < LEVELS).sum(0)
        return np.stack([found, len(self.siou_gt) - found, false])

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of ``siou_gt``, sum of ``ppv`` and number of predicted components, (3,) float64."""
        return np.array([self.siou_gt.sum(), self.ppv.sum(), len(self.ppv)])


@dataclass(frozen=True)
class ComponentResult:
    """Component metrics of a split.

    ``siou_gt``, ``siou_pred`` and ``ppv`` are means over all components of the split, not over images, and
    NaN without a component: PPV without a predicted one has no value. ``f1_star`` is then 0 if there is
    ground truth. It is 0 too where there are false components and no ground truth, and NaN where there is
    neither. ``counts`` are TP, FN and FP at each level, (3, 11) int64.
    """

    f1_star: float
    f1: NDArray[np.float64]
    siou_gt: float
    siou_pred: float
    ppv: float
    counts: NDArray[np.int64]
    components_gt: int
    components_pred: int


def image_components(
    scores: Tensor | ArrayLike,
    labels: Tensor | ArrayLike,
    threshold: float,
    min_segment: int,
    min_instance: int,
    image_id: str = "",
) -> ImageComponents:
    """Match the components of one image; neighbours are the eight around a pixel.

    Args:
        scores: (H, W) float, higher is more anomalous; strictly above ``threshold`` is predicted.
        labels: (H, W): 1 anomalous, 0 in-distribution, 255 void.
        threshold: in the units of the scores, rounded to their precision.
        min_segment: predicted components of fewer pixels, void not counted, are dropped (500 on SMIYC's
            anomaly track, 50 on its obstacle track).
        min_instance: ground-truth components of fewer pixels become void (100 and 10).
        image_id: names the image in errors.

    Raises:
        TypeError: scores that are not floating point.
        NonFiniteScore: NaN or infinity at a valid pixel.
        ValueError: another label, or maps that are not (H, W) both.
    """
    values, truth = as_numpy(scores), as_numpy(labels)
    if values.ndim != 2 or values.shape != truth.shape:
        raise ValueError(f"image {image_id!r}: scores {values.shape} and labels {truth.shape} must both be (H, W)")
    if values.dtype.kind != "f":
        raise TypeError(f"image {image_id!r}: scores must be floating point, not {values.dtype}")
    valid, anomalous = truth != VOID, truth == 1
    if not (anomalous | (truth == 0) | ~valid).all():
        odd = truth[valid & ~anomalous & (truth != 0)][0]
        raise ValueError(f"image {image_id!r}: label {odd} is none of 0, 1 and {VOID}")
    if not np.isfinite(values[valid]).all():
        raise NonFiniteScore(image_id)

    predicted = (values > values.dtype.type(threshold)) & valid
    predicted_ids, predicted_count = _large_components(predicted, min_segment)
    truth_ids, truth_count = _large_components(anomalous, min_instance)
    roi = valid & ~(anomalous & (truth_ids == 0))

    cells = truth_ids[roi] * (predicted_count + 1) + predicted_ids[roi]
    shape = (truth_count + 1, predicted_count + 1)
    table = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    # A predicted component that lies on dropped ground truth alone is not in the region of interest.
    table = table[:, np.concatenate([[True], table[:, 1:].any(0)])]

    overlap = table[1:, 1:]
    sizes_gt, sizes_pred = table[1:].sum(1), table[:, 1:].sum(0)
    return ImageComponents(
        siou_gt=_adjusted_iou(overlap, sizes_gt, sizes_pred),
        siou_pred=_adjusted_iou(overlap.T, sizes_pred, sizes_gt),
        ppv=overlap.sum(0) / sizes_pred,
    )


def component_f1(counts: ArrayLike) -> NDArray[np.float64]:
    """F1 at each level from TP, FN and FP: (..., 3, 11) counts to (..., 11) float64, NaN for none."""
    tp, fn, fp = np.moveaxis(np.asarray(counts), -2, 0)
    return ratio(2 * tp, 2 * tp + fn + fp)


def component_metrics(counts: ArrayLike, sums: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """F1*, mean sIoU and mean PPV, (...) by their names in tables, NaN as of ``ComponentResult``.

    Args:
        counts: (..., 3, 11), ``ImageComponents.counts`` added up over images.
        sums: (..., 3), ``ImageComponents.sums`` of the same.
    """
    siou, ppv, predicted = np.moveaxis(np.asarray(sums), -1, 0)
    labelled = np.asarray(counts)[..., :2, 0].sum(-1)
    return {
        "f1_star_oracle": component_f1(counts).mean(-1),
        "siou_oracle": ratio(siou, labelled),
        "ppv_oracle": ratio(ppv, predicted),
    }


class ComponentMeter:
    """Component metrics of a split at one threshold; arguments as of ``image_components``."""

    def __init__(self, threshold: float, min_segment: int, min_instance: int) -> None:
        self.threshold = threshold
        self.min_segment = min_segment
        self.min_instance = min_instance
        self._ids = ImageIds()
        self._images: list[ImageComponents] = []

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of ``per_image``."""
        return list(self._ids)

    @property
    def per_image(self) -> NDArray[np.int64]:
        """TP, FN and FP of each image at each level, (n, 3, 11) int64."""
        return np.array([image.counts for image in self._images], np.int64).reshape(-1, 3, len(LEVELS))

    def of_images(self, image_ids: Iterable[str]) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
        """``components`` (n, 3, 11) and ``overlaps`` (n, 3): counts and sums of some images in their order."""
        images = [self._images[place] for _, place in self._ids.places(image_ids)]
        return {
            "components": np.stack([image.counts for image in images]),
            "overlaps": np.stack([image.sums for image in images]),
        }

    def update(self, image_id: str, scores: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> None:
        """Match one image, as ``image_components`` does; raises ``DuplicateImage`` the second time."""
        image = image_components(scores, labels, self.threshold, self.min_segment, self.min_instance, image_id)
        self._ids.add(image_id)
        self._images.append(image)

    def merge(self, other: ComponentMeter) -> None:
        """Add another shard; raises ``ValueError`` where settings differ or images repeat."""
        mine = (self.threshold, self.min_segment, self.min_instance)
        theirs = (other.threshold, other.min_segment, other.min_instance)
        if mine != theirs:
            raise ValueError(f"cannot merge components at (threshold, min_segment, min_instance) {theirs} into {mine}")
        self._ids.extend(other._ids)
        self._images += other._images

    def result(self) -> ComponentResult:
        """The metrics over all images so far."""
        counts = self.per_image.sum(0)
        f1 = component_f1(counts)
        none = np.empty(0)
        siou_gt = np.concatenate([none, *(image.siou_gt for image in self._images)])
        siou_pred = np.concatenate([none, *(image.siou_pred for image in self._images)])
        ppv = np.concatenate([none, *(image.ppv for image in self._images)])
        return ComponentResult(
            f1_star=float(f1.mean()),
            f1=f1,
            siou_gt=_mean(siou_gt),
            siou_pred=_mean(siou_pred),
            ppv=_mean(ppv),
            counts=counts,
            components_gt=len(siou_gt),
            components_pred=len(ppv),
        )


def _large_components(mask: NDArray[np.bool_], min_size: int) -> tuple[NDArray[np.int64], int]:
    """Ids 1..n of the components of at least ``min_size`` pixels, (H, W), 0 elsewhere; and n."""
    from scipy import ndimage  # here: tables need the rest of this module, and are there before SciPy is

    ids, count = ndimage.label(mask, _EIGHT_NEIGHBOURS)
    keep = np.bincount(ids.reshape(-1), minlength=count + 1) >= min_size
    keep[0] = False
    return (np.cumsum(keep, dtype=np.int64) * keep)[ids], int(keep.sum())


def _adjusted_iou(
    overlap: NDArray[np.int64], sizes: NDArray[np.int64], other_sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """sIoU of each row component: (A, B) overlaps, (A,) and (B,) sizes, to (A,) float64."""
    touching = (overlap > 0).astype(np.int64)
    intersection = overlap.sum(1)
    covered = touching @ other_sizes
    on_others = touching @ overlap.sum(0) - intersection
    siou: NDArray[np.float64] = intersection / (covered + sizes - intersection - on_others)
    return siou


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
