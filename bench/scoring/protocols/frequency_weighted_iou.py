"""Frequency-weighted IoU: the mean over pixels, not over classes, of the IoU of a pixel's class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bench.scoring.metrics.confusion import class_iou, confusion_matrix
from bench.scoring.metrics.images import ratio
from bench.scoring.protocols.base import Counts, Metric, Protocol, Reading


class FrequencyWeightedIou(Protocol):
    """IoU of the classes, weighted by their share of the labelled pixels of the split (Long et al. 2015, sec. 5).

    Road and sky decide it: read it beside mIoU, which rare classes decide. Class scores are enlarged bilinearly to the
    label's own resolution before the largest is taken. Scored where it is asked for.
    """

    name: ClassVar[str] = "frequency-weighted-iou"
    title: ClassVar[str] = "Frequency-weighted IoU"
    columns: ClassVar[tuple[Metric, ...]] = (Metric("fw_iou", "FW IoU"),)
    kinds: ClassVar[tuple[str, ...]] = ("confusion",)

    @classmethod
    def count(cls, image: Reading) -> Counts:
        """The confusion matrix (C, C) of the image."""
        matrix = confusion_matrix(image.predicted, image.label, len(image.scores))
        return {"confusion": matrix.numpy().astype(np.int32)}

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """The weighted mean."""
        labelled = counts["confusion"].sum(-1)
        weighted = np.where(labelled > 0, labelled * class_iou(counts["confusion"]), 0.0)
        return {"fw_iou": ratio(weighted.sum(-1), labelled.sum(-1))}
