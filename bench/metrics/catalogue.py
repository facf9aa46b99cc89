"""Every metric by name: what it is called, which values it can have, which direction is better, how it is printed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"] | None

ROUNDING = 1e-6
"""By how much arithmetic may carry a value over the end of its range."""


@dataclass(frozen=True)
class Metric:
    """How tables treat one metric, and the range that its values are in.

    ``better`` is None for what describes the data or the cost and is not ranked; ``percent`` metrics are
    stored as shares and printed times 100; ``shown`` is False for what only the CSV file holds.
    """

    key: str
    label: str
    better: Better = "higher"
    percent: bool = True
    decimals: int = 2
    shown: bool = True
    low: float = 0.0
    high: float = 1.0
    unit: str = ""

    @property
    def unit_of_values(self) -> str:
        """The unit of stored values: ``share`` of what is printed in per cent."""
        return "share" if self.percent else self.unit

    @property
    def heading(self) -> str:
        """The label with an arrow towards the better values."""
        return self.label + {"higher": " ↑", "lower": " ↓", None: ""}[self.better]

    def text(self, value: float) -> str:
        """``value`` as printed, without a unit."""
        text = f"{value * (100 if self.percent else 1):.{self.decimals}f}"
        return text[1:] if text.startswith("-") and not text.strip("-0.") else text

    def allows(self, value: float) -> bool:
        """Whether the metric can have this value; it is never NaN or infinite."""
        return math.isfinite(value) and self.low - ROUNDING <= value <= self.high + ROUNDING


_METRICS = (
    Metric("miou", "mIoU"),
    Metric("mean_accuracy", "mAcc"),
    Metric("pixel_accuracy", "aAcc"),
    Metric("boundary_iou", "Boundary IoU"),
    Metric("boundary_f1", "Boundary F1"),
    Metric("ece", "ECE", "lower"),
    Metric("nll", "NLL", "lower", percent=False, decimals=3, high=87.34, unit="nats"),
    Metric("brier", "Brier", "lower", percent=False, decimals=3, high=2.0),
    Metric("share_of_own_dense", "of own dense", None, decimals=1, high=math.inf),
    Metric("share_of_upper_line", "of upper line", None, decimals=1, high=math.inf),
    Metric("source_miou", "Source mIoU", None),
    Metric("drop", "Drop", "lower", low=-1.0),
    Metric("unmapped_mass", "Unmapped mass", None),
    Metric("harmonic_mean", "Harmonic mean mIoU"),
    Metric("mean_drop", "Mean drop", "lower", low=-1.0),
    Metric("auroc", "AUROC"),
    Metric("ap", "AP"),
    Metric("fpr95", "FPR95", "lower"),
    Metric("prevalence", "Prevalence", None),
    Metric("best_f1_oracle", "Best F1 (oracle threshold)"),
    Metric("f1_star_oracle", "F1* of components (oracle threshold)"),
    Metric("siou_oracle", "sIoU (oracle threshold)"),
    Metric("ppv_oracle", "PPV (oracle threshold)"),
    Metric(
        "best_f1_threshold_oracle",
        "Threshold (oracle)",
        None,
        percent=False,
        decimals=4,
        shown=False,
        low=-math.inf,
        high=math.inf,
    ),
    Metric("closed_set_miou", "Closed-set mIoU", None),
    Metric("positives", "Positive pixels", None, percent=False, decimals=0, shown=False, high=math.inf, unit="pixels"),
    Metric("negatives", "Negative pixels", None, percent=False, decimals=0, shown=False, high=math.inf, unit="pixels"),
    Metric("parameters", "Parameters (M)", None, percent=False, high=math.inf, unit="million"),
    Metric("seconds", "Training (min)", None, percent=False, decimals=1, high=math.inf, unit="min"),
    Metric("images_per_second", "Training images/s", None, percent=False, decimals=1, high=math.inf, unit="images/s"),
    Metric("peak_memory_mb", "Peak memory (MB)", None, percent=False, decimals=0, high=math.inf, unit="MB"),
    Metric("iou", "IoU", shown=False),
    Metric("share", "Share", None, shown=False),
)
_BY_KEY = {metric.key: metric for metric in _METRICS}
_ORDER = {metric.key: i for i, metric in enumerate(_METRICS)}


def metric(key: str) -> Metric:
    """The metric ``key``; an unknown one is printed as it is, unranked: nothing says which way is better."""
    if key in _BY_KEY:
        return _BY_KEY[key]
    oracle = key.endswith("_oracle")
    label = key.removesuffix("_oracle").replace("_", " ") + (" (oracle)" if oracle else "")
    return Metric(key, label, None, percent=False, decimals=4, low=-math.inf, high=math.inf)


def order(key: str) -> tuple[int, str]:
    """Sort key that puts metrics in the order of tables."""
    return _ORDER.get(key, len(_ORDER)), key
