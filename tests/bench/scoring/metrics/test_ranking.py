"""Exact ranking metrics against scikit-learn and the definitions, and what must not change them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from bench.scoring.metrics import ranking
from bench.scoring.metrics.images import DuplicateImage
from bench.scoring.metrics.ranking import (
    NegativeCounts,
    NonFiniteScore,
    PositiveScores,
    ScoreHistogram,
    UndefinedMetric,
    histogram_metrics,
    ranking_metrics,
)


def scikit_learn(scores, labels):
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return (
        roc_auc_score(labels, scores),
        average_precision_score(labels, scores),
        fpr[np.argmax(tpr >= 0.95)],
        f1.max(),
    )


def numbers(result):
    return result.auroc, result.ap, result.fpr95, result.best_f1


def brute_force(scores, labels):
    """AUROC from all pairs, the others from all thresholds, as the definitions read."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = [(p > n) + 0.5 * (p == n) for p, n in itertools.product(positives, negatives)]
    ap, fpr95, best, recall_before = 0.0, None, 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        tp, fp = (positives >= threshold).sum(), (negatives >= threshold).sum()
        recall, precision = tp / len(positives), tp / (tp + fp)
        ap += (recall - recall_before) * precision
        recall_before = recall
        if fpr95 is None and recall >= 0.95:
            fpr95 = fp / len(negatives)
        best = max(best, 2 * tp / (tp + fp + len(positives)))
    return sum(wins) / len(wins), ap, fpr95, best


def split(count, separation=1.5, ties=None, size=2000, prevalence=0.05, rng=None):
    """A split of ``count`` images: name -> (scores, labels)."""
    rng = rng or np.random.default_rng(0)
    found = {}
    for i in range(count):
        labels = (rng.random(size) < prevalence * (i + 1) / count).astype(np.uint8)
        scores = rng.standard_normal(size) + float(separation) * labels
        if ties:
            scores = np.round(scores * ties) / ties
        found[f"image {i}"] = scores.astype(np.float32), labels
    return found


def pooled(images):
    return tuple(np.concatenate(parts) for parts in zip(*images.values(), strict=True))


def first_pass(images):
    positives = PositiveScores()
    for name, (scores, labels) in images.items():
        positives.update(name, scores, labels)
    return positives


def second_pass(images, levels):
    negatives = NegativeCounts(levels)
    for name, (scores, labels) in images.items():
        negatives.update(name, scores, labels)
    return negatives


def both_passes(images):
    return second_pass(images, first_pass(images).finish())


@pytest.mark.parametrize("ties", [None, 0.5, 3, 50])
@pytest.mark.parametrize("prevalence", [0.01, 0.4, 0.95])
def test_agrees_with_scikit_learn(ties, prevalence):
    scores, labels = pooled(split(3, ties=ties, prevalence=prevalence))
    result = ranking_metrics(scores, labels)
    np.testing.assert_allclose(numbers(result), scikit_learn(scores, labels), rtol=0, atol=1e-12)
    assert result.prevalence == pytest.approx(labels.mean(), abs=1e-15)
    assert (result.positives, result.negatives) == (labels.sum(), (labels == 0).sum())


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_raw_scores_of_any_range(scale):
    scores, labels = pooled(split(2, ties=20))
    scores = scores * np.float32(scale) - np.float32(3 * scale)
    reference = scikit_learn(scores.astype(np.float64), labels)
    np.testing.assert_allclose(numbers(ranking_metrics(scores, labels)), reference, rtol=0, atol=1e-12)


def test_scores_that_half_precision_would_merge():
    labels = np.array([0, 0, 1, 1], np.uint8)
    scores = np.float32([4000.0, 4000.25, 4000.5, 4000.75])
    assert ranking_metrics(scores, labels).auroc == 1


small = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda pixels: 0 < sum(label for _, label in pixels) < len(pixels)
)


@settings(max_examples=100, deadline=None)
@given(small)
def test_agrees_with_the_definitions(pixels):
    scores = np.float32([score for score, _ in pixels])
    labels = np.array([label for _, label in pixels], np.uint8)
    result = ranking_metrics(scores, labels)
    np.testing.assert_allclose(numbers(result), brute_force(scores, labels), rtol=0, atol=1e-12)
    assert all(0 <= number <= 1 for number in numbers(result))
    at_best = scores >= result.best_f1_threshold
    assert f1_score(labels, at_best) == pytest.approx(result.best_f1, abs=1e-12)
    assert ((scores > result.best_f1_strict_threshold) == at_best).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    transform=st.sampled_from([lambda x: x**3, lambda x: np.exp(x), lambda x: 5 * x - 1000, np.arctan]),
)
def test_strictly_monotone_transforms_change_nothing(seed, transform):
    rng = np.random.default_rng(seed)
    scores, labels = pooled(split(2, ties=8, size=200, rng=rng, prevalence=0.3))
    changed = transform(scores.astype(np.float64)).astype(np.float32)
    assert len(np.unique(changed)) == len(np.unique(scores))
    assert numbers(ranking_metrics(changed, labels)) == numbers(ranking_metrics(scores, labels))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 6), order=st.permutations(range(6)))
