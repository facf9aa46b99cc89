"""Boundary: how well predictions follow the contours of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bench.scoring.metrics.boundary import boundary_f1, boundary_f1_counts, boundary_iou, boundary_iou_counts
from bench.scoring.metrics.confusion import nan_mean
from bench.scoring.protocols.base import Counts, Metric, Protocol, Reading


class Boundary(Protocol):
    """Boundary IoU and boundary F1: a mean over classes, of counts added up over the images of a split.

    Boundary IoU (Cheng et al. 2021) within 2 % of the image diagonal of a contour, boundary F1 (Csurka et al. 2013)
    with contours matched within 0.75 % of it, both at the label's own resolution. Void is cut out of both maps. Classes
    that neither the labels nor the predictions show do not count. Every other reading is scored in the same way.

    Scored where it is asked for (--protocol boundary).
    """

    name: ClassVar[str] = "boundary"
    title: ClassVar[str] = "Boundaries"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("boundary_iou", "Boundary IoU"),
        Metric("boundary_f1", "Boundary F1"),
    )
    place: ClassVar[int] = 4
    kinds: ClassVar[tuple[str, ...]] = ("contours",)

    @classmethod
    def count(cls, image: Reading) -> Counts:
        """The three counts of ``boundary_iou_counts`` and the four of ``boundary_f1_counts``, (C, 7)."""
        of = (image.predicted, image.label, len(image.scores))
        counts = np.concatenate([boundary_iou_counts(*of), boundary_f1_counts(*of)], axis=-1)
        return {"contours": counts.astype(np.int32)}

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """Means over the classes that occur."""
        return {name: nan_mean(values) for name, values in cls.per_class(counts).items()}

    @classmethod
    def per_class(cls, counts: Counts) -> Mapping[str, Any]:
        """Boundary IoU and F1 of each class."""
        contours = counts["contours"]
        return {"boundary_iou": boundary_iou(contours[..., :3]), "boundary_f1": boundary_f1(contours[..., 3:])}
