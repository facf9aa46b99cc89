"""The columns of a table: a metric on a target."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.leaderboard.labels import Labels
from bench.scoring.metrics.catalogue import Metric, metric, order

__all__ = ["Column", "ColumnKey", "Metric", "metric", "order"]

ColumnKey = tuple[str, str, str]
"""Target, its data, metric. Without a target: the targets that a summary is over, or ``cost``."""


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
