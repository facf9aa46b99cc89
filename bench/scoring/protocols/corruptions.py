"""Corruptions: the same model on the same images under noise, blur, weather and digital artefacts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.data.corruptions import CORRUPTIONS, GROUPS, STRENGTHS, Corrupted, require_installed
from bench.scoring.metrics import confusion
from bench.scoring.metrics.images import ratio
from bench.scoring.protocols.base import (
    Counts,
    Evaluation,
    Image,
    ImageCounts,
    Metric,
    Pass,
    Protocol,
    ReadingCounts,
    Steps,
)

if TYPE_CHECKING:
    from datasets.base import Dataset


class Corruptions(Protocol):
    """mIoU under the fifteen corruptions of ImageNet-C at five strengths (Hendrycks and Dietterich 2019).

    Every image of the headline split is predicted 75 times more. Its corruption is drawn from a seed of its id, the
    corruption and the strength, so that all methods see the same images; labels stay as they are. The headline is the
    mean of 75 mIoUs, each of one confusion matrix of the whole split; a corruption's number is the mean over its
    strengths, a group's that over its corruptions. Retention is the headline over the mIoU on the clean images. Every
    other reading that a method gives is scored in the same way.

    Scored where it is asked for (--protocol corruptions), with the package that the extra ``corruptions`` installs.
    """

    name: ClassVar[str] = "corruptions"
    title: ClassVar[str] = "Corruptions"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("corrupted_miou", "mIoU, corrupted"),
        Metric("retention", "Retention", None, decimals=1, high=math.inf),
        Metric("clean_miou", "mIoU, clean", None),
        *(Metric(group, group.capitalize()) for group in GROUPS),
        *(Metric(name, name.replace("_", " ").capitalize(), shown=False) for name in CORRUPTIONS),
    )
    kinds: ClassVar[tuple[str, ...]] = ("margins",)

    @classmethod
    def require_possible(cls) -> None:
        """Raises UserError without the package that makes corruptions."""
        require_installed()

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The headline split."""
        return super().targets(source)[:1]

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """All means of ``margins`` (..., 1 + 75, 3, C): those of the clean images, then corruption by corruption."""
        mious = confusion.margin_metrics(counts["margins"])["miou"]
        clean, each = mious[..., 0], mious[..., 1:].reshape(*mious.shape[:-1], len(CORRUPTIONS), len(STRENGTHS))
        by_corruption = dict(zip(CORRUPTIONS, np.moveaxis(each.mean(-1), -1, 0)))
        mean = each.mean((-2, -1))
        return {
            "corrupted_miou": mean,
            "retention": ratio(mean, clean),
            "clean_miou": clean,
            **{group: np.mean([by_corruption[name] for name in names], axis=0) for group, names in GROUPS.items()},
            **by_corruption,
        }

    @classmethod
    def per_class(cls, counts: Counts) -> Mapping[str, Any]:
        """IoU of each class, the mean over corruptions and strengths."""
        right, labelled, predicted = np.moveaxis(counts["margins"][1:], -2, 0)
        return {"iou": confusion.nan_mean(ratio(right, labelled + predicted - right).T)}

    @classmethod
    def score(cls, evaluation: Evaluation, dataset: Dataset) -> Steps:
        """Count the clean images, which other protocols may have predicted, and the corrupted ones."""
        passes = [
            Pass(dataset, ReadingCounts(_margins)),
            Pass(Corrupted(dataset), ReadingCounts(_margins), doing="corrupted"),
        ]
        yield passes
        counted = {}
        for reading in passes[0].meter.readings:
            margins = np.concatenate([p.meter.readings[reading].stacked(p.ids)["margins"] for p in passes])
            counted[reading] = ImageCounts()
            for place, image_id in enumerate(passes[0].ids):
                counted[reading].add(image_id, {"margins": margins[place :: len(dataset)]})
        return cls.found(counted, passes[0].ids, evaluation.source.classes.names)


def _margins(image: Image) -> dict[str, Counts]:
    """Right, labelled and predicted pixels of each class (3, C), by reading."""
    matrices = {
        name: confusion.confusion_matrix(reading.predicted, reading.label, len(reading.scores))
        for name, reading in image.readings.items()
    }
    return {name: {"margins": confusion.margins(matrix).astype(np.int32)} for name, matrix in matrices.items()}
