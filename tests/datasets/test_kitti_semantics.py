"""KITTI semantics: Cityscapes' labelIds, training frames only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datasets.base import IGNORE
from datasets.kitti_semantics import KITTISemantics
from tests.datasets.miniatures import MINIATURES, ids_map

EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
"""The labelIds of road to bicycle, in that order."""


@pytest.fixture
def root(tmp_path):
    MINIATURES["kitti_semantics"]["official"](tmp_path)
    return tmp_path


def test_label_ids_become_cityscapes_classes(root):
    label = KITTISemantics(root, "training", allow_partial=True).label(0)
    raw = ids_map(range(34), 0)
    for train_id, label_id in enumerate(EVALUATED):
        assert (label[torch.from_numpy(raw == label_id)] == train_id).all()
    assert (label[torch.from_numpy(~np.isin(raw, EVALUATED))] == IGNORE).all()


def test_later_frames_that_other_benchmarks_keep_beside_them_are_not_listed(root):
    items = KITTISemantics(root, "training", allow_partial=True).items
    assert [item.id for item in items] == ["000000_10", "000001_10"]
