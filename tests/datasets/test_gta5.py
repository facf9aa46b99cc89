"""GTA5: the makers' list of splits, its faulty frames, and Cityscapes' label ids in a palette."""

from __future__ import annotations

import pytest
import torch

from datasets.base import IGNORE, DataError
from datasets.gta5 import GTA5, LEFT_OUT
from tests.datasets.miniatures import GTA5_SPLITS, MINIATURES, grey, ids_map, one_sentence, photo

EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
"""The labelIds of road to bicycle, in that order."""


@pytest.fixture
def root(tmp_path):
    MINIATURES["gta5"]["direct"](tmp_path)
    return tmp_path


def ids(root, split):
    return [item.id for item in GTA5(root, split, allow_partial=True).items]


def test_splits_are_those_of_the_list_without_faulty_frames(root):
    assert ids(root, "train") == ["00001", "00002"]
    assert ids(root, "val") == ["00022"]
    assert ids(root, "test") == ["00011", "00012"]


def test_counts_are_those_of_the_list_without_faulty_frames():
    assert len(LEFT_OUT) == 62
    assert sum(split.count for split in GTA5.splits.values()) == 24966 - 62
    assert {name: split.count for name, split in GTA5.splits.items()} == {
        "train": 12403 - 1,
        "val": 6382 - 35,
        "test": 6181 - 26,
    }


def test_a_part_of_the_download_is_a_partial_split(root):
    (root / "gta5/images/00001.png").unlink()
    assert ids(root, "train") == ["00002"]
    with one_sentence(DataError, "should have 12402 images but 1 were found", "allow_partial"):
        GTA5(root, "train")


def test_frames_outside_the_list_belong_to_no_split(root):
    for name in ("24966", "readme"):
        photo(root / "gta5/images" / f"{name}.png", 0)
    assert [len(ids(root, split)) for split in GTA5_SPLITS] == [2, 1, 2]


def test_label_ids_are_mapped_and_licence_plates_are_void(root):
    raw = ids_map(range(35), 1).flatten().tolist()
    expected = [EVALUATED.index(v) if v in EVALUATED else IGNORE for v in raw]
    label = GTA5(root, "train", allow_partial=True).label(0)
    assert torch.equal(label.flatten(), torch.tensor(expected))


def test_a_missing_list_is_one_sentence(root):
    (root / "gta5/split.mat").unlink()
    with one_sentence(DataError, "gta5", "split.mat is missing", "read_mapping.zip"):
        GTA5(root, "train", allow_partial=True)


@pytest.mark.parametrize("content", [b"", b"MATLAB", b"x" * 500])
def test_a_damaged_list_is_one_sentence(root, content):
    (root / "gta5/split.mat").write_bytes(content)
    with one_sentence(DataError, "gta5", "split.mat is not the makers' list", GTA5.home):
        GTA5(root, "train", allow_partial=True)


def test_a_colour_label_is_refused(root):
    photo(root / "gta5/labels/00001.png", 0)
    with pytest.raises(DataError, match="not a single-channel"):
        GTA5(root, "train", allow_partial=True).label(0)
    grey(root / "gta5/labels/00001.png", [7], 0)
    assert GTA5(root, "train", allow_partial=True).label(0).unique().tolist() == [0]
