"""RoadObstacle21: only validation images have labels, and ten of them are left out."""

from __future__ import annotations

import pytest

from datasets.base import IGNORE, DataError
from datasets.road_obstacle_21 import LEFT_OUT, RoadObstacle21
from tests.datasets.miniatures import MINIATURES, grey, one_sentence, photo
from tests.datasets.real import decode_all, open_real


def test_test_images_of_the_archive_are_not_listed(tmp_path):
    MINIATURES["road_obstacle_21"]["archive"](tmp_path)
    data = RoadObstacle21(tmp_path, "val", allow_partial=True)
    assert [item.id for item in data.items] == ["validation_1", "validation_19", "validation_2"]


def archive(tmp_path, numbers):
    base = tmp_path / "road_obstacle_21/dataset_ObstacleTrack"
    for number in numbers:
        photo(base / f"images/validation_{number}.webp", number, size=(2, 2))
        grey(base / f"labels_masks/validation_{number}_labels_semantic.png", [0, 1], number, size=(2, 2))
    return tmp_path


def test_the_reference_codes_thirty_of_forty_remain(tmp_path):
    data = RoadObstacle21(archive(tmp_path, range(1, 41)), "val")
    assert {int(item.id.split("_")[1]) for item in data.items} == set(range(1, 41)) - LEFT_OUT
    assert len(LEFT_OUT) == 10


def test_thirty_renumbered_images_all_remain(tmp_path):
    assert len(RoadObstacle21(archive(tmp_path, range(1, 31)), "val")) == 30


@pytest.mark.parametrize("split", ["test", "night", "snowstorm"])
def test_splits_without_labels_are_refused_and_not_taken_for_empty(tmp_path, split):
    with one_sentence(DataError, split, "use split 'val'"):
        RoadObstacle21(archive(tmp_path, range(1, 31)), split)


@pytest.mark.real
def test_real_photographs():
    data = open_real(RoadObstacle21, "val")
    assert len(data) == 30
    pixels = decode_all(data, (1080, 1920))
    assert set(pixels) == {0, 1, IGNORE}
    assert 0.6 < pixels[IGNORE] / sum(pixels.values()) < 0.8, "most of a picture is outside the region of interest"
