"""IDD: level 3 of the hierarchy, and the map from Cityscapes."""

from __future__ import annotations

import pytest

from datasets.base import IGNORE, DataError
from datasets.cityscapes import TO_IDD
from datasets.class_sets import CITYSCAPES_19, IDD_26
from datasets.idd import IDD
from tests.datasets.miniatures import MINIATURES, assert_one_sentence

LEVEL_3 = """road 0, drivable fallback 1, sidewalk 2, non-drivable fallback 3, person 4, rider 5, motorcycle 6,
bicycle 7, autorickshaw 8, car 9, truck 10, bus 11, vehicle fallback 12, curb 13, wall 14, fence 15, guard rail 16,
billboard 17, traffic sign 18, traffic light 19, pole 20, obs-str-bar-fallback 21, building 22, bridge 23,
vegetation 24, sky 25"""
"""level3Id of the makers' table."""

CS_TRAIN_ID = {
    "road": 0, "building": 2, "wall": 3, "fence": 4, "pole": 5, "traffic light": 6, "traffic sign": 7, "vegetation": 8,
    "non-drivable fallback": 9, "sky": 10, "person": 11, "rider": 12, "car": 13, "truck": 14, "bus": 15,
    "motorcycle": 17, "bicycle": 18, "sidewalk": 1,
}  # fmt: skip
"""csTrainId of the same rows: the class of Cityscapes."""


def test_classes_are_in_the_order_of_level_3():
    rows = [row.strip().rsplit(" ", 1) for row in LEVEL_3.replace("\n", " ").split(",")]
    assert [(name, int(i)) for name, i in rows] == [(name, i) for i, name in enumerate(IDD_26.names)]
    colours = dict(zip(IDD_26.names, IDD_26.colours, strict=True))
    assert (colours["autorickshaw"], colours["billboard"]) == ((255, 204, 54), (174, 64, 67))


def test_the_map_from_cityscapes_is_the_makers():
    for name, i in CS_TRAIN_ID.items():
        assert TO_IDD.table[i] == IDD_26.names.index(name)
    assert TO_IDD.table[CITYSCAPES_19.names.index("train")] == IDD_26.names.index("vehicle fallback")
    assert IGNORE not in TO_IDD.table


def test_frame_numbers_recur_across_drives(tmp_path):
    MINIATURES["idd"]["archive"](tmp_path)
    assert [item.id for item in IDD(tmp_path, "train", allow_partial=True).items] == ["0/005506", "119/005506"]


def test_hidden_labels_are_refused_not_scored(tmp_path):
    with pytest.raises(DataError) as caught:
        IDD(tmp_path, "test", allow_partial=True)
    assert_one_sentence(str(caught.value), "not published", "use split 'val'")


def test_counts():
    assert {name: split.count for name, split in IDD.splits.items()} == {"train": 6993, "val": 981}
