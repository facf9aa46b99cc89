"""ADE20K: zero is no class."""

from __future__ import annotations

import torch

from datasets.ade20k import ADE20K
from datasets.base import IGNORE
from tests.datasets.miniatures import MINIATURES, ids_map


def test_the_table_shifts_by_one_and_voids_zero():
    assert ADE20K.raw_ids[0] == IGNORE
    assert [ADE20K.raw_ids[i] for i in range(1, 151)] == list(range(150))
    assert len(ADE20K.raw_ids) == 151


def test_labels(tmp_path):
    MINIATURES["ade20k"]["archive"](tmp_path)
    data = ADE20K(tmp_path, "train", allow_partial=True)
    raw = torch.from_numpy(ids_map(range(151), 0)).long()
    assert torch.equal(data.label(0), torch.where(raw == 0, IGNORE, raw - 1))


def test_splits_are_the_folders_of_the_release(tmp_path):
    MINIATURES["ade20k"]["archive"](tmp_path)
    assert [i.id for i in ADE20K(tmp_path, "val", allow_partial=True).items] == ["ADE_val_00000001"]
