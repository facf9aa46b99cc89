"""The hierarchical bootstrap against brute force, closed forms and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from bench.report.comparing import bootstrap
from bench.report.comparing.bootstrap import Estimate
from bench.report.leaderboard import resampling, statistics
from bench.scoring.metrics import confusion
from bench.scoring.protocols import ClosedSet

TRIALS = 600
ALLOWED = 3 * math.sqrt(0.05 * 0.95 / TRIALS)
"""Three binomial standard errors of the share of trials that an interval at 95 % covers."""


def differences(rng, *, seeds, images, of_images, of_seeds, of_both):
    """(images, seeds): of true mean zero, with standard deviations of each level."""
    shared = rng.normal(0, of_images, (images, 1)) if of_images else 0
    runs = rng.normal(0, of_seeds, (1, seeds)) if of_seeds else 0
    return shared + runs + rng.normal(0, of_both, (images, seeds))


def estimate(found, weights):
    return Estimate.of(found.mean(0), weights @ found / len(found), len(found))


def covered(rng, weights, **levels):
    found = [estimate(differences(rng, images=weights.shape[1], **levels), weights) for _ in range(TRIALS)]
    return np.mean([e.low <= 0 <= e.high for e in found])


@pytest.fixture(scope="module")
def weights():
    return statistics.resampling_weights([str(i) for i in range(20)], 300).astype(float)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 0.3, 2.0])
def test_an_interval_covers_the_truth_whichever_level_varies_most(weights, seeds, of_seeds):
    rng = np.random.default_rng(seeds)
    assert covered(rng, weights, seeds=seeds, of_images=1.0, of_seeds=of_seeds, of_both=0.3) > 0.95 - ALLOWED


def test_an_interval_of_a_difference_of_mious_covers_the_truth():
    # Two methods that err alike, on images that differ in how hard they are and what they show.
    rng, hits, trials = np.random.default_rng(0), 0, 200
    ids = np.array([f"{i:02d}" for i in range(30)])
    for _ in range(trials):
        shown = rng.integers(0, 400, (30, 4))
        hard = rng.normal(0, 0.1, (30, 1))
        runs = []
        for _ in range(6):
            wrong = rng.binomial(shown, np.clip(0.3 + hard + rng.normal(0, 0.02) + rng.normal(0, 0.05, (30, 4)), 0, 1))
            matrices = np.einsum("nc,cd->ncd", shown - wrong, np.eye(4, dtype=int))
            matrices[:, range(4), [1, 2, 3, 0]] = wrong
            runs.append(resampling.in_order(ids, {"confusion": matrices}, {}, ClosedSet))
        samples = [resampling.resampled(ClosedSet, images, 200)["miou"][1:] for images in runs]
        values = np.array([float(ClosedSet.metrics({"margins": r.counts["margins"].sum(0)})["miou"]) for r in runs])
        found = Estimate.of(values[:3] - values[3:], np.stack(samples[:3], 1) - np.stack(samples[3:], 1), 30)
        hits += found.low <= 0 <= found.high
    assert hits / trials > 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)


def test_an_interval_is_no_wider_than_it_must_be_where_one_level_dominates(weights):
    rng = np.random.default_rng(0)
    images, seeds = (
        {"of_images": 1.0, "of_seeds": 0.0, "of_both": 0.0},
        {"of_images": 0.0, "of_seeds": 2.0, "of_both": 0.01},
    )
    for levels in (images, seeds):
        assert covered(rng, weights, seeds=3, **levels) < 0.95 + ALLOWED


def test_percentiles_of_drawn_seeds_would_cover_too_little(weights):
    # Why the interval is not that of the textbook: three seeds drawn from three.
    rng, hits = np.random.default_rng(0), 0
    for _ in range(TRIALS):
        found = differences(rng, images=20, seeds=3, of_images=0.1, of_seeds=1.0, of_both=0.1)
        drawn = rng.multinomial(3, [1 / 3] * 3, len(weights)) / 3
        low, high = np.quantile(((weights @ found / 20) * drawn).sum(1), [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits / TRIALS < 0.85


def test_images_drawn_for_each_seed_would_cover_too_little(weights):
    # Why all seeds of a resample see the same images: the choice of images does not average out over seeds.
    rng, hits = np.random.default_rng(0), 0
    for _ in range(TRIALS):
        found = differences(rng, images=20, seeds=5, of_images=1.0, of_seeds=0.1, of_both=0.1)
        apart = np.stack([weights[rng.permutation(len(weights))] @ found[:, s] / 20 for s in range(5)], 1)
        low, high = np.quantile(apart.mean(1), [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits / TRIALS < 0.85


def test_mious_of_resamples_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (12, 3, 3))
    ids = np.array([f"i{i}" for i in rng.permutation(12)])
    images = resampling.in_order(ids, {"confusion": counts}, {}, ClosedSet)
    assert list(images.ids) == sorted(ids.tolist())
    found = resampling.resampled(ClosedSet, images, 20)["miou"][1:]
    drawn = statistics.resampling_weights(images.ids, 20)
    for b, weight in enumerate(drawn):
        total = sum(w * counts[ids.tolist().index(name)] for w, name in zip(weight, images.ids, strict=True))
        assert found[b] == pytest.approx(float(confusion.mean_iou(total)))


def test_seeds_alone_give_students_interval_and_p():
    values = np.array([0.02, 0.03, 0.025, 0.018])
    found = Estimate.of(values)
    expected = reference.ttest_1samp(values, 0)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval())
    assert found.p() == pytest.approx(expected.pvalue)
    assert found.p(null=0.01) == pytest.approx(reference.ttest_1samp(values, 0.01).pvalue)


def test_images_alone_give_their_standard_error():
    rng = np.random.default_rng(0)
    per_image = rng.normal(0.5, 1, (50, 1))
    drawn = statistics.resampling_weights([str(i) for i in range(50)], 20_000)
    found = Estimate.of(per_image.mean(0), drawn @ per_image / 50, 50)
    assert found.error_images == pytest.approx(per_image.std(ddof=1) / math.sqrt(50), rel=0.02)
    assert found.error_seeds == 0


def test_p_is_the_level_at_which_the_interval_ends_at_zero():
    found = Estimate(value=0.03, seeds=3, images=40, error_seeds=0.004, error_images=0.01)
    p = found.p()
    assert found.half_width(p) == pytest.approx(0.03)
    assert (p < 0.05) == (found.low > 0)


def test_no_difference_is_none_and_a_difference_without_any_spread_is_certain():
    assert Estimate(0.0, 3, 40, 0.0, 0.0).p() == 1
    assert Estimate(0.1, 3, 40, 0.0, 0.0).p() == bootstrap.SMALLEST_P


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Estimate(0.5, 3, 40, 0.01, 0.01), ""),
        (Estimate(0.5, 1, 40, 0.0, 0.01), "one seed"),
        (Estimate(0.5, 3, 5, 0.01, 0.01), "only 5 images"),
        (Estimate(0.5, 3, 0, 0.01, 0.0), "no counts of single images"),
        (Estimate(0.01, 3, 40, 0.001, 0.01), "needs about 210 images"),
        (Estimate(0.0, 3, 40, 0.01, 0.01), "needs over 100 seeds"),
    ],
)
def test_what_cannot_be_told_says_why(found, why):
    assert found.why_undecided() == why


def test_the_seeds_that_would_do_are_the_fewest():
    found = Estimate(0.02, 3, 400, 0.01, 0.001)
    (seeds,) = [int(word) for word in found.why_undecided().split() if word.isdigit()]
    assert found.half_width(seeds=seeds) < 0.02 <= found.half_width(seeds=seeds - 1)


def test_a_metric_that_few_resamples_define_rests_on_seeds_alone():
    samples = np.full((100, 3), np.nan)
    samples[:80] = 0.5
    assert Estimate.of(np.array([0.4, 0.5, 0.6]), samples, 20).images == 0


def test_one_image_decides_nothing():
    found = Estimate.of(np.array([0.4, 0.5]), np.full((100, 2), [0.4, 0.5]), 1)
    assert (found.images, found.error_images) == (1, pytest.approx(0))
    assert found.why_undecided() == "only 1 image"
