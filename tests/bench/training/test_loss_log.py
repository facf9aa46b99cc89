"""The log of losses."""

import csv

import pytest

from tests.bench.short import build, train


def test_log_holds_every_loss_term_by_name(mini, fabric, tmp_path):
    train(build(method="gmmseg"), mini, fabric, tmp_path)
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4]
    assert {"lr", "cross_entropy", "component_cross_entropy", "total"} <= rows[0].keys()
    for row in rows:
        assert float(row["total"]) == pytest.approx(
            float(row["cross_entropy"]) + float(row["component_cross_entropy"]), rel=1e-4
        )
