"""Closed-set: the classes of training, on held-out images of the same data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.scoring.metrics import confusion
from bench.scoring.metrics.decomposition import DecompositionMeter
from bench.scoring.protocols.base import (
    Counts,
    Evaluation,
    Image,
    Metric,
    Pass,
    Protocol,
    Reading,
    ReadingCounts,
    Steps,
    Values,
    numbers,
)

if TYPE_CHECKING:
    from datasets.base import Dataset

PREDICTION = "prediction"
"""The method's own prediction among the parts of its errors."""


class ClosedSet(Protocol):
    """mIoU, IoU per class, mean and pixel accuracy from one confusion matrix of the whole split.

    Class scores are enlarged bilinearly to the label's own resolution before the largest is taken; classes with an
    empty union do not count. Every other reading that a method gives is scored in the same way. A method that takes
    its errors apart has that done in one pass over the whole image.
    """

    name: ClassVar[str] = "closed-set"
    title: ClassVar[str] = "Closed-set segmentation"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("miou", "mIoU"),
        Metric("mean_accuracy", "mAcc"),
        Metric("pixel_accuracy", "aAcc"),
    )
    by_default: ClassVar[bool] = True
    place: ClassVar[int] = 0
    kinds: ClassVar[tuple[str, ...]] = ("confusion",)
    shows_costs: ClassVar[bool] = True

    @classmethod
    def count(cls, image: Reading) -> Counts:
        """The confusion matrix (C, C) of the image."""
        matrix = confusion.confusion_matrix(image.predicted, image.label, len(image.scores))
        return {"confusion": matrix.numpy().astype(np.int32)}

    @classmethod
    def condensed(cls, counts: Counts) -> Counts:
        """The margins and the diagonal of the matrix, on which all three metrics depend alone."""
        return {"margins": confusion.margins(counts["confusion"])}

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """mIoU, mean and pixel accuracy of ``margins`` (..., 3, C)."""
        return confusion.margin_metrics(counts["margins"])

    @classmethod
    def per_class(cls, counts: Counts) -> Mapping[str, Any]:
        """IoU of each class."""
        return {"iou": confusion.class_iou(counts["confusion"])}

    @classmethod
    def score(cls, evaluation: Evaluation, dataset: Dataset) -> Steps:
        """Count every reading of every image, and add up what the method says of its errors."""
        counted = Pass(dataset, ReadingCounts(cls.count_readings))
        diagnosed = Pass(dataset, Diagnoses(len(evaluation.source.classes)))
        yield [counted, diagnosed]
        found = cls.found(counted.meter.readings, counted.ids, evaluation.source.classes.names)
        found.decomposition = _decomposition(diagnosed.meter.meter, {PREDICTION: found.metrics, **found.by_reading})
        return found


class Diagnoses:
    """What a method says of its errors on every image, if it says anything."""

    def __init__(self, num_classes: int) -> None:
        self.meter = DecompositionMeter(num_classes)

    def update(self, image: Image) -> None:
        """Count one image."""
        if image.diagnosis is not None:
            self.meter.update(image.id, image.diagnosis, image.label)

    def merge(self, other: Diagnoses) -> None:
        """Add the images of another shard."""
        self.meter.merge(other.meter)


def _decomposition(meter: DecompositionMeter, readings: Mapping[str, Mapping[str, Any]]) -> dict[str, Values]:
    """What a method says of its errors, beside the same numbers of its prediction and ``readings``; or nothing."""
    found = {kind: numbers(values) for kind, values in meter.summary().items()}
    for kind in found.keys() & {"miou", "pixel_accuracy"}:
        found[kind] |= numbers({reading: metrics[kind] for reading, metrics in readings.items()})
    return found
