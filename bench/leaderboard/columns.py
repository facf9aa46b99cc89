"""What a metric is called in a table, which direction is better, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.leaderboard.labels import Labels

Better = Literal["higher", "lower"] | None

ColumnKey = tuple[str, str, str]
"""Target, its data, metric. Without a target: the targets that a summary is over, or ``cost``."""


@dataclass(frozen=True)
class Metric:
    """How tables treat one metric.

    ``better`` is None for what describes the data or the cost and is not ranked; ``percent`` metrics are
    stored as shares and printed times 100; ``shown`` is False for what only the CSV file holds.
    """

    key: str
    label: str
    better: Better = "higher"
    percent: bool = True
    decimals: int = 2
    shown: bool = True

    @property
    def heading(self) -> str:
        """The label with an arrow towards the better values."""
        return self.label + {"higher": " ↑", "lower": " ↓", None: ""}[self.better]

    def text(self, value: float) -> str:
        """``value`` as printed, without a unit."""
        text = f"{value * (100 if self.percent else 1):.{self.decimals}f}"
        return text[1:] if text.startswith("-") and not text.strip("-0.") else text


_METRICS = (
    Metric("miou", "mIoU"),
    Metric("mean_accuracy", "mAcc"),
    Metric("pixel_accuracy", "aAcc"),
    Metric("boundary_iou", "Boundary IoU"),
    Metric("boundary_f1", "Boundary F1"),
    Metric("ece", "ECE", "lower"),
    Metric("nll", "NLL", "lower", percent=False, decimals=3),
    Metric("brier", "Brier", "lower", percent=False, decimals=3),
    Metric("share_of_own_dense", "of own dense", None, decimals=1),
    Metric("share_of_upper_line", "of upper line", None, decimals=1),
    Metric("source_miou", "Source mIoU", None),
    Metric("drop", "Drop", "lower"),
    Metric("unmapped_mass", "Unmapped mass", None),
    Metric("harmonic_mean", "Harmonic mean mIoU"),
    Metric("mean_drop", "Mean drop", "lower"),
    Metric("auroc", "AUROC"),
    Metric("ap", "AP"),
    Metric("fpr95", "FPR95", "lower"),
    Metric("prevalence", "Prevalence", None),
    Metric("best_f1_oracle", "Best F1 (oracle threshold)"),
    Metric("f1_star_oracle", "F1* of components (oracle threshold)"),
    Metric("siou_oracle", "sIoU (oracle threshold)"),
    Metric("ppv_oracle", "PPV (oracle threshold)"),
    Metric("best_f1_threshold_oracle", "Threshold (oracle)", None, percent=False, decimals=4, shown=False),
    Metric("closed_set_miou", "Closed-set mIoU", None),
    Metric("positives", "Positive pixels", None, percent=False, decimals=0, shown=False),
    Metric("negatives", "Negative pixels", None, percent=False, decimals=0, shown=False),
    Metric("parameters", "Parameters (M)", None, percent=False),
    Metric("seconds", "Training (min)", None, percent=False, decimals=1),
    Metric("images_per_second", "Training images/s", None, percent=False, decimals=1),
    Metric("peak_memory_mb", "Peak memory (MB)", None, percent=False, decimals=0),
)
_BY_KEY = {metric.key: metric for metric in _METRICS}
_ORDER = {metric.key: i for i, metric in enumerate(_METRICS)}


def metric(key: str) -> Metric:
    """The metric ``key``; an unknown one is printed as it is, unranked: nobody said which way is better."""
    if key in _BY_KEY:
        return _BY_KEY[key]
    oracle = key.endswith("_oracle")
    label = key.removesuffix("_oracle").replace("_", " ") + (" (oracle)" if oracle else "")
    return Metric(key, label, None, percent=False, decimals=4)


def order(key: str) -> tuple[int, str]:
    """Sort key that puts metrics in the order of tables."""
    return _ORDER.get(key, len(_ORDER)), key


@dataclass(frozen=True)
class Column:
    """One metric on one target. ``target`` is empty for summaries over targets and for costs."""

    key: ColumnKey
    group: str
    """The heading over the target's columns."""
    target: str
    metric: Metric
    shown: bool = True
    labels: Labels | None = None
    """Which labels the runs were trained from, in tables across supervisions."""
