"""Mean ranks against SciPy, a published example and what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from bench.report.comparing.ranks import ranks

MIOUS = {
    "camvid": (0.5, 0.6, 0.7),
    "toyscapes": (0.4, 0.6, 0.5),
    "cityscapes": (0.1, 0.3, 0.2),
    "acdc": (0.3, 0.4, 0.5),
}
METHODS = ("softmax", "gmmseg", "segsort")


@pytest.fixture
def records(made):
    return [
        made.record(method, seed, miou + 0.01 * seed, data={"name": dataset})
        for dataset, mious in MIOUS.items()
        for method, miou in zip(METHODS, mious, strict=True)
        for seed in (0, 1)
    ]


def test_ranks_are_means_over_data_sets_the_best_first(results, records):
    found = ranks(results(records))
    assert found.mean == pytest.approx({"gmmseg": 1.5, "segsort": 1.5, "softmax": 3.0})
    assert {*found.datasets} == {*MIOUS}
    assert found.p == pytest.approx(friedmanchisquare(*np.array([*MIOUS.values()]).T).pvalue)


def test_the_critical_difference_is_nemenyis(results, records):
    # Demšar 2006, table 5: q is 2.343 for three methods at 5 %.
    assert ranks(results(records)).critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 4)), rel=1e-3)


def test_a_method_that_one_data_set_lacks_is_not_ranked(results, made, records):
    found = ranks(results([*records, made.record("agmm", 0, 0.9, data={"name": "camvid"})]))
    assert {*found.mean} == {*METHODS}


def test_of_several_configurations_the_one_with_the_defaults_counts(results, made, records):
    other = made.record("gmmseg", 0, 0.99, data={"name": "camvid"}, config={"preset": "paper"})
    for record in records:
        record.configuration = record.config.method_name
    assert ranks(results([*records, other])) == ranks(results(records))


def test_the_group_with_most_methods_stands_for_a_data_set(results, made, records):
    few = [made.record(m, s, 0.9, data={"name": "camvid"}, recipe={"steps": 9}) for m in METHODS[:1] for s in (0, 1, 2)]
    assert ranks(results([*records, *few])) == ranks(results(records))


def test_methods_that_all_rank_alike_differ_in_nothing(results, made):
    same = [made.record(m, 0, 0.5, data={"name": d}) for m in METHODS for d in MIOUS]
    found = ranks(results(same))
    assert {*found.mean.values()} == {2.0}
    assert found.p == 1


def test_two_data_sets_or_two_methods_have_no_ranks(results, records):
    assert ranks(results(records[:6])) is None
    assert ranks(results(records[:12])) is None
    assert ranks(results([r for r in records if r.config.method_name != "softmax"])) is None
