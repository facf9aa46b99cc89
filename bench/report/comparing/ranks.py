"""Methods over several data sets: mean ranks with Friedman's test, and Nemenyi's critical difference (Demšar 2006)."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from bench.report.comparing.results import Results
from bench.report.leaderboard.statistics import ALPHA
from bench.report.leaderboard.views import usual
from bench.scoring.metrics.catalogue import metric

PROTOCOL, METRIC = "closed-set", "miou"
"""What methods are ranked by, on the target that the protocol is judged on."""

MIN_DATA_SETS, MIN_METHODS = 3, 3
"""With two data sets no order of up to eight methods is significant, not even the same on both."""


class Ranks(NamedTuple):
    """Of k methods on N data sets, each with one rank for each."""

    mean: dict[str, float]
    """Mean rank of each method, the best first; 1 is the best."""
    datasets: tuple[str, ...]
    p: float
    """Friedman: that all methods rank alike."""
    critical: float
    """Nemenyi: mean ranks that differ by more than this differ significantly."""


def ranks(results: Results) -> Ranks | None:
    """Of the methods that all data sets have, in each its group with most of them; None of too few.

    A method stands for its configuration nearest to its defaults in a group, as in tables.
    """
    table = _table(results)
    if table is None:
        return None
    from scipy.stats import friedmanchisquare, studentized_range

    number, k = table.shape
    sign = -1 if metric(METRIC, PROTOCOL).better == "higher" else 1
    mean = (sign * table).rank(axis=1).mean().sort_values()
    spread = mean.nunique() > 1  # else all rank alike, and the statistic is 0 / 0 where they do so everywhere
    p = float(friedmanchisquare(*(table[method] for method in table)).pvalue) if spread else 1.0
    quantile = float(studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(k * (k + 1) / (6 * number))
    return Ranks({str(name): float(rank) for name, rank in mean.items()}, tuple(map(str, table.index)), p, critical)


def _table(results: Results) -> pd.DataFrame | None:
    """Means over seeds, data sets by methods, of those methods that all data sets have."""
    runs = results.runs[results.runs["protocol"] == PROTOCOL]
    numbers = results.numbers
    judged = (numbers["protocol"] == PROTOCOL) & (numbers["metric"] == METRIC) & numbers["headline"]
    own = judged & (numbers["part"] == "") & (numbers["reading"] == "")
    found = runs.merge(numbers.loc[own, ["run", "version", "value"]], on=["run", "version"], suffixes=("_of_run", ""))
    found = found[found["run"].isin(usual(numbers))]
    means = found.assign(value=found["value"].astype(float)).pivot_table("value", ["dataset", "group"], "method")
    most = means.notna().sum(axis=1).groupby("dataset").idxmax()
    table = means.loc[most].droplevel("group").dropna(axis=1)
    return table if table.shape[0] >= MIN_DATA_SETS and table.shape[1] >= MIN_METHODS else None
