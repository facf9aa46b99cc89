"""Closed-set: the classes of training, on held-out images of the same data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.metrics import confusion
from bench.metrics.confusion import ConfusionMeter
from bench.metrics.decomposition import DecompositionMeter
from bench.protocols.base import Evaluation, numbers
from bench.protocols.readings import OWN, ReadingMeters, class_scores
from bench.protocols.source_splits import SourceSplits
from bench.records import Scores
from datasets.base import Dataset

PREDICTION = "prediction"
"""The method's own prediction among the parts of its errors."""


@dataclass
class Counts:
    """What is counted of a split, merged and selected together."""

    readings: ReadingMeters[ConfusionMeter]
    decomposition: DecompositionMeter

    def select(self, image_ids: Iterable[str]) -> Counts:
        """The counts of some of the images."""
        wanted = list(image_ids)
        return Counts(self.readings.select(wanted), self.decomposition.select(wanted))

    def merge(self, other: Any) -> None:
        """Add the images of another shard."""
        self.readings.merge(other.readings)
        self.decomposition.merge(other.decomposition)


class ClosedSet(SourceSplits[Counts]):
    """mIoU, IoU per class, mean and pixel accuracy from one confusion matrix of the whole split.

    Class scores are enlarged bilinearly to the label's own resolution before the largest is taken; classes with an
    empty union do not count. Every other reading that a method gives is scored in the same way. A method that takes
    its errors apart has that done in one pass over the whole image.
    """

    name: ClassVar[str] = "closed-set"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Closed-set segmentation"
    headline: ClassVar[str] = "miou"

    @classmethod
    def _measure(cls, evaluation: Evaluation, dataset: Dataset) -> Counts:
        classes = len(evaluation.source.classes)
        counts = Counts(ReadingMeters(partial(ConfusionMeter, classes)), DecompositionMeter(classes))
        for sample in evaluation.samples(dataset, f"closed-set on {dataset.name}/{dataset.split}"):
            size = (sample.label.shape[0], sample.label.shape[1])
            for reading, logits in class_scores(evaluation.predictor(sample.image), sample.id, size).items():
                counts.readings[reading].update(sample.id, logits.argmax(0).cpu(), sample.label)
            diagnosis = evaluation.predictor.diagnose(sample.image, sample.label)
            if diagnosis is not None:
                counts.decomposition.update(sample.id, diagnosis, sample.label)
        return evaluation.merge(counts)

    @classmethod
    def _score(cls, evaluation: Evaluation, dataset: Dataset, meter: Counts) -> Scores:
        own, others = meter.readings.own, meter.readings.others
        cls._keep(evaluation, dataset.split, OWN, ids=np.array(own.ids))
        for reading, one in meter.readings.meters.items():
            cls._keep(evaluation, dataset.split, reading, confusion=one.per_image)
        metrics = closed_set_metrics(own.total)
        by_reading = {reading: closed_set_metrics(other.total) for reading, other in others.items()}
        iou = confusion.class_iou(own.total)
        return Scores(
            dataset=evaluation.describe(dataset),
            metrics=metrics,
            per_class={"iou": numbers(dict(zip(evaluation.source.classes.names, iou)))},
            by_reading=by_reading,
            decomposition=_decomposition(meter.decomposition, {PREDICTION: metrics, **by_reading}),
        )


def _decomposition(
    meter: DecompositionMeter, readings: dict[str, dict[str, float | None]]
) -> dict[str, dict[str, float | None]]:
    """What a method says of its errors, beside the same numbers of its prediction and ``readings``; or nothing."""
    found = {kind: numbers(values) for kind, values in meter.summary().items()}
    for kind in found.keys() & {"miou", "pixel_accuracy"}:
        found[kind] |= {reading: metrics[kind] for reading, metrics in readings.items()}
    return found


def closed_set_metrics(matrix: NDArray[np.int64]) -> dict[str, float | None]:
    """The protocol's numbers from the confusion matrix (C, C) of a split."""
    return numbers(
        {
            "miou": confusion.mean_iou(matrix),
            "mean_accuracy": confusion.mean_accuracy(matrix),
            "pixel_accuracy": confusion.pixel_accuracy(matrix),
        }
    )
