"""All pairs of a group: which, by what, and corrected for how many."""

from __future__ import annotations

import pytest

from bench.common.errors import UserError
from bench.report.comparing.all_pairs import all_pairs
from tests.bench.report.leaderboard.conftest import anomaly

CROSS = {"protocol": "cross-domain", "targets": ("toyscapes/night", "toyscapes/fog")}


@pytest.fixture
def runs(made):
    accuracies = {"softmax": 0.7, "gmmseg": 0.8, "segsort": 0.702}
    return [made.scored(m, s, a, targets=("test", "val")) for m, a in accuracies.items() for s in (0, 1, 2)]


def test_every_pair_stands_once_by_the_metric_that_the_protocol_is_judged_on(results, runs):
    (family,) = all_pairs(results(runs))
    steps = runs[0].config.recipe.steps
    assert family.title == f"toyscapes, dense, quick ({steps} steps), mobilenet_v2: closed-set, test, mIoU"
    names = [(row.pair.a.text, row.pair.b.text) for row in family.rows]
    assert sorted(names) == [("gmmseg", "segsort"), ("gmmseg", "softmax"), ("segsort", "softmax")]


def test_p_is_that_of_each_pair_times_how_many_are_no_clearer(results, runs):
    (family,) = all_pairs(results(runs))
    own = [row.found.estimate.p() for row in family.rows]
    assert own == sorted(own)
    expected = [3 * own[0], max(3 * own[0], 2 * own[1]), min(1.0, max(3 * own[0], 2 * own[1], own[2]))]
    assert [row.p for row in family.rows] == pytest.approx(expected)
    assert all(bool(row.better) == (row.p < 0.05) for row in family.rows)
    assert family.rows[0].better == "a"


def test_a_pair_that_one_seed_decides_nothing_of_is_not_counted(results, made, runs):
    (family,) = all_pairs(results([*runs, made.scored("agmm", 0, 0.5)]))
    by_pair = {(row.pair.a.text, row.pair.b.text): row for row in family.rows}
    assert len(by_pair) == 6
    assert [pair for pair, row in by_pair.items() if row.p is None] == [pair for pair in by_pair if "agmm" in pair]
    (before,) = all_pairs(results(runs))
    assert [row.p for row in family.rows[:3]] == [row.p for row in before.rows]
    assert by_pair["agmm", "gmmseg"].better == ""


def test_several_targets_are_compared_by_their_summary(results, made):
    families = [*all_pairs(results([made.scored(m, s, 0.8, **CROSS) for m in ("a", "b") for s in (0, 1)]))]
    assert [(f.rows[0].found.metric.key, f.rows[0].found.target) for f in families] == [("harmonic_mean", "2 targets")]


def test_each_anomaly_score_is_a_family_that_its_methods_share(results, made):
    scores = {"gmmseg": {"msp": 0.1, "gmm_nll": 0.5}, "softmax": {"msp": 0.2}, "agmm": {"msp": 0.3}}
    records = [
        made.record(m, protocols={"anomaly": anomaly({name: {"ap": v, "auroc": v} for name, v in of.items()})})
        for m, of in scores.items()
    ]
    (family,) = all_pairs(results(records))
    assert family.title.endswith("road_anomaly/test, AP, msp")
    assert len(family.rows) == 3


def test_groups_do_not_mix(results, made, runs):
    long = [made.scored(m, s, 0.8, recipe={"name": "settled"}) for m in ("gmmseg", "softmax") for s in (0, 1)]
    assert sorted(len(family.rows) for family in all_pairs(results([*runs, *long]))) == [1, 3]


def test_nothing_to_compare_is_one_sentence(results, made):
    with pytest.raises(UserError, match="run several methods with one command"):
        [*all_pairs(results([made.scored("gmmseg", 0, 0.8), made.scored("softmax", 1, 0.8)]))]
