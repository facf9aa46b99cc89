"""Nighttime Driving: one folder of images by night."""

from __future__ import annotations

import pytest

from datasets.nighttime_driving import NighttimeDriving
from tests.datasets.miniatures import MINIATURES


@pytest.mark.parametrize("variant", MINIATURES["nighttime_driving"])
def test_images_have_their_coarse_labels(tmp_path, variant):
    MINIATURES["nighttime_driving"][variant](tmp_path)
    items = NighttimeDriving(tmp_path, "test", allow_partial=True).items
    assert [item.id for item in items] == ["0_Frame0100", "1_Frame2540"]
    assert items[0].label.name == "0_Frame0100_gtCoarse_labelTrainIds.png"
