"""What a leaderboard table is made of, before any format."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bench.report.leaderboard.labels import Labels
from bench.report.leaderboard.published import Published
from bench.report.leaderboard.statistics import Difference, mean_and_std
from bench.scoring.metrics.catalogue import Metric


def slug(text: str) -> str:
    """``text`` as an anchor, a label or a file name: small letters, digits and dashes; it may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


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


@dataclass
class Cell:
    """A metric of a row: its values by seed, and how it compares with the column's best."""

    values: dict[int, float]
    """By seed, in the metric's own unit (shares, not per cent)."""
    undefined: tuple[int, ...] = ()
    """Seeds of complete runs for which the metric is missing or not a number."""
    images: int = 0
    """Those that ``error_images`` is of; 0 where nothing is known of single ones."""
    error_images: float = 0.0
    """Standard error that the choice of images gives the mean."""
    place: int | None = None
    """1 for the best and 2 for the second in the column, equal where the printed numbers are equal."""
    difference: Difference | None = None
    """Paired bootstrap of the column's best row minus this one, on the better side positive."""
    p_bootstrap: float | None = None
    """Its p value, corrected for the number of rows."""
    p_wilcoxon: float | None = None
    """Wilcoxon over seeds after Holm's correction, where there are enough seeds."""
    marks: str = ""
    """† and ‡: not significantly different from the best; §: too few images to tell; =: the same number."""

    @classmethod
    def of(cls, found: Mapping[int, float], seeds: Sequence[int]) -> Cell:
        """What was ``found`` by seed, for the ``seeds`` of a row."""
        values = {seed: found[seed] for seed in seeds if math.isfinite(found.get(seed, math.nan))}
        return cls(values, tuple(seed for seed in seeds if seed not in values))

    @property
    def n(self) -> int:
        """Seeds averaged."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return self._moments[0]

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds, None for a single one."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[float, float | None]:
        return mean_and_std(list(self.values.values()))


@dataclass
class Row:
    """A method's variant, with one anomaly score or one reading of it, over its complete runs."""

    label: str
    method: str
    version: str
    score: str
    """The anomaly score; under other protocols the reading, empty for the method's own prediction."""
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    cells: dict[ColumnKey, Cell]
    weights: tuple[str, ...] = ()
    """SHA-256 of each run's trained weights, empty where a record does not say."""
    per_class: dict[str, dict[str, Cell]] = field(default_factory=dict)
    """IoU by target and class."""
    place: int | None = None
    """Position in the table."""


@dataclass(frozen=True)
class Incomplete:
    """Runs that are not averaged, and why."""

    label: str
    seeds: tuple[int, ...]
    status: str
    reason: str

    @property
    def text(self) -> str:
        """For example ``seeds 1, 2 failed: the loss is not finite``."""
        seeds = ", ".join(map(str, self.seeds))
        return f"seed{'s' if len(self.seeds) > 1 else ''} {seeds} {self.status}: {self.reason}"


@dataclass
class Table:
    """One leaderboard: rows that may be compared, and nothing else."""

    title: str
    protocol: str
    facts: dict[str, str]
    """What all rows share, by name, in the order of the caption."""
    columns: list[Column] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    incomplete: list[Incomplete] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    """How to read the numbers."""
    notes: list[str] = field(default_factory=list)
    """Warnings."""
    published: list[Published] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """The title as an anchor, a label or a file name."""
        return slug(self.title)

    @property
    def caption(self) -> str:
        """What all rows share, in one sentence."""
        return "; ".join(f"{name} {value}" for name, value in self.facts.items())

    @property
    def shown(self) -> list[Column]:
        """The columns of every format but CSV and JSON."""
        return [column for column in self.columns if column.shown]

    def on_one_seed(self, row: Row) -> bool:
        """Whether ``row`` rests on one seed and stands above rows with several."""
        below = (other for other in self.rows if row.place is not None and (other.place or 0) > row.place)
        return len(row.seeds) == 1 and any(len(other.seeds) > 1 for other in below)

    @property
    def has_scores(self) -> bool:
        """Whether a row is a method with an anomaly score, or with another reading than its own."""
        return any(row.score for row in self.rows)
