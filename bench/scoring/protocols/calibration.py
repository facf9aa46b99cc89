"""Calibration: are the class probabilities those with which the classes occur?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench.scoring.metrics.calibration import calibration_sums, expected_calibration_error
from bench.scoring.metrics.images import ratio
from bench.scoring.protocols.base import Counts, Metric, Protocol, Reading


class Calibration(Protocol):
    """ECE, NLL and Brier score per pixel of the class posterior, pooled over all valid pixels of a split.

    The posterior is the softmax of the class scores, enlarged bilinearly to the label's own resolution as for mIoU.
    ECE: 15 equal bins of the largest probability (Guo et al. 2017). NLL: in nats, at most 87.3 a pixel. Brier: summed
    over classes, 0 to 2. No temperature is fitted. Every other reading that a method gives is scored in the same way.

    Scored where it is asked for (--protocol calibration).
    """

    name: ClassVar[str] = "calibration"
    title: ClassVar[str] = "Calibration"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("ece", "ECE", "lower"),
        Metric("nll", "NLL", "lower", percent=False, decimals=3, high=87.34, unit="nats"),
        Metric("brier", "Brier", "lower", percent=False, decimals=3, high=2.0),
    )
    place: ClassVar[int] = 3
    kinds: ClassVar[tuple[str, ...]] = ("bins", "losses")

    @classmethod
    def count(cls, image: Reading) -> Counts:
        """Pixels, right ones and summed confidences of each bin (15, 3); summed NLL and Brier score (2,)."""
        label = image.label.to(image.scores.device)
        bins, losses = calibration_sums(image.probabilities(), label, image_id=image.id)
        return {"bins": bins, "losses": losses}

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """ECE, NLL and Brier score."""
        pixels = counts["bins"][..., 0].sum(-1)
        nll, brier = (ratio(counts["losses"][..., i], pixels) for i in (0, 1))
        return {"ece": expected_calibration_error(counts["bins"]), "nll": nll, "brier": brier}