def test_shards_and_order_change_nothing(seed, cut, order):
    rng = np.random.default_rng(seed)
    images = split(6, ties=rng.choice([None, 4.0]), size=300, rng=rng)
    whole = both_passes(images)
    names = [f"image {i}" for i in order]
    shards = [{name: images[name] for name in part} for part in (names[:cut], names[cut:])]
    positives = first_pass(shards[0])
    positives.merge(first_pass(shards[1]))
    levels = positives.finish()
    for field in ("scores", "counts", "bin_edges"):
        np.testing.assert_array_equal(getattr(levels, field), getattr(whole.levels, field))
    negatives = second_pass(shards[0], levels)
    negatives.merge(second_pass(shards[1], levels))
    assert negatives.result() == whole.result()
    assert negatives.ids == names
    np.testing.assert_array_equal(negatives.histogram.counts[np.argsort(order)], whole.histogram.counts)


@pytest.mark.parametrize(
    ("chunk", "block", "compact", "pending"),
    [(64, 1 << 19, 1 << 21, 4), (700, 16, 50, 0), (1 << 20, 7, 1, 1), (50, 16, 50, 1000)],
)
def test_memory_bounds_change_nothing(monkeypatch, chunk, block, compact, pending):
    images = split(4, ties=30)
    expected = both_passes(images)
    monkeypatch.setattr(ranking, "_CHUNK", chunk)
    monkeypatch.setattr(ranking, "_LEVEL_BLOCK", block)
    monkeypatch.setattr(ranking, "_COMPACT_AT", compact)
    monkeypatch.setattr(ranking, "_PENDING_PER_LEVEL", pending)
    found = both_passes(images)
    assert found.result() == expected.result()
    np.testing.assert_array_equal(found.histogram.counts, expected.histogram.counts)


def test_void_content_changes_nothing():
    images = split(3)
    expected = both_passes(images)
    rng = np.random.default_rng(1)
    with_void = {}
    for name, (scores, labels) in images.items():
        hidden = np.float32([np.nan, np.inf, -np.inf, 1e30, 0])[rng.integers(0, 5, 500)]
        order = rng.permutation(len(scores) + 500)
        with_void[name] = (
            np.concatenate([scores, hidden])[order],
            np.concatenate([labels, np.full(500, 255, np.uint8)])[order],
        )
    assert both_passes(with_void).result() == expected.result()


@pytest.mark.parametrize("label_type", [np.uint8, np.int8, np.bool_, np.int64])
def test_label_types_and_tensors(label_type):
    scores, labels = pooled(split(2))
    expected = ranking_metrics(scores, labels)
    assert ranking_metrics(scores, labels.astype(label_type)) == expected
    maps = torch.from_numpy(scores).view(40, 100), torch.from_numpy(labels.astype(label_type)).view(40, 100)
    assert ranking_metrics(*maps) == expected


def test_signed_zeros_tie():
    scores, labels = np.float32([-0.0, 0.0, 0.0, -0.0]), np.array([1, 0, 1, 0])
    assert ranking_metrics(scores, labels).auroc == 0.5
    assert len(first_pass({"a": (scores, labels)}).finish().scores) == 1


