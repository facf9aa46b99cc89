"""What a method's errors are made of: confusion of its alternative readings, and ratios of counts, over a split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.scoring.metrics.boundary import BoundaryMeter
from bench.scoring.metrics.confusion import ConfusionMeter, mean_iou, pixel_accuracy
from bench.scoring.metrics.images import ratio

if TYPE_CHECKING:
    from torch import Tensor

    from methods.capabilities import Diagnosis


class DecompositionMeter:
    """Adds up the ``Diagnosis`` of every image of a split; stays empty for methods that give none.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._readings: dict[str, ConfusionMeter] = {}
        self._boundaries: dict[str, BoundaryMeter] = {}
        self._counts: dict[str, dict[str, tuple[int, int]]] = {}

    def update(self, image_id: str, diagnosis: Diagnosis, labels: Tensor) -> None:
        """Count one image with ``labels`` (H, W) and readings of the same size."""
        for name, reading in diagnosis.readings.items():
            ids = reading.cpu()
            self._readings.setdefault(name, ConfusionMeter(self.num_classes)).update(image_id, ids, labels)
            self._boundaries.setdefault(name, BoundaryMeter(self.num_classes)).update(image_id, ids, labels)
        for name, (hits, total) in diagnosis.counts.items():
            self._counts.setdefault(name, {})[image_id] = (hits, total)

    def select(self, image_ids: Iterable[str]) -> DecompositionMeter:
        """A meter of some of the images; raises ``KeyError`` for one that was not counted."""
        wanted = list(image_ids)
        chosen = DecompositionMeter(self.num_classes)
        chosen._readings = {name: meter.select(wanted) for name, meter in self._readings.items()}
        chosen._boundaries = {name: meter.select(wanted) for name, meter in self._boundaries.items()}
        chosen._counts = {name: {i: images[i] for i in wanted} for name, images in self._counts.items()}
        return chosen

    def merge(self, other: DecompositionMeter) -> None:
        """Add the images of another shard."""
        for name, meter in other._readings.items():
            self._readings.setdefault(name, ConfusionMeter(self.num_classes)).merge(meter)
        for name, boundary in other._boundaries.items():
            self._boundaries.setdefault(name, BoundaryMeter(self.num_classes)).merge(boundary)
        for name, images in other._counts.items():
            self._counts.setdefault(name, {}).update(images)

    def summary(self) -> dict[str, dict[str, float]]:
        """``miou``, ``boundary_f1`` and ``pixel_accuracy`` of each reading, ``share`` of hits of each count.

        Boundary F1 is a mean over the classes that have a contour in either map, NaN without any. Empty where there is
        nothing.
        """
        if not self._readings and not self._counts:
            return {}
        totals = {name: meter.total for name, meter in self._readings.items()}
        sums = {name: np.sum(list(images.values()), axis=0) for name, images in self._counts.items()}
        return {
            "miou": {name: float(mean_iou(matrix)) for name, matrix in totals.items()},
            "boundary_f1": {name: _mean(meter.f1) for name, meter in self._boundaries.items()},
            "pixel_accuracy": {name: float(pixel_accuracy(matrix)) for name, matrix in totals.items()},
            "share": {name: float(ratio(hits, total)) for name, (hits, total) in sums.items()},
        }


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
