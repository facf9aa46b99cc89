"""Spread and significance: mean and deviation over seeds, paired bootstrap over images, Wilcoxon, corrections.

Pure functions on arrays; which rows are compared is decided in ``bench.leaderboard.tables``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.metrics.boundary import boundary_f1, boundary_iou
from bench.metrics.calibration import expected_calibration_error
from bench.metrics.confusion import nan_mean
from bench.metrics.images import ratio
from bench.metrics.ranking import histogram_metrics

Floats = NDArray[np.float64]

RESAMPLES = 1000
"""Bootstrap samples of the images."""

ALPHA = 0.05
"""Level of the marks, corrected for the number of rows, and of the confidence intervals."""

MIN_IMAGES = 10
"""Below this many images a percentile bootstrap covers too little to be worth printing."""

MIN_SEEDS = 6
"""Wilcoxon's smallest two-sided p value is 2 / 2**n, above 0.05 for fewer than six pairs."""


class Difference(NamedTuple):
    """The interval of a difference of two rows on the same resampled images, at 1 - ``ALPHA``."""

    low: float
    high: float


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof = 1); None as the deviation of a single value."""
    # Exact arithmetic: equal values have no spread at all.
    return mean(values), stdev(values) if len(values) > 1 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def resampling_weights(ids: Sequence[str], resamples: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each image occurs in each bootstrap sample.

    The draw depends on the image ids and ``seed`` alone, so that every row of a table, and every table built
    later, sees the same samples. Returns (resamples, n).
    """
    n = len(ids)
    key = zlib.crc32("\n".join(ids).encode(errors="surrogateescape"))
    return np.random.default_rng([seed, key]).multinomial(n, np.full(n, 1 / n), size=resamples)


def resampled_confusion(confusion: ArrayLike, weights: NDArray[np.int64]) -> dict[str, Floats]:
    """Closed-set metrics of every bootstrap sample.

    Args:
        confusion: (n, C, P) counts of each image.
        weights: (B, n) from ``resampling_weights``.

    Returns:
        ``miou``, ``mean_accuracy`` and ``pixel_accuracy``, each (B,).
    """
    counts = np.asarray(confusion)
    n, classes, _ = counts.shape
    # IoU and accuracy depend on the diagonal and the margins alone: 3 C numbers an image instead of C P.
    hits = np.diagonal(counts, axis1=1, axis2=2)
    labelled, predicted = counts.sum(2), counts[:, :, :classes].sum(1)
    margins = np.stack([hits, labelled, predicted], 1).reshape(n, 3 * classes).astype(np.float64)
    summed = (weights.astype(np.float64) @ margins).reshape(-1, 3, classes)
    hits, labelled, predicted = summed[:, 0], summed[:, 1], summed[:, 2]
    return {
        "miou": nan_mean(ratio(hits, labelled + predicted - hits)),
        "mean_accuracy": nan_mean(ratio(hits, labelled)),
        "pixel_accuracy": ratio(hits.sum(1), labelled.sum(1)),
    }


def resampled_histograms(
    histograms: ArrayLike, weights: NDArray[np.int64], tied: NDArray[np.bool_] | None = None
) -> dict[str, Floats]:
    """Anomaly metrics of every bootstrap sample.

    Args:
        histograms: (n, 2, bins) counts of each image, negatives first, scores ascending.
        weights: (B, n) from ``resampling_weights``.
        tied: (bins,) bool, the bins that hold one value only.

    Returns:
        ``auroc``, ``ap`` and ``fpr95``, each (B,); NaN for a sample without positives or negatives.
    """
    counts = np.asarray(histograms)
    summed = weights.astype(np.float64) @ counts.reshape(len(counts), -1).astype(np.float64)
    summed = summed.reshape(-1, 2, counts.shape[-1])
    # A few samples at a time, so that their arrays stay in the processor's cache.
    parts = [histogram_metrics(s[:, 1], s[:, 0], tied) for s in np.array_split(summed, 1 + len(summed) // 128)]
    return {name: np.concatenate(values) for name, values in zip(parts[0]._fields, zip(*parts))}


def resampled_calibration(bins: ArrayLike, losses: ArrayLike, weights: NDArray[np.int64]) -> dict[str, Floats]:
    """Calibration metrics of every bootstrap sample.

    Args:
        bins: (n, bins, 3) pixels, right ones and summed confidences of each image and bin of confidence.
        losses: (n, 2) NLL and Brier score of each image, summed over its pixels.
        weights: (B, n) from ``resampling_weights``.

    Returns:
        ``ece``, ``nll`` and ``brier``, each (B,).
    """
    sums = np.einsum("bn,nkc->bkc", weights, np.asarray(bins), optimize=True)
    pixels, totals = sums[..., 0].sum(1), weights @ np.asarray(losses)
    nll, brier = (ratio(total, pixels) for total in totals.T)
    return {"ece": expected_calibration_error(sums), "nll": nll, "brier": brier}


def resampled_contours(contours: ArrayLike, weights: NDArray[np.int64]) -> dict[str, Floats]:
    """Boundary metrics of every bootstrap sample.

    Args:
        contours: (n, C, 7) counts of each image, from ``BoundaryMeter.per_image``.
        weights: (B, n) from ``resampling_weights``.

    Returns:
        ``boundary_iou`` and ``boundary_f1``, each (B,).
    """
    counts = np.asarray(contours)
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    sums = (weights.astype(np.float64) @ flat).reshape(-1, *counts.shape[1:])
    return {
        "boundary_iou": nan_mean(boundary_iou(sums[..., :3])),
        "boundary_f1": nan_mean(boundary_f1(sums[..., 3:])),
    }


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
