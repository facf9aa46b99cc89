"""The order of methods under each protocol, against hand-worked ranks and SciPy."""

from __future__ import annotations

import pytest
from scipy.stats import kendalltau

from bench.report.comparing import diagrams
from bench.report.comparing.rank_changes import rank_changes
from bench.report.leaderboard import View, build
from bench.schema.record import ProtocolResult, Scores
from tests.bench.report.leaderboard.conftest import anomaly, closed_set, info

NUMBERS = {"softmax": (0.5, 0.1, 0.3), "agmm": (0.6, 0.2, 0.2), "gss": (0.7, 0.2, 0.1), "segsort": (0.4, 0.9, 0.4)}
"""mIoU, AP and ECE, of which less is better."""


@pytest.fixture
def found(made):
    def of(numbers=NUMBERS, view=None):
        records = []
        for method, (miou, ap, ece) in numbers.items():
            calibration = ProtocolResult(
                version="1", headline="test", targets={"test": Scores(dataset=info(), metrics={"ece": ece})}
            )
            score = "segsort_class_nll" if method == "segsort" else "gss_entropy" if method == "gss" else "msp"
            protocols = {"closed-set": closed_set(miou), "anomaly": anomaly({score: {"ap": ap}})}
            records.append(made.record(method, protocols=protocols | {"calibration": calibration}, config={}))
        return [*rank_changes(build(records, made.statistics, view or View(), published="none", resamples=0))]

    return of


def test_ranks_are_those_of_each_protocol_and_ties_share_one(found):
    (one,) = found()
    assert [*one.methods] == ["gss", "agmm", "softmax", "segsort"]
    assert one.ranks == {"closed-set": [1, 2, 3, 4], "anomaly": [2, 2, 4, 1], "calibration": [1, 2, 3, 4]}


def test_tau_is_that_of_the_numbers_with_the_first_protocol(found):
    (one,) = found()
    miou, ap, _ = zip(*NUMBERS.values(), strict=True)
    assert one.tau == pytest.approx({"closed-set": 1, "anomaly": kendalltau(miou, ap).statistic, "calibration": 1})


def test_an_order_of_ties_has_no_tau(found):
    (one,) = found({method: (*numbers[:2], 0.5) for method, numbers in NUMBERS.items()})
    assert one.tau["calibration"] is None
    assert one.ranks["calibration"] == [1, 1, 1, 1]


def test_two_methods_have_no_order_worth_telling(found):
    assert found(dict([*NUMBERS.items()][:2])) == []


def test_only_overviews_have_several_protocols(found):
    assert found(view=View(protocols=("closed-set",))) == []


def test_every_method_has_a_line_and_a_name_in_the_picture(found):
    (axes,) = diagrams.changes(found()).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[1, 2, 1], [2, 2, 2], [3, 4, 3], [4, 1, 4]]
    assert {text.get_text() for text in axes.texts} == {*NUMBERS}
    low, high = axes.get_ylim()
    assert low > high, "the best stand above"
