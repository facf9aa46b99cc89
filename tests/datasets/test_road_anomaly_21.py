"""RoadAnomaly21: only validation images have labels."""

from __future__ import annotations

import pytest

from datasets.road_anomaly_21 import RoadAnomaly21
from tests.datasets.miniatures import MINIATURES


@pytest.fixture
def root(tmp_path):
    MINIATURES["road_anomaly_21"]["archive"](tmp_path)
    return tmp_path


def test_test_images_of_the_archive_are_not_listed(root):
    items = RoadAnomaly21(root, "val", allow_partial=True).items
    assert [item.id for item in items] == ["validation0000", "validation0001", "validation0002"]


def test_components_are_those_of_the_anomaly_track():
    assert RoadAnomaly21.components is not None
    assert (RoadAnomaly21.components.predicted, RoadAnomaly21.components.labelled) == (500, 100)
