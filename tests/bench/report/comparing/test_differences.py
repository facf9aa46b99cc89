"""Differences against the ledger, brute force and what must hold by symmetry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from bench.common.errors import UserError
from bench.report.comparing import differences as comparing
from bench.report.comparing.samples import mean_over_targets
from bench.report.leaderboard import statistics
from bench.scoring.metrics import confusion
from bench.scoring.metrics.components import component_metrics
from tests.bench.report.comparing.conftest import IDS
from tests.bench.report.leaderboard.conftest import anomaly

CROSS = {"protocol": "cross-domain", "targets": ("toyscapes/night", "toyscapes/fog")}


def rows(results, a="gmmseg", b="softmax"):
    ((_, found),) = comparing.compared(results, a, b).found
    return {(row.target, row.metric.key): row for row in found}


@pytest.fixture
def runs(made):
    a = [made.scored("gmmseg", seed, 0.8 + 0.004 * seed) for seed in (0, 1, 2)]
    return a, [made.scored("softmax", seed, 0.75) for seed in (0, 1, 2, 3)]


def test_a_difference_is_that_of_the_means_over_common_seeds(results, runs):
    a, b = runs
    row = rows(results([*a, *b]))["test", "miou"]
    of = [np.mean([r.protocols["closed-set"].targets["test"].metrics["miou"] for r in side[:3]]) for side in runs]
    assert (row.a, row.b) == pytest.approx(of)
    assert row.estimate.value == pytest.approx(of[0] - of[1])
    assert (row.seeds_won, row.classes_won, row.targets_won) == ((3, 3), (3, 3), (1, 1))
    assert row.headline
    assert row.better == "a"


def test_the_error_of_the_images_is_that_of_a_plain_loop(results, made, runs):
    a, b = runs
    found = rows(results([*a, *b]))["test", "miou"].estimate
    counts = {r.run_id: made.arrays[r.run_id]["closed-set/test/confusion"] for r in (*a, *b[:3])}
    rng, means = np.random.default_rng(1), []
    for _ in range(2000):
        drawn = rng.integers(0, 40, 40)  # the same images for both sides and all seeds
        mious = [[float(confusion.mean_iou(counts[r.run_id][drawn].sum(0))) for r in side] for side in (a, b[:3])]
        means.append(np.mean(mious[0]) - np.mean(mious[1]))
    assert found.images == 40
    assert found.error_images == pytest.approx(np.std(means) * math.sqrt(40 / 39), rel=0.06)


def test_of_what_is_judged_on_a_target_no_other_is_compared(results, made):
    records = [
        made.scored(method, seed, accuracy, targets=("test", "val"))
        for method, accuracy in {"gmmseg": 0.8, "softmax": 0.75}.items()
        for seed in (0, 1)
    ]
    for record in records:
        del record.protocols["closed-set"].targets["test"].metrics["pixel_accuracy"]
    everything = results(records)
    ((pair, found),) = comparing.compared(everything, "gmmseg", "softmax").found
    judged = [*comparing.differences(everything, pair, judged=True)]
    assert {(row.target, row.metric.key) for row in judged} == {
        ("test", "miou"), ("test", "mean_accuracy"), ("val", "pixel_accuracy")
    }  # fmt: skip
    assert judged == [row for row in found if row.headline or row.metric.key == "pixel_accuracy"]
    across = results(made.scored(method, 0, 0.7, **CROSS) for method in ("gmmseg", "softmax"))
    ((pair, found),) = comparing.compared(across, "gmmseg", "softmax").found
    assert [*comparing.differences(across, pair, judged=True)] == found


def test_the_error_of_the_seeds_is_that_of_their_differences(results, runs):
    a, b = runs
    found = rows(results([*a, *b]))["test", "miou"].estimate
    mious = [[r.protocols["closed-set"].targets["test"].metrics["miou"] for r in side[:3]] for side in runs]
    assert found.error_seeds == pytest.approx(np.std(np.subtract(*mious), ddof=1) / math.sqrt(3))


def test_the_other_way_round_is_the_same_with_the_other_sign(results, runs):
    everything = results([*runs[0], *runs[1]])
    one, two = rows(everything)["test", "miou"], rows(everything, "softmax", "gmmseg")["test", "miou"]
    assert (one.estimate.low, one.estimate.high) == pytest.approx((-two.estimate.high, -two.estimate.low))
    assert (one.better, two.better) == ("a", "b")
    assert two.seeds_won.won == 0


def test_pairing_by_image_is_what_makes_it_sure(results, made, runs):
    a, b = runs
    paired = rows(results([*a, *b]))["test", "miou"].estimate.error_images
    apart = []
    for record in (a[0], b[0]):
        counts = made.arrays[record.run_id]["closed-set/test/confusion"]
        drawn = statistics.resampling_weights([str(i) for i in range(40)], 1000)
        apart.append(np.std([float(confusion.mean_iou(np.einsum("n,ncd->cd", w, counts))) for w in drawn]))
    assert paired < 0.5 * math.hypot(*apart)


def test_order_of_the_images_does_not_matter(results, made, runs):
    a, b = runs
    before = rows(results([*a, *b]))["test", "miou"].estimate
    for record in b:
        arrays = made.arrays[record.run_id]
        made.arrays[record.run_id] = {key: array[::-1] for key, array in arrays.items()}
    assert rows(results([*a, *b]))["test", "miou"].estimate == before


def test_a_method_does_not_differ_from_itself(results, made):
    same = [made.scored("gmmseg", seed, 0.8) for seed in (0, 1)]
    row = rows(results(same), "gmmseg", "gmmseg")["test", "miou"]
    assert (row.estimate.value, row.estimate.half_width(), row.better) == (0, 0, "")


def test_one_seed_decides_nothing(results, made):
    row = rows(results([made.scored("gmmseg", 0, 0.9), made.scored("softmax", 0, 0.6)]))["test", "miou"]
    assert row.estimate.low > 0
    assert row.better == ""
    assert row.estimate.why_undecided() == "one seed"


def test_without_statistics_per_image_seeds_alone_decide_nothing(results, made, runs):
    made.arrays.clear()
    row = rows(results([*runs[0], *runs[1]]))["test", "miou"]
    assert row.estimate.images == 0
    assert row.better == ""


def test_six_seeds_are_tested_by_ranks_too(results, made):
    a = [made.scored("gmmseg", seed, 0.7 + 0.01 * seed) for seed in range(6)]
    b = [made.scored("softmax", seed, 0.72) for seed in range(6)]
    mious = [[r.protocols["closed-set"].targets["test"].metrics["miou"] for r in side] for side in (a, b)]
    row = rows(results([*a, *b]))["test", "miou"]
    assert row.p_wilcoxon == pytest.approx(wilcoxon(*mious).pvalue)
    assert rows(results([*a[:5], *b]))["test", "miou"].p_wilcoxon is None


def test_several_targets_have_their_harmonic_mean_and_wins(results, made):
    a = [made.scored("gmmseg", seed, 0.8, **CROSS) for seed in (0, 1, 2)]
    b = [made.scored("softmax", seed, 0.75, **CROSS) for seed in (0, 1, 2)]
    found = rows(results([*a, *b]))
    row = found["2 targets", "harmonic_mean"]
    mious = [
        [[s.metrics["miou"] for s in r.protocols["cross-domain"].targets.values()] for r in side] for side in (a, b)
    ]
    means = [np.mean([confusion.harmonic_mean(of_run) for of_run in side]) for side in mious]
    assert row.estimate.value == pytest.approx(means[0] - means[1])
    assert row.targets_won == (2, 2)
    assert row.estimate.images == 40
    assert row.estimate.error_images < max(found[t, "miou"].estimate.error_images for t in CROSS["targets"])
    assert ("2 targets", "pixel_accuracy") in found
    assert ("2 targets", "miou") not in found


def test_the_harmonic_mean_of_resamples_is_that_of_numbers():
    values = np.array([[0.5, 0.2, 0.0], [0.25, 0.2, 0.5]])
    expected = [confusion.harmonic_mean(column) for column in values.T]
    assert mean_over_targets("harmonic_mean")(values) == pytest.approx(expected)


def with_drops(record, home):
    for scores in record.protocols["cross-domain"].targets.values():
        scores.metrics |= {"source_miou": home, "drop": home - scores.metrics["miou"]}
    return record


def joined(made, closed, cross):
    """One record of what two say."""
    made.arrays[closed.run_id] |= made.arrays[cross.run_id]
    closed.protocols |= cross.protocols
    return closed


def test_a_drop_rests_on_the_images_of_both_domains(results, made):
    records = []
    for method, accuracy in (("gmmseg", 0.8), ("softmax", 0.7)):
        for seed in (0, 1):
            closed = made.scored(method, seed, accuracy)
            home = closed.protocols["closed-set"].targets["test"].metrics["miou"]
            records.append(joined(made, closed, with_drops(made.scored(method, seed, accuracy, **CROSS), home)))
    found = rows(results(records))
    drop, miou = found["toyscapes/night", "drop"], found["toyscapes/night", "miou"]
    assert drop.estimate.images == 40
    assert drop.estimate.error_images != miou.estimate.error_images
    assert (drop.better == "a") == (drop.estimate.high < 0)
    assert ("2 targets", "mean_drop") in found


def test_a_drop_under_a_class_map_has_no_images_to_rest_on(results, made):
    records = [
        joined(made, made.scored(m, s, 0.8), with_drops(made.scored(m, s, 0.8, **CROSS), 0.123))
        for m in ("gmmseg", "softmax")
        for s in (0, 1)
    ]
    assert rows(results(records))["toyscapes/night", "drop"].estimate.images == 0


def test_lower_is_better_where_the_metric_says_so(results, made):
    scores = {"gmmseg": 0.2, "softmax": 0.4}
    records = [
        made.record(m, s, protocols={"anomaly": anomaly({"msp": {"fpr95": v + 0.01 * s, "auroc": 0.9}})})
        for m, v in scores.items()
        for s in (0, 1, 2)
    ]
    row = rows(results(records))["road_anomaly/test", "fpr95"]
    assert row.seeds_won == (3, 3)


def test_anomaly_scores_are_compared_with_the_same_score_or_as_named(results, made):
    def of(method, **scores):
        return made.record(method, protocols={"anomaly": anomaly({k: {"ap": v} for k, v in scores.items()})})

    found = results([of("gmmseg", msp=0.1, gmm_nll=0.5), of("softmax", msp=0.2, energy=0.3)])
    ((_, shared),) = comparing.compared(found, "gmmseg", "softmax").found
    assert {row.readings for row in shared} == {("msp", "msp")}
    ((_, named),) = comparing.compared(found, "gmmseg@gmm_nll", "softmax@energy").found
    assert [(row.readings, row.estimate.value) for row in named] == [(("gmm_nll", "energy"), pytest.approx(0.2))]
    ((_, half),) = comparing.compared(found, "gmmseg@msp", "softmax").found
    assert {row.readings for row in half} == {("msp", "msp")}


def test_component_metrics_are_decided_by_counts_of_images_and_without_them_undecided(results, made):
    def scored(method, seed, found, counted):
        rng = np.random.default_rng(seed)
        true = rng.binomial(6, found, 40)[:, None].repeat(11, 1)
        counts = np.stack([true, 6 - true, np.zeros_like(true)], axis=1)
        sums = np.stack([4.0 * found + rng.random(40), np.full(40, 3.0), np.full(40, 6.0)], axis=1)
        values = {key: float(value) for key, value in component_metrics(counts.sum(0), sums.sum(0)).items()}
        record = made.record(method, seed, protocols={"anomaly": anomaly({"msp": {"ap": 0.2 + found / 9, **values}})})
        histogram = np.stack([rng.multinomial(900, [0.5, 0.3, 0.2], 40), rng.multinomial(90, [0.2, 0.2, 0.6], 40)], 1)
        at = "anomaly/road_anomaly/test"
        made.arrays[record.run_id] = {f"{at}/ids": IDS, f"{at}/msp/histogram": histogram}
        if counted:
            made.arrays[record.run_id] |= {f"{at}/msp/components": counts, f"{at}/msp/overlaps": sums}
        return record

    def compared(counted):
        runs = [scored(m, s, found, counted) for m, found in (("gmmseg", 0.8), ("softmax", 0.4)) for s in (0, 1, 2)]
        return {key[1]: row for key, row in rows(results(runs)).items()}

    found = compared(counted=True)
    for name in ("f1_star_oracle", "siou_oracle"):
        assert found[name].estimate.images == 40
        assert found[name].better == "a"
    older = compared(counted=False)
    assert older["f1_star_oracle"].estimate.why_undecided() == "no counts of single images"
    assert older["ap"].estimate.images == found["ap"].estimate.images == 40
    assert older["ap"].estimate == found["ap"].estimate


def test_another_reading_is_compared_with_the_methods_own_prediction(results, made):
    records = [made.scored("gss", seed, 0.8) for seed in (0, 1)]
    for record in records:
        target = record.protocols["closed-set"].targets["test"]
        target.by_reading["auxiliary"] = {"miou": target.metrics["miou"] + 0.1}
    row = rows(results(records), "gss@auxiliary", "gss")["test", "miou"]
    assert row.estimate.value == pytest.approx(0.1)
    assert row.classes_won == (0, 0)


def test_other_data_under_the_same_name_is_not_compared(results, made):
    a, b = made.scored("gmmseg", 0, 0.8), made.scored("softmax", 0, 0.8)
    b.protocols["closed-set"].targets["test"].dataset.fingerprint = "other"
    with pytest.raises(UserError, match="share no ranked metric"):
        comparing.compared(results([a, b]), "gmmseg", "softmax")


def test_versions_of_a_protocol_are_not_compared(results, made):
    a, b = made.scored("gmmseg", 0, 0.8), made.scored("softmax", 0, 0.8)
    b.protocols["closed-set"].version = "2"
    with pytest.raises(UserError, match="share no seed"):
        comparing.compared(results([a, b]), "gmmseg", "softmax")


def test_a_seed_without_the_number_is_left_out(results, runs):
    a, b = runs
    a[1].protocols["closed-set"].targets["test"].metrics["miou"] = None
    found = rows(results([*a, *b]))
    assert [r.seed for r in found["test", "miou"].runs] == [0, 2]
    assert [r.seed for r in found["test", "mean_accuracy"].runs] == [0, 1, 2]


def test_what_a_plugin_raises_is_one_sentence(results, runs, monkeypatch):
    def broken(counts):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("bench.scoring.protocols.closed_set.ClosedSet.condensed", broken)
    with pytest.raises(UserError, match=r"cannot be resampled \(ZeroDivisionError: oh\)"):
        comparing.compared(results([*runs[0], *runs[1]]), "gmmseg", "softmax")


def test_runs_that_are_not_alike_are_one_sentence(results, made):
    a, b = made.scored("gmmseg", 0, 0.8), made.scored("softmax", 0, 0.8, recipe={"steps": 9})
    with pytest.raises(UserError, match="the recipe's settings differ"):
        comparing.compared(results([a, b]), "gmmseg", "softmax")
