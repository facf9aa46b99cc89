"""Pixel-wise anomaly metrics, exact over a whole split: AUROC, average precision, FPR at 95 % TPR, best F1.

Positive is anomalous (label 1), negative in-distribution (label 0); a higher score is more anomalous. All
four numbers depend on the negatives only through how many of them lie between, and on, the distinct scores of
the positives. So a first pass collects the positives' scores, a second counts negatives against them, and the
result is that of sorting every pixel of the split, for memory that grows with the positives alone. Counts
add, hence shards and ranks merge without loss. Scores are compared as the float32 numbers they are: never
squashed, halved or binned.

Definitions, with thresholds at the distinct scores and "score >= threshold" predicted anomalous:

- AUROC: probability that a positive outranks a negative, ties one half.
- AP: sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation, as scikit-learn's
  ``average_precision_score``.
- FPR95: false-positive rate at the highest threshold with a recall of at least 0.95, as ``roc_curve`` gives it
  with ``drop_intermediate=False`` (by default it drops points of the curve, and this one may be among them).
- best F1: the maximum over thresholds, an oracle number because it looks at the labels.

The last part of the module keeps, per image, a histogram of the scores over bins common to the split, so that
bootstrap intervals need neither pixels nor a second inference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.scoring.metrics.images import VOID, ImageIds, NonFiniteScore, as_numpy

if TYPE_CHECKING:
    from torch import Tensor

BINS = 128
"""Upper bound on the bins of a score histogram."""

NEGATIVES_SAMPLED = 1024
"""Negatives of an image that help to place the bins' edges; exact metrics do not depend on them."""

_CHUNK = 1 << 20
_LEVEL_BLOCK = 1 << 19
_COMPACT_AT = 1 << 21
_PENDING_PER_LEVEL = 4
"""Negatives that wait for each level before they are counted together: a level is looked up once for all of them."""

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]


class UndefinedMetric(ValueError):
    """A ranking metric of a split without positives or without negatives."""


