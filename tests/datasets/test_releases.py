"""How many images each release has, and of which splits it keeps the labels: as papers, lists or archives say."""

from __future__ import annotations

import pytest

from bench.plugins import registry
from datasets.base import DataError
from tests.datasets.miniatures import one_sentence

COUNTS = {
    "acdc": {"train": 1600, "val": 406, "val-fog": 100, "val-night": 106, "val-rain": 100, "val-snow": 100},
    "bdd100k": {"train": 7000, "val": 1000},
    "camvid_32": {"train": 367, "val": 101, "test": 233},
    "coco_stuff_10k": {"train": 9000, "test": 1000},
    "coco_stuff_164k": {"train": 118287, "val": 5000},
    "dark_zurich": {"val": 50},
    "foggy_cityscapes": {"val-beta-0.005": 500, "val-beta-0.01": 500, "val-beta-0.02": 500},
    "idd": {"train": 6993, "val": 981},
    "kitti_semantics": {"training": 200},
    "lost_and_found": {"test-no-known": 1043, "test": 1186, "train": 1030},
    "mapillary_vistas": {"train": 18000, "val": 2000},
    "mapillary_vistas_19": {"train": 18000, "val": 2000},
    "nighttime_driving": {"test": 50},
    "pascal_context": {"train": 4998, "val": 5105},
    "pascal_context_60": {"train": 4998, "val": 5105},
    "street_hazards": {"train": 5125, "val": 1031, "test": 1500},
    "wilddash": {"val": 70},
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    assert {split: facts.count for split, facts in registry.datasets.get(name).splits.items()} == COUNTS[name]


@pytest.mark.parametrize(
    ("name", "split", "other"),
    [
        ("acdc", "test", "val"),
        ("bdd100k", "test", "val"),
        ("dark_zurich", "test", "val"),
        ("idd", "test", "val"),
        ("idd_lite", "test", "val"),
        ("kitti_semantics", "testing", "training"),
        ("road_anomaly_21", "test", "val"),
        ("wilddash", "test", "val"),
    ],
)
def test_hidden_labels_are_refused_not_scored(name, split, other, tmp_path):
    with one_sentence(DataError, "not published", f"use split '{other}'"):
        registry.datasets.get(name)(tmp_path, split, allow_partial=True)
