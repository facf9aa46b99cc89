"""The picture of features and read-outs has the numbers of the table beside it."""

from __future__ import annotations

import pytest

from bench.records.store import Store
from results import heat_map, summary


@pytest.fixture(scope="module")
def select():
    return summary.selector(Store(summary.ROOT / "results").records())


def test_its_first_row_has_the_figures_of_the_table(select):
    figure = heat_map.draw(select)
    miou = [text.get_text() for text in figure.axes[0].texts]
    table = [line[2].partition(" ")[0] for line in summary.readouts(select)[1:]]
    assert miou == table


def test_the_best_of_a_panel_is_the_darkest_whichever_way_is_better(select):
    figure = heat_map.draw(select)
    for axes, (*_, highest) in zip(figure.axes, heat_map.PANELS, strict=True):
        drawn = axes.images[0].get_array().ravel()
        numbers = [float(text.get_text()) for text in axes.texts]
        assert numbers[int(drawn.argmax())] == (max if highest else min)(numbers)
