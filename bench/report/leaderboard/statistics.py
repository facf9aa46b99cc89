"""Spread and significance: mean and deviation over seeds, paired bootstrap over images, Wilcoxon, corrections.

Pure functions on arrays; which rows are compared is decided in ``bench.report.leaderboard.comparison``.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 1000
"""Bootstrap samples of the images."""

ALPHA = 0.05
"""Level of the marks, corrected for the number of rows, and of the confidence intervals."""

MIN_IMAGES = 10
"""Below this many images a percentile bootstrap covers too little to be worth printing."""

MIN_SEEDS = 6
"""Wilcoxon's smallest two-sided p value is 2 / 2**n, above 0.05 for fewer than six pairs."""

_CACHED = 2**17
"""Numbers of a kind that are worked on at a time: with what is made of them they fill a few megabytes."""


class Difference(NamedTuple):
    """The interval of a difference of two rows on the same resampled images, at 1 - ``ALPHA``."""

    low: float
    high: float


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof = 1); None as the deviation of a single value."""
    if len(values) < 2:
        return values[0], None
    if min(values) == max(values):  # no spread at all, whatever their sum rounds to
        return values[0], 0.0
    mean = fmean(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def resampling_weights(ids: Sequence[str], resamples: int) -> Floats:
    """How often each image occurs in each bootstrap sample.

    The draw depends on the image ids alone, so that every row of a table, and every table built later, sees the same
    samples. Returns (resamples, n).
    """
    key = zlib.crc32("\n".join(ids).encode(errors="surrogateescape"))
    generator = np.random.default_rng([0, key])
    weights = np.empty((resamples, len(ids)))
    # Counting drawn images takes a quarter of the time of drawing how often each occurs.
    for part in np.array_split(weights, 1 + weights.size // _CACHED):
        samples, n = part.shape
        drawn = generator.integers(n, size=part.shape) + n * np.arange(samples)[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return weights


def resampled(counts: Mapping[str, ArrayLike], weights: NDArray[np.number]) -> dict[str, Floats]:
    """Counts of every bootstrap sample.

    Args:
        counts: (n, ...) by kind, those of each image.
        weights: (B, n) from ``resampling_weights``; as float64 they need no copy.

    Returns:
        (B, ...) by kind, sums over the images of a sample, for a protocol's ``metrics``.
    """
    drawn = weights.astype(np.float64, copy=False).T
    found = {}
    for kind, array in counts.items():
        images = np.asarray(array)
        flat = images.reshape(len(images), -1).astype(np.float64)
        # A number of all samples in one piece of memory: metrics that add up classes or bins then add whole pieces.
        found[kind] = np.moveaxis((flat.T @ drawn).reshape(*images.shape[1:], -1), -1, 0)
    return found


def in_parts(
    metrics: Callable[[Mapping[str, Any]], Mapping[str, Any]], sums: Mapping[str, Floats], shared: Mapping[str, Any]
) -> dict[str, Floats]:
    """``metrics`` of ``sums`` (B, ...) and of what they ``shared``: as many samples at a time as fit the cache."""
    count = len(next(iter(sums.values())))
    pieces = 1 + max(array.size for array in sums.values()) // _CACHED
    bounds = pairwise(np.linspace(0, count, min(pieces, count) + 1).astype(int))
    parts = [metrics({**{kind: array[i:j] for kind, array in sums.items()}, **shared}) for i, j in bounds]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def paired_bootstrap(first: Floats, second: Floats) -> Difference | None:
    """Percentile interval of ``first - second`` over the same bootstrap samples.

    None if a statistic is undefined in over a tenth of the samples.
    """
    difference = np.asarray(first) - np.asarray(second)
    defined = difference[np.isfinite(difference)]
    if len(defined) == 0 or len(defined) < 0.9 * len(difference):
        return None
    low, high = np.quantile(defined, [ALPHA / 2, 1 - ALPHA / 2])
    return Difference(float(low), float(high))


def error_over_images(samples: Floats, images: int) -> float | None:
    """The standard error that the choice of ``images`` gives a statistic, from its bootstrap samples.

    None if it is undefined in over a tenth of them.
    """
    defined = samples[np.isfinite(samples)]
    if len(defined) < 0.9 * len(samples):
        return None
    return float(np.std(defined)) * math.sqrt(images / max(images - 1, 1))


def step_down(differences: Floats) -> list[float]:
    """Two-sided p values of m differences from zero, adjusted for their number, in the order given.

    Step-down maxT (Westfall and Young 1993) on bootstrap samples (Romano and Wolf 2005): a difference in its own
    standard errors is compared with the largest deviation among all that are no clearer than it, on the same samples.
    The smallest p value is 1 / (B + 1) however many rows there are, where corrections of single p values multiply it
    by m.

    Args:
        differences: (m, 1 + B), of the data themselves and of every bootstrap sample; undefined samples do not count.
    """
    if not len(differences):
        return []
    observed, samples = differences[:, :1], differences[:, 1:]
    errors = np.nanstd(samples, axis=1, keepdims=True)
    # What no sample changes is no difference at all if it is zero, and a certain one otherwise.
    certain = np.where(observed == 0, 0.0, np.inf)
    clearness = np.divide(np.abs(observed), errors, out=certain, where=errors > 0)
    deviations = np.divide(np.abs(samples - observed), errors, out=np.zeros_like(samples), where=errors > 0)
    order = np.argsort(-clearness[:, 0], kind="stable")
    largest = np.maximum.accumulate(np.nan_to_num(deviations[order[::-1]]), axis=0)[::-1]
    exceeded = (largest >= clearness[order]).sum(1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate((1 + exceeded) / (1 + samples.shape[1]))
    return adjusted.tolist()


def wilcoxon_over_seeds(first: Mapping[int, float], second: Mapping[int, float], comparisons: int) -> float | None:
    """Two-sided Wilcoxon signed-rank p value over the seeds that both have.

    None where it could not decide anything: fewer than ``MIN_SEEDS`` pairs, or so few that even the smallest
    p value would not survive Holm's correction for ``comparisons`` pairs of rows.
    """
    shared = sorted(set(first) & set(second))
    n = len(shared)
    if n < MIN_SEEDS or comparisons * 2.0 ** (1 - n) >= ALPHA:
        return None
    differences = np.array([first[s] - second[s] for s in shared])
    if not differences.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)
