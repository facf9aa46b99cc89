"""Spread and significance against definitions, textbook examples and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import average_precision_score, roc_auc_score

from bench.report.leaderboard import statistics as stats
from bench.scoring.metrics import confusion
from bench.scoring.metrics.boundary import BoundaryMeter
from bench.scoring.metrics.calibration import CalibrationMeter
from bench.scoring.metrics.ranking import histogram_metrics
from bench.scoring.protocols import Boundary, Calibration, ClosedSet


def resampled(protocol, weights, **counts):
    """A protocol's numbers of every bootstrap sample."""
    return protocol.metrics(stats.resampled(protocol.condensed(counts), weights))


def test_std_is_that_of_a_sample():
    mean, std = stats.mean_and_std([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert std == pytest.approx(np.std([1, 2, 4], ddof=1))


def test_one_value_has_no_spread_and_equal_values_have_none_at_all():
    assert stats.mean_and_std([0.4]) == (0.4, None)
    assert stats.mean_and_std([0.4, 0.4, 0.4]) == (0.4, 0.0)


def test_holm_textbook_example():
    # Four hypotheses at 0.05: the smallest p times 4, the next times 3, ...; order kept, monotone.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_same_images_are_resampled_for_every_row():
    ids = [f"i{i}" for i in range(12)]
    first, again = stats.resampling_weights(ids, 50), stats.resampling_weights(ids, 50)
    assert np.array_equal(first, again)
    assert (first.sum(1) == len(ids)).all()
    assert not np.array_equal(first, stats.resampling_weights([*ids[1:], "other"], 50))


def test_images_are_drawn_with_replacement_and_as_often_as_each_other():
    weights = stats.resampling_weights([str(i) for i in range(10)], 40_000)
    shares = np.stack([(weights == times).mean(0) for times in range(6)])
    assert shares == pytest.approx(np.tile(binom.pmf(range(6), 10, 0.1)[:, None], 10), abs=0.01)
    assert np.cov(weights.T)[~np.eye(10, dtype=bool)] == pytest.approx(np.full(90, -0.1), abs=0.02)


@pytest.mark.parametrize("columns", [3, 4])
def test_resampled_confusion_is_brute_force(columns):
    counts = np.random.default_rng(0).integers(0, 5, size=(6, 3, columns))
    counts[1:, 2] = 0
    counts[1:, :, 2] = 0  # a class that most samples lack
    weights = stats.resampling_weights([str(i) for i in range(6)], 20)
    found = resampled(ClosedSet, weights, confusion=counts)
    for b, weight in enumerate(weights):
        total = sum(n * image for n, image in zip(weight, counts, strict=True))
        assert found["miou"][b] == pytest.approx(float(confusion.mean_iou(total)))
        assert found["mean_accuracy"][b] == pytest.approx(float(confusion.mean_accuracy(total)))
        assert found["pixel_accuracy"][b] == pytest.approx(np.trace(total) / total.sum())


def test_resampled_calibration_is_brute_force():
    meter, images = CalibrationMeter(), []
    for i in range(7):
        generator = torch.Generator().manual_seed(i)
        posterior = (3 * torch.randn(4, 5, 6, generator=generator)).softmax(0)
        images.append((posterior, torch.randint(0, 5, (5, 6), generator=generator)))
        meter.update(str(i), *images[-1])
    weights = stats.resampling_weights(meter.ids, 10)
    found = resampled(Calibration, weights, bins=meter.bin_sums, losses=meter.losses)
    for b, weight in enumerate(weights.astype(int)):
        drawn = CalibrationMeter()
        for i, times in enumerate(weight):
            for copy in range(times):
                drawn.update(f"{i}-{copy}", *images[i])
        expected = drawn.result()
        for name in ("ece", "nll", "brier"):
            assert found[name][b] == pytest.approx(getattr(expected, name))


def test_resampled_contours_are_brute_force():
    meter, images = BoundaryMeter(4), []
    for i in range(6):
        rng = np.random.default_rng(i)
        images.append(rng.integers(0, 3 + (i == 0), (2, 9, 12)))  # most samples lack the last class
        meter.update(str(i), *images[-1])
    weights = stats.resampling_weights(meter.ids, 10)
    found = resampled(Boundary, weights, contours=meter.per_image)
    for b, weight in enumerate(weights.astype(int)):
        drawn = BoundaryMeter(4)
        for i, times in enumerate(weight):
            for copy in range(times):
                drawn.update(f"{i}-{copy}", *images[i])
        assert found["boundary_iou"][b] == pytest.approx(np.nanmean(drawn.iou))
        assert found["boundary_f1"][b] == pytest.approx(np.nanmean(drawn.f1))


def test_resampled_histograms_are_brute_force():
    rng = np.random.default_rng(1)
    scores = [(rng.integers(0, 4, 30), rng.integers(2, 6, 5)) for _ in range(8)]  # negatives, positives
    histograms = np.array([[np.bincount(s, minlength=6) for s in image] for image in scores])
    weights = stats.resampling_weights([str(i) for i in range(8)], 10)
    sums = stats.resampled({"histogram": histograms}, weights)["histogram"]
    found = histogram_metrics(sums[:, 1], sums[:, 0], np.ones(6, bool))._asdict()
    for b, weight in enumerate(weights.astype(int)):
        negatives = np.concatenate([np.tile(s[0], n) for n, s in zip(weight, scores, strict=True)])
        positives = np.concatenate([np.tile(s[1], n) for n, s in zip(weight, scores, strict=True)])
        truth = np.r_[np.zeros(len(negatives)), np.ones(len(positives))]
        values = np.r_[negatives, positives]
        assert found["auroc"][b] == pytest.approx(roc_auc_score(truth, values))
        assert found["ap"][b] == pytest.approx(average_precision_score(truth, values))


def test_paired_bootstrap_is_brute_force():
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.5, 1, 200), rng.normal(0, 1, 200)
    found = stats.paired_bootstrap(first, second)
    assert found is not None
    assert found == tuple(np.quantile(first - second, [0.025, 0.975]))


def test_paired_bootstrap_of_equal_or_undefined_rows():
    ones = np.ones(100)
    assert stats.paired_bootstrap(ones, ones) == (0, 0)
    assert stats.paired_bootstrap(ones, np.full(100, np.nan)) is None
    mostly = np.where(np.arange(100) < 20, np.nan, 1.0)
    assert stats.paired_bootstrap(ones, mostly) is None


def deviations(rng, rows, resamples, shift):
    """Differences of the data, then of bootstrap samples, of rows with errors of different size."""
    errors = rng.uniform(0.5, 2, size=(rows, 1))
    observed = errors * (shift + rng.normal(size=(rows, 1)))
    return np.hstack([observed, observed + errors * rng.normal(size=(rows, resamples))])


def test_step_down_is_brute_force():
    found = deviations(np.random.default_rng(5), 6, 99, 1.5)
    errors = found[:, 1:].std(1)
    clearness = np.abs(found[:, 0]) / errors
    previous, expected = 0.0, {}
    for row in sorted(range(6), key=lambda r: -clearness[r]):
        rest = [r for r in range(6) if clearness[r] <= clearness[row]]
        exceeded = sum(
            max(abs(found[r, b] - found[r, 0]) / errors[r] for r in rest) >= clearness[row] for b in range(1, 100)
        )
        expected[row] = previous = max(previous, (1 + exceeded) / 100)
    assert stats.step_down(found) == pytest.approx([expected[row] for row in range(6)])
    assert 0.01 < min(expected.values()) < max(expected.values()) < 1


def test_step_down_of_no_certain_and_undefined_differences():
    samples = np.random.default_rng(6).normal(size=100)
    none, certain, clear = np.zeros(101), np.ones(101), np.r_[9.0, 9 + samples]
    clear[5] = np.nan
    assert stats.step_down(np.stack([none, certain, clear])) == pytest.approx([1, 1 / 101, 1 / 101])
    assert stats.step_down(np.array([])) == []


def test_step_down_can_decide_among_many_rows():
    # The smallest p value of 1000 samples, 2/1001, times 59 is above 0.05: a correction of single p values cannot.
    found = deviations(np.random.default_rng(7), 59, 1000, 0)
    found[:50] += 8 * found[:50, 1:].std(1, keepdims=True)
    adjusted = np.array(stats.step_down(found))
    assert (adjusted[:50] < 0.05).all()


def test_step_down_errs_about_as_often_as_it_says_in_the_whole_family():
    rng = np.random.default_rng(8)
    wrong = sum(min(stats.step_down(deviations(rng, 20, 300, 0))) < 0.05 for _ in range(300))
    assert 0.02 < wrong / 300 < 0.09


def test_bootstrap_pairs_images():
    # The difference is small beside the spread between images but the same on every image: pairing sees it.
    base = np.random.default_rng(3).integers(200, 800, size=40)
    ids = [str(i) for i in range(40)]
    weights = np.concatenate([np.ones((1, 40), np.int64), stats.resampling_weights(ids, 500)])

    def counts(right):
        return np.stack([np.stack([right, 1000 - right], -1), np.stack([1000 - right, right], -1)], 1)

    better, worse = (resampled(ClosedSet, weights, confusion=counts(base + shift))["miou"] for shift in (5, 0))
    found = stats.paired_bootstrap(better[1:], worse[1:])
    assert found is not None
    assert found.low > 0
    assert max(stats.step_down((better - worse)[None])) < 0.01
    assert better.std() > 4 * (better - worse).mean()


def test_intervals_and_p_values_err_about_as_often_as_they_say():
    rng = np.random.default_rng(4)
    trials, images = 300, 60
    weights = stats.resampling_weights([str(i) for i in range(images)], 400)
    outside = rejected = 0
    for _ in range(trials):
        first, second = rng.normal(size=(2, images))
        found = stats.paired_bootstrap(weights @ first / images, weights @ second / images)
        assert found is not None
        outside += not found.low <= 0 <= found.high
        difference = first - second
        (p,) = stats.step_down(np.r_[difference.mean(), weights @ difference / images][None])
        rejected += p < 0.05
    assert 0.02 < outside / trials < 0.10
    assert 0.02 < rejected / trials < 0.10


def test_wilcoxon_only_where_it_can_decide():
    first = {s: 0.5 + 0.01 * s for s in range(12)}
    second = {s: v - 0.02 - 0.001 * s for s, v in first.items()}
    few = {s: second[s] for s in range(5)}
    assert stats.wilcoxon_over_seeds(first, few, 1) is None
    six = {s: second[s] for s in range(6)}
    assert stats.wilcoxon_over_seeds(first, six, 1) == pytest.approx(2 / 2**6)
    # 2 / 2**6 times two comparisons can never be below 0.05.
    assert stats.wilcoxon_over_seeds(first, six, 2) is None
    assert stats.wilcoxon_over_seeds(first, second, 10) == pytest.approx(2 / 2**12)
    assert stats.wilcoxon_over_seeds(first, first, 1) == 1.0


def test_metrics_in_parts_are_those_of_all_samples_at_once(monkeypatch):
    sums = {"counts": np.random.default_rng(0).random((37, 5))}
    seen = []

    def metrics(counts):
        seen.append(len(counts["counts"]))
        return {"mean": counts["counts"].mean(-1) + counts["shared"]}

    whole = stats.in_parts(metrics, sums, {"shared": 1.0})
    monkeypatch.setattr(stats, "_CACHED", 40)
    np.testing.assert_array_equal(stats.in_parts(metrics, sums, {"shared": 1.0})["mean"], whole["mean"])
    assert seen == [37, 7, 7, 8, 7, 8]
