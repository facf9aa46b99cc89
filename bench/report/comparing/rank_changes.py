"""How the order of the methods changes from protocol to protocol, where all of them were scored under several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.report.leaderboard.comparison import ranked_cells
from bench.report.leaderboard.model import Table
from bench.report.leaderboard.views import OVERVIEW

_FEWEST = 3
"""Methods of which an order is worth telling."""


class RankChanges(NamedTuple):
    """The ranks of methods that were trained and scored alike."""

    title: str
    methods: dict[str, str]
    """By the name of the row, in the order of the first protocol."""
    ranks: dict[str, list[int]]
    """Of the ``methods``, by protocol and target: 1 is the best, equal where numbers print alike."""
    tau: dict[str, float | None]
    """Kendall's tau-b of each order with the first one: 1 is the same order, -1 the opposite; None where all tie."""


def rank_changes(tables: Sequence[Table]) -> Iterator[RankChanges]:
    """Of each overview (``View.overviews``) in which at least three methods have numbers under two protocols."""
    for table in tables:
        if table.protocol == OVERVIEW and (found := _of(table)) is not None:
            yield found


def _of(table: Table) -> RankChanges | None:
    scores: dict[str, dict[str, float]] = {}
    for column in table.columns:
        sign = -1 if column.metric.better == "higher" else 1
        found = {row.label: sign * float(column.metric.text(cell.mean)) for row, cell in ranked_cells(table, column)}
        if len(found) >= _FEWEST:
            scores[column.group.partition(" (")[0]] = found  # without the prevalence
    numbers = pd.DataFrame(scores, index=[row.label for row in table.rows]).dropna()
    if numbers.shape[0] < _FEWEST or numbers.shape[1] < 2:
        return None
    ranks = numbers.rank(method="min").astype(int)
    ranks = ranks.sort_values(ranks.columns[0], kind="stable")
    method = {row.label: row.method for row in table.rows}
    return RankChanges(
        table.title,
        {label: method[label] for label in ranks.index.tolist()},
        {name: ranks[name].tolist() for name in ranks.columns.tolist()},
        {name: _tau(ranks[ranks.columns[0]], ranks[name]) for name in ranks.columns.tolist()},
    )


def _tau(one: pd.Series, other: pd.Series) -> float | None:
    """Kendall's tau-b; None where all tie. Here: SciPy's takes a fifteenth of the page's time to import."""
    a, b = (np.sign(np.subtract.outer(ranks.to_numpy(), ranks.to_numpy())) for ranks in (one, other))
    pairs = math.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / pairs) if pairs else None
