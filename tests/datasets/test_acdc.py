"""ACDC: four conditions, together and each."""

from __future__ import annotations

import pytest

from datasets.acdc import ACDC
from datasets.base import DataError
from tests.datasets.miniatures import MINIATURES, one_sentence


@pytest.fixture
def root(tmp_path):
    MINIATURES["acdc"]["direct"](tmp_path)
    return tmp_path


def ids(root, split):
    return [item.id for item in ACDC(root, split, allow_partial=True).items]


def test_val_is_all_conditions_and_each_has_a_split(root):
    every = [
        "fog/GOPR0475_frame_000041",
        "night/GOPR0351_frame_000041",
        "rain/GOPR0400_frame_000041",
        "snow/GOPR0122_frame_000041",
    ]
    assert ids(root, "val") == ids(root, "train") == every
    assert [ids(root, f"val-{condition}") for condition in ("fog", "night", "rain", "snow")] == [[i] for i in every]


def test_train_and_val_are_different_files(root):
    train, val = (ACDC(root, split, allow_partial=True).items for split in ("train", "val"))
    assert not {item.image for item in train} & {item.image for item in val}
    assert not {item.label for item in train} & {item.label for item in val}


def test_a_condition_that_was_not_downloaded_leaves_val_incomplete(root):
    for path in (root / "acdc/rgb_anon/night/val").rglob("*.png"):
        path.unlink()
    assert len(ids(root, "val")) == 3
    with one_sentence(DataError, "no image of split 'val-night'"):
        ACDC(root, "val-night", allow_partial=True)
