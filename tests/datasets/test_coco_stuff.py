"""COCO-Stuff: 171 of 182 ids, in PNGs that count from 0 and in MATLAB files that count from 1."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from datasets.base import IGNORE, DataError
from datasets.coco_stuff import COCO_STUFF_171, COCOStuff10k, COCOStuff164k
from tests.datasets.miniatures import COCO_10K, MINIATURES, one_sentence

LANDMARKS = {
    1: "person", 11: "fire hydrant", 13: "stop sign", 25: "giraffe", 27: "backpack", 28: "umbrella", 31: "handbag",
    44: "bottle", 46: "wine glass", 65: "bed", 67: "dining table", 70: "toilet", 72: "tv", 82: "refrigerator",
    84: "book", 90: "toothbrush", 92: "banner", 106: "clouds", 124: "grass", 149: "road", 157: "sky-other", 169: "tree",
    182: "wood",
}  # fmt: skip
"""Rows of the makers' labels.txt, on both sides of every gap."""

NEVER = {
    "street sign",
    "hat",
    "shoe",
    "eye glasses",
    "plate",
    "mirror",
    "window",
    "desk",
    "door",
    "blender",
    "hair brush",
}


def test_classes_are_eighty_things_and_ninety_one_stuff_without_the_eleven_that_never_occur():
    names = COCO_STUFF_171.names
    assert (len(names), names.index("toothbrush"), names.index("banner")) == (80 + 91, 79, 80)
    assert not NEVER & {*names}
    assert {f"{name}-stuff" for name in ("desk", "door", "mirror")} <= {*names}
    assert len({*COCO_STUFF_171.colours}) == 171


@pytest.mark.parametrize(("plugin", "first"), [(COCOStuff10k, 1), (COCOStuff164k, 0)])
def test_the_table_of_ids(plugin, first):
    table = plugin.raw_ids
    for raw, name in LANDMARKS.items():
        assert COCO_STUFF_171.names[table[raw - 1 + first]] == name
    void = {0} if first else {255}
    assert {raw for raw, i in table.items() if i == IGNORE} == void
    missing = {*range(first, 182 + first)} - {*table}
    assert {i + 1 - first for i in missing} == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    classes = [table[raw] for raw in sorted({*table} - void)]
    assert classes == [*range(171)], "classes are in the order of their ids"


def test_files_with_training_ids_beside_the_labels_are_not_read(tmp_path):
    MINIATURES["coco_stuff_164k"]["official"](tmp_path)
    items = COCOStuff164k(tmp_path, "train", allow_partial=True).items
    assert [item.label.name for item in items] == ["000000000009.png", "000000000025.png"]


def test_matlab_files_and_their_conversion_give_the_same_classes(tmp_path):
    for variant in ("official", "converted"):
        MINIATURES["coco_stuff_10k"][variant](tmp_path / variant)
    official = COCOStuff10k(tmp_path / "official", "train", allow_partial=True)
    raw = loadmat(official.items[0].label)["S"]
    assert np.array_equal((official.label(0) == IGNORE).numpy(), raw == 0)
    assert np.array_equal((official.label(0) == 170).numpy(), raw == 182)
    converted = COCOStuff10k(tmp_path / "converted", "train", allow_partial=True)
    assert [item.id for item in converted.items] == [item.id for item in official.items] == COCO_10K["train"]
    assert set(converted.label(0).unique().tolist()) == {*range(171), IGNORE}


@pytest.mark.parametrize(("label", "words"), [({"S": np.full((24, 32), 12)}, "id 12"), ({"other": 1}, "'S'")])
def test_a_matlab_file_with_an_unknown_id_or_without_labels_is_named(tmp_path, label, words):
    MINIATURES["coco_stuff_10k"]["official"](tmp_path)
    data = COCOStuff10k(tmp_path, "train", allow_partial=True)
    savemat(data.items[0].label, label)
    with one_sentence(DataError, data.items[0].label, words):
        data.label(0)


def test_a_missing_list_of_images_is_named(tmp_path):
    MINIATURES["coco_stuff_10k"]["official"](tmp_path)
    path = tmp_path / "coco_stuff_10k/imageLists/test.txt"
    path.unlink()
    with one_sentence(DataError, path, "is missing"):
        COCOStuff10k(tmp_path, "test", allow_partial=True)
