"""ScanNet: twenty of NYU's forty classes, and rooms that are val."""

from __future__ import annotations

import pytest
import torch

from datasets.base import IGNORE
from datasets.scannet import VAL_ROOMS, ScanNet
from tests.datasets.miniatures import MINIATURES, ids_map

SCORED = {
    1: "wall", 2: "floor", 3: "cabinet", 4: "bed", 5: "chair", 6: "sofa", 7: "table", 8: "door", 9: "window",
    10: "bookshelf", 11: "picture", 12: "counter", 14: "desk", 16: "curtain", 24: "refrigerator", 28: "shower curtain",
    33: "toilet", 34: "sink", 36: "bathtub", 39: "other furniture",
}  # fmt: skip
"""The ids of NYU's forty that the benchmark scores."""


def test_ids_are_those_of_nyu_and_the_unscored_are_void(tmp_path):
    MINIATURES["scannet"]["official"](tmp_path)
    names = ScanNet.classes.names
    label = ScanNet(tmp_path, "val", allow_partial=True).label(0)
    raw = torch.from_numpy(ids_map(range(41), 2))
    for value in range(41):
        expected = names.index(SCORED[value]) if value in SCORED else IGNORE
        assert (label[raw == value] == expected).all()


@pytest.mark.parametrize(
    ("split", "ids"), [("train", ["scene0000_00/000100", "scene0706_00/000100"]), ("val", ["scene0011_01/000100"])]
)
def test_all_scans_of_a_room_are_of_one_split(tmp_path, split, ids):
    MINIATURES["scannet"]["official"](tmp_path)
    assert [item.id for item in ScanNet(tmp_path, split, allow_partial=True).items] == ids
    assert len(VAL_ROOMS) == 142
