"""IDD-Lite: frames within sequences."""

from __future__ import annotations

import pytest

from datasets.base import IGNORE
from datasets.idd_lite import IDDLite
from tests.datasets.miniatures import MINIATURES
from tests.datasets.real import decode_all, open_real


def test_ids_name_the_sequence_because_frame_numbers_recur(tmp_path):
    MINIATURES["idd_lite"]["direct"](tmp_path)
    data = IDDLite(tmp_path, "train", allow_partial=True)
    assert [item.id for item in data.items] == ["0/024541", "119/024541"]
    assert all(item.label.name.endswith("_label.png") for item in data.items)
    assert not any("inst" in item.label.name for item in data.items)


def test_animals_are_living_things_so_road_anomaly_is_no_target():
    assert "road_anomaly" not in {target.dataset for target in IDDLite.anomaly}


@pytest.mark.real
@pytest.mark.parametrize("split", IDDLite.splits)
def test_real_photographs(split):
    data = open_real(IDDLite, split)
    assert len(data) == IDDLite.splits[split].count
    pixels = decode_all(data, (227, 320))
    assert set(pixels) == {*range(7), IGNORE}
