"""Closed-set: the classes of training, on held-out images of the same data set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.metrics import confusion
from bench.metrics.decomposition import DecompositionMeter
from bench.protocols.base import Evaluation, Metrics, Protocol, numbers
from bench.protocols.readings import ReadingMeters, class_scores
from bench.records import ProtocolResult, Scores
from datasets.base import Dataset, Item

PREDICTION = "prediction"
"""The method's own prediction among the parts of its errors."""


class ClosedSet(Protocol):
    """mIoU, IoU per class, mean and pixel accuracy from one confusion matrix of the whole split.

    Class scores are enlarged bilinearly to the label's own resolution before the largest is taken; classes with an
    empty union do not count. Every other reading that a method gives is scored in the same way. A method that takes
    its errors apart has that done in one pass over the whole image.
    """

    name: ClassVar[str] = "closed-set"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Closed-set segmentation"

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The evaluation splits of the source, the headline first."""
        return [(source.name, split) for split in source.eval_splits]

    @classmethod
    def target_name(cls, target: tuple[str, str]) -> str:
        """The split: the data set is the run's own."""
        return target[1]

    @classmethod
    def run(cls, evaluation: Evaluation, targets: list[tuple[str, str]]) -> ProtocolResult:
        """Score each split."""
        began = time.monotonic()
        result = ProtocolResult(version=cls.version)
        names = evaluation.source.classes.names
        counted: list[tuple[set[Item], _Meters]] = []
        for name, split in targets:
            dataset = evaluation.open(name, split)
            wider = [m for items, m in counted if items.issuperset(dataset.items)]
            if wider:  # CamVid's test split holds the one of its second drive
                meters = wider[0].select([item.id for item in dataset.items])
            else:
                meters = cls._measure(evaluation, dataset)
                counted.append((set(dataset.items), meters))
            meter = meters.readings.own
            metrics = closed_set_metrics(meter.total)
            by_reading = {reading: closed_set_metrics(m.total) for reading, m in meters.readings.others.items()}
            result.targets[split] = Scores(
                dataset=evaluation.describe(dataset),
                metrics=metrics,
                per_class={"iou": numbers(dict(zip(names, confusion.class_iou(meter.total))))},
                by_reading=by_reading,
                decomposition=_decomposition(meters.decomposition, {PREDICTION: metrics, **by_reading}),
            )
            evaluation.statistics[f"{cls.name}/{split}/ids"] = np.array(meter.ids)
            evaluation.statistics[f"{cls.name}/{split}/confusion"] = meter.per_image
            for reading, other in meters.readings.others.items():
                evaluation.statistics[f"{cls.name}/{split}/{reading}/confusion"] = other.per_image
        result.summary = cls.summarise([scores.metrics for scores in result.targets.values()])
        result.seconds = round(time.monotonic() - began, 2)
        return result

    @classmethod
    def summarise(cls, metrics: Sequence[Metrics]) -> Metrics:
        """The mIoU of the headline split."""
        return {"miou": metrics[0]["miou"]}

    @classmethod
    def _measure(cls, evaluation: Evaluation, dataset: Dataset) -> _Meters:
        classes = len(evaluation.source.classes)
        meters = _Meters(ReadingMeters(classes), DecompositionMeter(classes))
        for sample in evaluation.samples(dataset, f"closed-set on {dataset.name}/{dataset.split}"):
            size = (sample.label.shape[0], sample.label.shape[1])
            for reading, logits in class_scores(evaluation.predictor(sample.image), sample.id, size).items():
                meters.readings[reading].update(sample.id, logits.argmax(0).cpu(), sample.label)
            diagnosis = evaluation.predictor.diagnose(sample.image, sample.label)
            if diagnosis is not None:
                meters.decomposition.update(sample.id, diagnosis, sample.label)
        return evaluation.merge(meters)


@dataclass
class _Meters:
    """What is counted of a split, merged and selected together."""

    readings: ReadingMeters
    decomposition: DecompositionMeter

    def select(self, image_ids: Sequence[str]) -> _Meters:
        return _Meters(self.readings.select(image_ids), self.decomposition.select(image_ids))

    def merge(self, other: _Meters) -> None:
        self.readings.merge(other.readings)
        self.decomposition.merge(other.decomposition)


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
