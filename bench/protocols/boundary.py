"""Boundary: how well predictions follow the contours of the labels."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from bench.metrics.boundary import BoundaryMeter
from bench.metrics.confusion import nan_mean
from bench.protocols.base import Evaluation, Metrics, numbers
from bench.protocols.readings import OWN, ReadingMeters, class_scores
from bench.protocols.source_splits import SourceSplits
from bench.records import Scores
from datasets.base import Dataset


class Boundary(SourceSplits[ReadingMeters[BoundaryMeter]]):
    """Boundary IoU and boundary F1: a mean over classes, of counts added up over the images of a split.

    Boundary IoU (Cheng et al. 2021) within 2 % of the image diagonal of a contour, boundary F1 (Csurka et al. 2013)
    with contours matched within 0.75 % of it, both at the label's own resolution. Void is cut out of both maps. Classes
    that neither the labels nor the predictions show do not count. Every other reading is scored in the same way.

    Scored where it is asked for (--protocol boundary), in a pass of its own over the images.
    """

    name: ClassVar[str] = "boundary"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Boundaries"
    headline: ClassVar[str] = "boundary_iou"
    by_default: ClassVar[bool] = False

    @classmethod
    def _measure(cls, evaluation: Evaluation, dataset: Dataset) -> ReadingMeters[BoundaryMeter]:
        meters = ReadingMeters(partial(BoundaryMeter, len(evaluation.source.classes)))
        for sample in evaluation.samples(dataset, f"boundaries on {dataset.name}/{dataset.split}"):
            size = (sample.label.shape[0], sample.label.shape[1])
            for reading, logits in class_scores(evaluation.predictor(sample.image), sample.id, size).items():
                meters[reading].update(sample.id, logits.argmax(0).cpu(), sample.label)
        return evaluation.merge(meters)

    @classmethod
    def _score(cls, evaluation: Evaluation, dataset: Dataset, meter: ReadingMeters[BoundaryMeter]) -> Scores:
        cls._keep(evaluation, dataset.split, OWN, ids=np.array(meter.own.ids))
        for reading, one in meter.meters.items():
            cls._keep(evaluation, dataset.split, reading, contours=one.per_image)
        names = evaluation.source.classes.names
        return Scores(
            dataset=evaluation.describe(dataset),
            metrics=_metrics(meter.own),
            per_class={
                "boundary_iou": numbers(dict(zip(names, meter.own.iou))),
                "boundary_f1": numbers(dict(zip(names, meter.own.f1))),
            },
            by_reading={reading: _metrics(other) for reading, other in meter.others.items()},
        )


def _metrics(meter: BoundaryMeter) -> Metrics:
    return numbers({"boundary_iou": nan_mean(meter.iou), "boundary_f1": nan_mean(meter.f1)})
