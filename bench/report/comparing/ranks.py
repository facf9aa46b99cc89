"""Methods over several data sets: mean ranks with Friedman's test, and Nemenyi's critical difference (Demšar 2006)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.report.comparing.results import Results
from bench.report.leaderboard.statistics import ALPHA
from bench.scoring.metrics.catalogue import metric

PROTOCOL, METRIC = "closed-set", "miou"
"""What methods are ranked by, on the target that the protocol is judged on."""


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
    """Of the methods that all data sets have, in each its group with most of them; None of fewer than three methods.

    A method stands for its only configuration in a group, or else for the one with its defaults.
    """
    table = _table(results)
    if table is None:
        return None
    from scipy.special import chdtrc

    number, k = table.shape
    sign = -1 if metric(METRIC, PROTOCOL).better == "higher" else 1
    ranked = (sign * table).rank(axis=1)
    mean = ranked.mean().sort_values()
    spread = mean.nunique() > 1  # else all rank alike, and the statistic is 0 / 0 where they do so everywhere
    between = number * ((mean - (k + 1) / 2) ** 2).sum()
    within = ((ranked - (k + 1) / 2) ** 2).to_numpy().sum() / (number * (k - 1))
    p = float(chdtrc(k - 1, between / within)) if spread else 1.0
    critical = range_quantile(k) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * number))
    return Ranks({str(name): float(rank) for name, rank in mean.items()}, tuple(map(str, table.index)), p, critical)


def range_quantile(k: int) -> float:
    """The 1 - ``ALPHA`` quantile of the range of ``k`` standard normal numbers, by bisection.

    Here and not from ``scipy.stats``, which takes as long to import as twenty tables to make.
    """
    from scipy.special import ndtr

    z, step = np.linspace(-9, 9, 2001, retstep=True)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        # The smallest number is at z, and the k - 1 others are no more than so far above it.
        share = k * step * np.sum(density * (ndtr(z + middle) - ndtr(z)) ** (k - 1))
        low, high = (middle, high) if share < 1 - ALPHA else (low, middle)
    return low


def _table(results: Results) -> pd.DataFrame | None:
    """Means over seeds, data sets by methods, of those methods that all data sets have."""
    runs = results.runs[results.runs["protocol"] == PROTOCOL]
    numbers = results.numbers
    judged = (numbers["protocol"] == PROTOCOL) & (numbers["metric"] == METRIC) & numbers["headline"]
    own = judged & (numbers["part"] == "") & (numbers["reading"] == "")
    found = runs.merge(numbers.loc[own, ["run", "version", "value"]], on=["run", "version"], suffixes=("_of_run", ""))
    configurations = found.groupby(["group", "method"])["configuration"].transform("nunique")
    found = found[(configurations == 1) | (found["configuration"] == found["method"])]
    means = found.assign(value=found["value"].astype(float)).pivot_table("value", ["dataset", "group"], "method")
    most = means.notna().sum(axis=1).groupby("dataset").idxmax()
    table = means.loc[most].droplevel("group").dropna(axis=1)
    return table if table.shape[0] > 1 and table.shape[1] > 2 else None