def test_recall_of_exactly_95_percent_is_enough():
    scores = np.float32([*range(40, 20, -1), 21.5, 20.5])
    labels = np.array([1] * 20 + [0, 0])
    assert ranking_metrics(scores, labels).fpr95 == 0
    # Here 18 of the 20 lie above the first negative, which is too few.
    assert ranking_metrics(np.append(scores, np.float32(22.5)), np.append(labels, 0)).fpr95 == pytest.approx(1 / 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("label", [0, 1])
def test_non_finite_score_names_the_image(bad, label):
    images = split(2)
    levels = first_pass(images).finish()
    scores, labels = images["image 0"]
    scores = scores.copy()
    scores[np.flatnonzero(labels == label)[-1]] = bad
    for meter in (PositiveScores(), NegativeCounts(levels), ScoreHistogram(levels.bin_edges)):
        with pytest.raises(NonFiniteScore, match="'frame 7'"):
            meter.update("frame 7", scores, labels)


def test_failed_image_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(ranking, "_CHUNK", 100)
    images = split(2)
    expected = both_passes(images).result()
    positives, bad = PositiveScores(), images["image 0"][0].copy()
    bad[-1] = np.nan
    with pytest.raises(NonFiniteScore):
        positives.update("image 0", bad, images["image 0"][1])
    for name, image in images.items():
        positives.update(name, *image)
    negatives = NegativeCounts(positives.finish())
    with pytest.raises(NonFiniteScore):
        negatives.update("image 0", bad, images["image 0"][1])
    for name, image in images.items():
        negatives.update(name, *image)
        with pytest.raises(DuplicateImage):
            negatives.update(name, *image)
    assert negatives.result() == expected


def test_input_that_does_not_fit_is_an_error():
    labels = np.array([0, 1])
    with pytest.raises(TypeError, match="float32, not float16"):
        ranking_metrics(np.zeros(2, np.float16), labels)
    with pytest.raises(ValueError, match="label 254"):
        ranking_metrics(np.zeros(2, np.float32), np.array([0, 254]))
    with pytest.raises(ValueError, match="labels are"):
        ranking_metrics(np.zeros(3, np.float32), labels)


@pytest.mark.parametrize(("label", "missing"), [(0, "no anomalous pixel"), (1, "no in-distribution pixel")])
def test_one_sided_split_is_undefined(label, missing):
    with pytest.raises(UndefinedMetric, match=missing):
        ranking_metrics(np.float32([1, 2]), np.full(2, label))
    with pytest.raises(UndefinedMetric, match="no anomalous pixel among 0"):
        ranking_metrics(np.empty(0, np.float32), np.empty(0, np.uint8))


def test_passes_over_different_images_are_an_error():
    images = split(3)
    levels = first_pass(images).finish()
    del images["image 2"]
    with pytest.raises(ValueError, match="pass 1 saw"):
        second_pass(images, levels).result()


def test_shards_with_different_levels_do_not_merge():
    images = split(2)
    names = list(images)
    with pytest.raises(ValueError, match="merge pass 1"):
        both_passes({names[0]: images[names[0]]}).merge(both_passes({names[1]: images[names[1]]}))


def test_image_counts_once():
    images = split(2)
    positives = first_pass(images)
    with pytest.raises(DuplicateImage):
        positives.merge(first_pass(images))
    negatives = second_pass(images, positives.finish())
    with pytest.raises(DuplicateImage):
        negatives.merge(second_pass(images, positives.finish()))
    assert negatives.result() == both_passes(images).result()


@pytest.mark.parametrize("ties", [None, 3])
def test_histogram_counts_are_those_of_the_pixels(ties):
    images = split(3, ties=ties)
    negatives = both_passes(images)
    histogram = negatives.histogram
    assert histogram.bins <= ranking.BINS
    assert histogram.counts.dtype == np.int32
    edges = [-np.inf, *histogram.edges, np.inf]
    for counts, (scores, labels) in zip(histogram.counts, images.values(), strict=True):
        for label in (0, 1):
            expected = [
                ((scores >= low) & (scores < high) & (labels == label)).sum() for low, high in itertools.pairwise(edges)
            ]
            assert counts[label].tolist() == expected
    alone = ScoreHistogram(histogram.edges)
    for name, (scores, labels) in images.items():
        alone.update(name, scores, labels)
    np.testing.assert_array_equal(alone.counts, histogram.counts)


def test_histogram_of_few_levels_is_exact():
    negatives = both_passes(split(4, ties=4))
    result, counts = negatives.result(), negatives.histogram.counts.sum(0)
    found = histogram_metrics(counts[1], counts[0], negatives.histogram.tied)
    np.testing.assert_allclose(found, (result.auroc, result.ap, result.fpr95), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("separation", "prevalence"), [(0, 0.05), (1, 0.05), (2, 0.02), (3, 0.02), (4, 0.3), (-1, 0.05)]
)
@pytest.mark.parametrize("ties", [None, 60])
def test_histogram_is_close_to_exact(separation, prevalence, ties):
    rng = np.random.default_rng(3)
    images = split(20, separation, ties, size=20_000, prevalence=prevalence, rng=rng)
    negatives = both_passes(images)
    # A bootstrap sample of images: the bins stay, the counts change.
    chosen = rng.integers(0, 20, 20)
    counts = negatives.histogram.counts[[np.arange(20), chosen]].sum(1)
    found = histogram_metrics(counts[:, 1], counts[:, 0], negatives.histogram.tied)
    again = {f"{i} {name}": images[name] for i, name in enumerate(np.array(list(images))[chosen])}
    for row, result in enumerate((negatives.result(), both_passes(again).result())):
        assert found.auroc[row] == pytest.approx(result.auroc, abs=1e-3)
        assert found.ap[row] == pytest.approx(result.ap, abs=4e-3 if ties else 1e-3)
        assert found.fpr95[row] == pytest.approx(result.fpr95, abs=1e-2)


def test_histogram_metrics_take_many_at_once():
    counts = both_passes(split(5)).histogram.counts
    many = histogram_metrics(counts[:, 1], counts[:, 0])
    assert many.ap.shape == (5,)
    for i in range(5):
        np.testing.assert_array_equal([m[i] for m in many], histogram_metrics(counts[i, 1], counts[i, 0]))


def test_histogram_without_positives_is_nan(recwarn):
    assert np.isnan(histogram_metrics(np.zeros((2, 3)), np.ones((2, 3)))).all()
    assert np.isnan(histogram_metrics(np.ones((2, 3)), np.zeros((2, 3)))).all()
    assert not recwarn.list


def test_histograms_with_different_edges_do_not_merge():
    with pytest.raises(ValueError, match="different edges"):
        ScoreHistogram(np.float32([0, 1])).merge(ScoreHistogram(np.float32([0, 2])))
    with pytest.raises(ValueError, match="ascending"):
        ScoreHistogram(np.float32([1, 0]))
    empty = ScoreHistogram(np.float32([0, 1]))
    assert empty.counts.shape == (0, 2, 3)