@dataclass(frozen=True)
class ScoreLevels:
    """What pass 1 leaves: where negatives have to be counted.

    Attributes:
        scores: (m,) float32, the distinct scores of the positives, ascending.
        counts: (m,) int64, positives at each.
        bin_edges: (bins - 1,) float32, ascending, for ``ScoreHistogram``.
    """

    scores: Float32s
    counts: Int64s
    bin_edges: Float32s

    @property
    def positives(self) -> int:
        """Number of positive pixels."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class RankingResult:
    """Exact pixel metrics of a split; shares in [0, 1].

    ``best_f1_threshold`` is a positive's score, and pixels *at or above* it are predicted anomalous; of
    several thresholds with the same F1 it is the highest.
    """

    auroc: float
    ap: float
    fpr95: float
    best_f1: float
    best_f1_threshold: float
    prevalence: float
    positives: int
    negatives: int

    @property
    def best_f1_strict_threshold(self) -> float:
        """The float32 just below ``best_f1_threshold``: "score > this" predicts what reached the best F1."""
        return float(np.nextafter(np.float32(self.best_f1_threshold), np.float32(-np.inf)))


class HistogramMetrics(NamedTuple):
    """Metrics of each histogram, every field (...) float64; NaN where there is no positive or no negative."""

    auroc: Float64s
    ap: Float64s
    fpr95: Float64s


class PositiveScores:
    """Pass 1: the scores of all positives of the split."""

    def __init__(self) -> None:
        self._ids = ImageIds()
        self._pending: list[Float32s] = []
        self._pending_size = 0
        self._scores = np.empty(0, np.float32)
        self._counts = np.empty(0, np.int64)
        self._negatives: list[Float32s] = []

    def update(self, image_id: str, scores: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> None:
        """Collect one image.

        Args:
            image_id: names the image in errors; an image comes once.
            scores: (N,), or any shape, float32.
            labels: the same shape: 1 anomalous, 0 in-distribution; 255 (void) pixels are skipped.

        Raises:
            TypeError: scores that are not float32.
            NonFiniteScore: NaN or infinity at a valid pixel.
            DuplicateImage: the image was there before.
            ValueError: another label, or shapes that differ.
        """
        values, truth = _checked(image_id, scores, labels)
        self._ids.add(image_id)
        for chunk, chunk_truth in _chunks(values, truth):
            positives = chunk[chunk_truth == 1]
            self._pending.append(positives)
            self._pending_size += len(positives)
        # An odd step, or every sample of an image would come from the same few columns.
        step = len(values) // NEGATIVES_SAMPLED | 1
        self._negatives.append(values[::step][truth[::step] == 0])
        if self._pending_size > max(_COMPACT_AT, len(self._scores)):
            self._compact()

    def merge(self, other: PositiveScores) -> None:
        """Add another shard of the split; raises ``DuplicateImage`` where an image is in both."""
        self._ids.extend(other._ids)
        self._negatives += other._negatives
        self._compact()
        other._compact()
        self._scores, self._counts = _add_levels(self._scores, self._counts, other._scores, other._counts)

    def finish(self) -> ScoreLevels:
        """The levels for pass 2; every shard of pass 2 needs those of the whole, merged split."""
        self._compact()
        sample = np.sort(np.concatenate(self._negatives)) if self._negatives else np.empty(0, np.float32)
        return ScoreLevels(self._scores, self._counts, _bin_edges(self._scores, self._counts, sample))

    def _compact(self) -> None:
        if self._pending:
            levels = _distinct(np.concatenate(self._pending))
            self._scores, self._counts = _add_levels(self._scores, self._counts, *levels)
        self._pending, self._pending_size = [], 0


class NegativeCounts:
    """Pass 2: how many negatives lie strictly between two neighbouring levels, and how many on one.

    Extra memory is bounded by a constant, beside 16 bytes per level of state and as many of negatives that wait.
    ``histogram`` is filled on the way.
    """

    def __init__(self, levels: ScoreLevels) -> None:
        self.levels = levels
        self.histogram = ScoreHistogram(levels.bin_edges)
        self._between = np.zeros(len(levels.scores) + 1, np.int64)
        self._equal = np.zeros(len(levels.scores), np.int64)
        self._positives = 0
        self._pending: list[Float32s] = []
        self._pending_size = 0

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of ``histogram.counts``."""
        return self.histogram.ids

    def update(self, image_id: str, scores: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> None:
        """Count one image; arguments and errors of ``PositiveScores.update``, which saw the same images."""
        values, truth = _checked(image_id, scores, labels)
        binned = self.histogram.begin(image_id)
        for chunk, chunk_truth in _chunks(values, truth):
            negatives, positives = np.sort(chunk[chunk_truth == 0]), np.sort(chunk[chunk_truth == 1])
            self._pending.append(negatives)
            self._pending_size += len(negatives)
            if self._pending_size >= _PENDING_PER_LEVEL * len(self.levels.scores):
                self._count_pending()
            self._positives += len(positives)
            binned[0] += _bin_counts(negatives, self.histogram.edges)
            binned[1] += _bin_counts(positives, self.histogram.edges)

    def merge(self, other: NegativeCounts) -> None:
        """Add another shard; raises ``ValueError`` where levels differ or an image is in both."""
        if not (
            np.array_equal(self.levels.scores, other.levels.scores)
            and np.array_equal(self.levels.counts, other.levels.counts)
        ):
            raise ValueError("shards counted negatives against different levels; merge pass 1 before pass 2")
        self.histogram.merge(other.histogram)
        self._count_pending()
        other._count_pending()
        self._between += other._between
        self._equal += other._equal
        self._positives += other._positives

    def result(self) -> RankingResult:
        """The metrics of the split.

        Raises:
            UndefinedMetric: no positives or no negatives.
            ValueError: the two passes saw different numbers of positives, so not the same images.
        """
        if self._positives != self.levels.positives:
            raise ValueError(
                f"pass 1 saw {self.levels.positives} anomalous pixels and pass 2 {self._positives}; "
                "both must see the same images"
            )
        self._count_pending()
        return ranking_from_counts(self.levels.scores, self.levels.counts, self._between, self._equal)

    def _count_pending(self) -> None:
        if len(self._pending) > 1:
            self._pending = [np.sort(np.concatenate(self._pending))]
        for negatives in self._pending:
            self._count(negatives)
        self._pending, self._pending_size = [], 0

    def _count(self, negatives: Float32s) -> None:
        """Add sorted negatives. Sorted queries keep a binary search in cache; the shorter side queries."""
        levels = self.levels.scores
        if len(negatives) < len(levels):
            left = np.searchsorted(levels, negatives, "left")
            on_level = _at(levels, left, negatives)
            np.add.at(self._equal, left[on_level], 1)
            np.add.at(self._between, left[~on_level], 1)
            return
        counted = 0
        for start in range(0, len(levels), _LEVEL_BLOCK):
            block = levels[start : start + _LEVEL_BLOCK]
            below = np.searchsorted(negatives, block, "left")
            up_to = below.copy()
            tied = np.flatnonzero(_at(negatives, below, block))
            up_to[tied] = np.searchsorted(negatives, block[tied], "right")
            stop = start + len(block)
            self._equal[start:stop] += up_to - below
            self._between[start:stop] += below
            self._between[start + 1 : stop] -= up_to[:-1]
            self._between[start] -= counted
            counted = int(up_to[-1])
        self._between[-1] += len(negatives) - counted


def ranking_metrics(scores: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> RankingResult:
    """Both passes over scores that are at hand; arguments and errors of ``PositiveScores.update``."""
    first = PositiveScores()
    first.update("scores", scores, labels)
    second = NegativeCounts(first.finish())
    second.update("scores", scores, labels)
    return second.result()


def ranking_from_counts(thresholds: Float32s, positives: Int64s, between: Int64s, equal: Int64s) -> RankingResult:
    """Metrics from counts around the positives' m distinct scores.

    Args:
        thresholds: (m,) float32, ascending.
        positives: (m,) int64, positives at each, > 0.
        between: (m + 1,) int64, negatives strictly below the first, between two, ..., above the last.
        equal: (m,) int64, negatives at each.

    Raises:
        UndefinedMetric: no positives or no negatives.
    """
    total_positives, total_negatives = int(positives.sum()), int(between.sum() + equal.sum())
    if total_positives == 0:
        raise UndefinedMetric(
            f"no anomalous pixel among {total_negatives} valid ones: AUROC, AP, FPR95 and F1 are undefined"
        )
    if total_negatives == 0:
        raise UndefinedMetric(
            f"no in-distribution pixel among {total_positives} valid ones: AUROC and FPR95 are undefined"
        )
    # From the highest threshold down, "score >= threshold" is positive.
    positives_here, equal_here = positives[::-1], equal[::-1]
    true_positives = np.cumsum(positives_here)
    false_positives = np.cumsum(equal_here + between[:0:-1])
    wins = (total_negatives - false_positives) + 0.5 * equal_here
    auroc = np.dot(positives_here.astype(np.float64), wins / total_negatives) / total_positives
    precision = true_positives / (true_positives + false_positives)
    ap = np.dot(positives_here.astype(np.float64), precision) / total_positives
    # Integers: 0.95 is no binary fraction, and recall may be exactly 0.95.
    first = int(np.argmax(20 * true_positives >= 19 * total_positives))
    f1 = 2 * true_positives / (true_positives + false_positives + total_positives)
    best = int(np.argmax(f1))
    return RankingResult(
        auroc=min(1.0, float(auroc)),
        ap=min(1.0, float(ap)),
        fpr95=float(false_positives[first] / total_negatives),
        best_f1=float(f1[best]),
        best_f1_threshold=float(thresholds[::-1][best]),
        prevalence=total_positives / (total_positives + total_negatives),
        positives=total_positives,
        negatives=total_negatives,
    )


class ScoreHistogram:
    """Per-image counts of positives and negatives in bins that all images share.

    Args:
        edges: (bins - 1,) float32, strictly ascending; bin i holds ``edges[i - 1] <= score < edges[i]``, and
            the outer bins are open. A bin between an edge and the next float32 holds one value: a tie.
    """

    def __init__(self, edges: Float32s) -> None:
        self.edges = np.asarray(edges, np.float32)
        if self.edges.ndim != 1 or not (np.diff(self.edges) > 0).all():
            raise ValueError("the edges of a score histogram are one strictly ascending row")
        self._ids = ImageIds()
        self._counts: list[NDArray[np.int32]] = []

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) + 1

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of ``counts``."""
        return list(self._ids)

    @property
    def counts(self) -> NDArray[np.int32]:
        """(n, 2, bins) int32; the second axis is the label: 0 negatives, 1 positives."""
        return np.stack(self._counts) if self._counts else np.zeros((0, 2, self.bins), np.int32)

    @property
    def tied(self) -> NDArray[np.bool_]:
        """(bins,) bool: which bins hold one value only."""
        return tied_bins(self.edges)

    def update(self, image_id: str, scores: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> None:
        """Count one image; arguments and errors of ``PositiveScores.update``."""
        values, truth = _checked(image_id, scores, labels)
        counts = self.begin(image_id)
        for chunk, chunk_truth in _chunks(values, truth):
            for label in (0, 1):
                counts[label] += _bin_counts(np.sort(chunk[chunk_truth == label]), self.edges)

    def begin(self, image_id: str) -> NDArray[np.int32]:
        """The zero counts of a new image, (2, bins), to be filled in; raises ``DuplicateImage``."""
        self._ids.add(image_id)
        self._counts.append(np.zeros((2, self.bins), np.int32))
        return self._counts[-1]

    def merge(self, other: ScoreHistogram) -> None:
        """Add another shard; raises ``ValueError`` where edges differ or an image is in both."""
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("score histograms with different edges cannot be merged")
        self._ids.extend(other._ids)
        self._counts += other._counts


def tied_bins(edges: Float32s) -> NDArray[np.bool_]:
    """Which of the bins between ``edges``, (bins - 1,) float32, hold one float32 value only: (bins,) bool."""
    tied = np.zeros(len(edges) + 1, np.bool_)
    tied[1:-1] = np.nextafter(edges[:-1], np.float32(np.inf)) == edges[1:]
    return tied


def histogram_metrics(
    positives: ArrayLike, negatives: ArrayLike, tied: NDArray[np.bool_] | None = None
) -> HistogramMetrics:
    """Metrics from score histograms, e.g. one per bootstrap sample of images.

    Inside a bin the positives are taken to be spread evenly among the negatives; inside a tied bin they are
    tied. So a histogram with all positives in tied bins gives the exact values; otherwise the error is one of
    interpolation, which the placement of the edges keeps small. On Gaussian, bimodal and heavy-tailed scores
    of a million pixels it was at most 2e-4 on AUROC, 6e-4 on AP and 3e-3 on FPR95; with scores rounded so
    that a level holds about half a bin, 3e-3 on AP.

    Args:
        positives: (..., bins) counts, from the lowest scores to the highest.
        negatives: (..., bins) counts.
        tied: (bins,) bool, which bins hold one value; none if None.
    """
    return cumulated_metrics(cumulated(np.stack([negatives, positives], axis=-2)), tied)


def cumulated(histogram: ArrayLike) -> Int64s:
    """What lies above a bin, from none above the highest to all: (..., 2, bins + 1) of counts (..., 2, bins)."""
    counts = np.asarray(histogram)[..., ::-1].cumsum(-1)
    return np.concatenate([np.zeros_like(counts[..., :1]), counts], axis=-1)


def cumulated_metrics(counts: ArrayLike, tied: NDArray[np.bool_] | None = None) -> HistogramMetrics:
    """``histogram_metrics`` of ``cumulated`` counts (..., 2, bins + 1), negatives first.

    The bootstrap asks for hundreds of millions of bins. It adds up what is cumulated already, and most of the
    arithmetic is in place, where arrays stay in the cache.
    """
    negatives, positives = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    tp_above, true_positives = positives[..., :-1], positives[..., 1:]
    fp_above, false_positives = negatives[..., :-1], negatives[..., 1:]
    total_p, total_n = positives[..., -1], negatives[..., -1]
    p = true_positives - tp_above

    with np.errstate(divide="ignore", invalid="ignore"):
        # A positive wins against the negatives below its bin and half of those in it.
        wins = false_positives + fp_above
        wins *= -0.5
        wins += total_n[..., None]
        wins *= p
        auroc = wins.sum(-1) / (total_p * total_n)
        # Positive k of a bin has (k - 1/2) n / p of the bin's negatives above it. The sum over k of its
        # precision is taken as the integral from 1/2 to p + 1/2, which has a closed form:
        # share + (tp_above + 1/2 - share * start) / size * log(1 + size / start).
        size = false_positives - fp_above
        size += p
        np.maximum(size, 1, out=size)  # an empty bin adds nothing
        start = tp_above + fp_above
        start += 0.5
        share = p / size
        precision = tp_above + 0.5
        precision -= share * start
        precision /= size
        # The plain logarithm takes half the time of log1p, and what it rounds adds at most 1e-16 a bin to AP.
        growth = np.divide(size, start, out=start)
        growth += 1
        precision *= np.log(growth, out=growth)
        precision += share
        if tied is not None and tied.any():
            here = np.flatnonzero(tied[::-1])
            together = true_positives[..., here]
            precision[..., here] = together / (together + false_positives[..., here]).clip(1)
        precision *= p
        ap = precision.sum(-1) / total_p
        # The positive at which recall reaches 0.95, and the negatives above it.
        needed = np.ceil(np.round(0.95 * total_p, 6))
        crossing = np.argmax(true_positives >= needed[..., None], axis=-1)[..., None]

        def there(values: Float64s) -> Float64s:
            return np.take_along_axis(values, crossing, -1)[..., 0]

        inside = (needed - there(tp_above) - 0.5) / there(p)
        if tied is not None:
            inside = np.where(tied[::-1][crossing[..., 0]], 1.0, inside)
        fpr95 = (there(fp_above) + inside * (there(false_positives) - there(fp_above))) / total_n
    undefined = (total_p == 0) | (total_n == 0)
    return HistogramMetrics(*(np.where(undefined, np.nan, values) for values in (auroc, ap, fpr95)))


def _bin_edges(levels: Float32s, counts: Int64s, negatives: Float32s) -> Float32s:
    """Edges for at most ``BINS`` bins, from the positives' levels and a sorted sample of negatives.

    AP needs resolution where recall grows, most of all at the top, where precision falls fastest; AUROC and
    FPR95 where the negatives are. A value that several quantiles hit is a tie and gets its own bin.
    """
    if 2 * len(levels) < BINS:
        alone = np.concatenate([levels, np.nextafter(levels, np.float32(np.inf))])
        return np.unique(alone)
    cumulated = np.cumsum(counts)
    below_top = 0.5 ** np.arange(1, 17)
    at_recall_95 = np.array([0.03, 0.04, 0.045, 0.05, 0.055, 0.06, 0.07])
    of_positives = np.concatenate([np.arange(64) / 64, 1 - below_top / 64, at_recall_95])
    places = np.searchsorted(cumulated, of_positives * cumulated[-1], "right")
    edges = [levels[np.minimum(places, len(levels) - 1)]]
    if len(negatives):
        of_negatives = np.concatenate([np.arange(1, 33) / 33, 1 - below_top[:14] / 33])
        edges.append(negatives[(of_negatives * len(negatives)).astype(np.int64)])
    found = np.sort(np.concatenate(edges))
    repeated = np.concatenate([[False], found[1:] == found[:-1]])
    return np.unique(np.where(repeated, np.nextafter(found, np.float32(np.inf)), found))


def _checked(
    image_id: str, scores: Tensor | ArrayLike, labels: Tensor | ArrayLike
) -> tuple[Float32s, NDArray[np.generic]]:
    """One image's scores and labels as rows, (N,) each, checked before any of it is counted."""
    values, truth = as_numpy(scores), as_numpy(labels)
    if values.dtype != np.float32:
        raise TypeError(f"image {image_id!r}: scores must be float32, not {values.dtype}")
    if values.shape != truth.shape:
        raise ValueError(f"image {image_id!r}: scores are {values.shape} but labels are {truth.shape}")
    values, truth = values.reshape(-1), truth.reshape(-1)
    for chunk, chunk_truth in _chunks(values, truth):
        known = chunk_truth == 0
        known |= chunk_truth == 1
        # The extremes carry NaN and infinity along, and need no array of flags.
        if not (np.isfinite(chunk.min()) and np.isfinite(chunk.max())) and not np.isfinite(chunk[known]).all():
            raise NonFiniteScore(image_id)
        if not known.all():
            odd = chunk_truth[~known & (chunk_truth != VOID)]
            if len(odd):
                raise ValueError(f"image {image_id!r}: label {odd[0]} is none of 0, 1 and {VOID}")
    return values, truth


def _chunks(values: Float32s, truth: NDArray[np.generic]) -> Iterator[tuple[Float32s, NDArray[np.generic]]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK], truth[start : start + _CHUNK]


def _at(ordered: Float32s, places: NDArray[np.intp], values: Float32s) -> NDArray[np.bool_]:
    """Whether ``values`` stand at the ``places`` of ``ordered``, (n,) with n > 0, where they would be inserted."""
    found: NDArray[np.bool_] = ordered[np.minimum(places, len(ordered) - 1)] == values
    return found


def _distinct(scores: Float32s) -> tuple[Float32s, Int64s]:
    """Distinct scores, ascending, and how often each occurs."""
    ordered = np.sort(scores)
    starts = np.flatnonzero(np.concatenate([np.ones(len(ordered[:1]), np.bool_), ordered[1:] != ordered[:-1]]))
    # Adding zero turns -0.0 into 0.0, so that the sign of a zero level never depends on the order of images.
    return ordered[starts] + np.float32(0), np.diff(starts, append=len(ordered))


def _add_levels(scores: Float32s, counts: Int64s, more: Float32s, more_counts: Int64s) -> tuple[Float32s, Int64s]:
    """Two ascending rows of distinct scores and their counts as one."""
    if not len(scores) or not len(more):
        return (more, more_counts) if len(more) else (scores, counts)
    every = np.concatenate([scores, more])
    order = np.argsort(every, kind="stable")
    every = every[order]
    starts = np.flatnonzero(np.concatenate([[True], every[1:] != every[:-1]]))
    return every[starts], np.add.reduceat(np.concatenate([counts, more_counts])[order], starts)


def _bin_counts(ordered: Float32s, edges: Float32s) -> Int64s:
    """Counts of sorted scores in the bins, (bins,)."""
    below = np.searchsorted(ordered, edges, "left")
    return np.diff(np.concatenate([[0], below, [len(ordered)]]))
