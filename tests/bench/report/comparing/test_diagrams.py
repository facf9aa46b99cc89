"""The critical-difference diagram of Demšar's own example, and who hangs on one bar."""

from __future__ import annotations

import pytest

from bench.report.comparing.diagrams import critical_difference
from bench.report.comparing.ranks import Ranks

DEMSAR = Ranks(
    {"C4.5+m+cf": 1.964, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5": 3.143}, tuple(map(str, range(14))), 0.002, 1.25
)
"""Demšar 2006, table 6: with 14 data sets and q = 2.569 mean ranks that differ by 1.25 do so significantly."""


def thick(figure):
    return [line.get_xdata() for line in figure.axes[0].lines if line.get_linewidth() == 3]


def test_methods_within_the_critical_difference_hang_on_one_bar():
    ends = [(low + 0.04, high - 0.04) for low, high in thick(critical_difference(DEMSAR))]
    assert ends == [pytest.approx((1.964, 3.143))]


@pytest.mark.parametrize(
    ("critical", "bars"),
    [(1.0, [(1.964, 2.893), (2.0, 2.893), (2.893, 3.143)]), (0.1, [(1.964, 2.0)]), (0.01, [])],
)
def test_no_bar_is_a_part_of_another(critical, bars):
    found = [(low + 0.04, high - 0.04) for low, high in thick(critical_difference(DEMSAR._replace(critical=critical)))]
    whole = [bar for bar in bars if not any(bar != o and o[0] <= bar[0] and bar[1] <= o[1] for o in bars)]
    assert found == [pytest.approx(bar) for bar in whole]


def test_every_method_is_named_with_its_rank_at_its_place():
    axes = critical_difference(DEMSAR).axes[0]
    texts = {text.get_text() for text in axes.texts}
    assert {"C4.5+m+cf 1.96", "C4.5+m 2.00", "C4.5+cf 2.89", "C4.5 3.14", "critical difference 1.25"} == texts
    starts = [line.get_xdata()[0] for line in axes.lines[:4]]
    assert starts == [*DEMSAR.mean.values()]
