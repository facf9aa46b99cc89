"""Calibration: are the class probabilities those with which the classes occur?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bench.errors import RunFailed
from bench.metrics.calibration import CalibrationMeter
from bench.metrics.images import NonFiniteScore
from bench.protocols.base import Evaluation, Metrics, numbers
from bench.protocols.readings import OWN, ReadingMeters, class_scores
from bench.protocols.source_splits import SourceSplits
from bench.records import Scores
from datasets.base import Dataset


class Calibration(SourceSplits[ReadingMeters[CalibrationMeter]]):
    """ECE, NLL and Brier score per pixel of the class posterior, pooled over all valid pixels of a split.

    The posterior is the softmax of the class scores, enlarged bilinearly to the label's own resolution as for mIoU.
    ECE: 15 equal bins of the largest probability (Guo et al. 2017). NLL: in nats, at most 87.3 a pixel. Brier: summed
    over classes, 0 to 2. No temperature is fitted. Every other reading that a method gives is scored in the same way.

    Scored where it is asked for (--protocol calibration), in a pass of its own over the images.
    """

    name: ClassVar[str] = "calibration"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Calibration"
    headline: ClassVar[str] = "ece"
    by_default: ClassVar[bool] = False

    @classmethod
    def _measure(cls, evaluation: Evaluation, dataset: Dataset) -> ReadingMeters[CalibrationMeter]:
        meters = ReadingMeters(CalibrationMeter)
        for sample in evaluation.samples(dataset, f"calibration on {dataset.name}/{dataset.split}"):
            size = (sample.label.shape[0], sample.label.shape[1])
            label = sample.label.to(evaluation.predictor.device)
            for reading, logits in class_scores(evaluation.predictor(sample.image), sample.id, size).items():
                try:
                    meters[reading].update(sample.id, logits.float().softmax(0), label)
                except NonFiniteScore as error:
                    raise RunFailed(f"{error}") from None
        return evaluation.merge(meters)

    @classmethod
    def _score(cls, evaluation: Evaluation, dataset: Dataset, meter: ReadingMeters[CalibrationMeter]) -> Scores:
        cls._keep(evaluation, dataset.split, OWN, ids=np.array(meter.own.ids))
        for reading, one in meter.meters.items():
            cls._keep(evaluation, dataset.split, reading, bins=one.bin_sums, losses=one.losses)
        return Scores(
            dataset=evaluation.describe(dataset),
            metrics=_metrics(meter.own),
            by_reading={reading: _metrics(other) for reading, other in meter.others.items()},
        )


def _metrics(meter: CalibrationMeter) -> Metrics:
    result = meter.result()
    return numbers({"ece": result.ece, "nll": result.nll, "brier": result.brier})
