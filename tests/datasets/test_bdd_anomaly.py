"""BDD-Anomaly: BDD100K parted by whether a frame has a train, a motorcycle or a bicycle."""

from __future__ import annotations

import pytest
import torch

from datasets.base import IGNORE, DataError
from datasets.bdd100k import BDD100K
from datasets.bdd_anomaly import FRAMES, BDDAnomaly
from datasets.class_sets import CITYSCAPES_19
from tests.datasets.miniatures import MINIATURES, grey, ids_map


@pytest.fixture
def root(tmp_path):
    MINIATURES["bdd_anomaly"]["10k"](tmp_path)
    return tmp_path


def ids(root, split):
    return [item.id for item in BDDAnomaly(root, split, allow_partial=True).items]


def test_frames_with_anomalies_of_both_parts_are_test_and_of_none_else(root):
    assert ids(root, "test") == ["0027eed2-60fb0001", "7ed63746-764b90a2"]
    assert ids(root, "train") == ["0a0a0b1a-7c39d841"]
    assert ids(root, "val") == ["7d2f7975-e0c1c5a7"]


def test_the_splits_are_all_of_bdd100k_and_the_list_is_the_test_split():
    counts = {name: split.count for name, split in BDDAnomaly.splits.items()}
    assert counts == {"train": 6280, "val": 910, "test": 810}
    assert sum(counts.values()) == sum(split.count for split in BDD100K.splits.values())
    frames = FRAMES.read_text().split()
    assert len({*frames}) == 810
    assert frames == sorted(frames)


def test_three_classes_are_anomalous_and_the_others_keep_their_ids(root):
    assert CITYSCAPES_19.names[16:] == ("train", "motorcycle", "bicycle")
    assert CITYSCAPES_19.names[:16] == BDDAnomaly.classes.names
    raw = torch.from_numpy(ids_map([*range(19), 255], 0)).long()
    expected = torch.where(raw == 255, IGNORE, (raw >= 16).long())
    assert torch.equal(BDDAnomaly(root, "test", allow_partial=True).label(0), expected)


def test_a_training_frame_with_an_anomaly_is_refused(root):
    data = BDDAnomaly(root, "train", allow_partial=True)
    grey(data.items[0].label, [0, 17], 0)
    with pytest.raises(DataError, match="id 17"):
        data.label(0)
