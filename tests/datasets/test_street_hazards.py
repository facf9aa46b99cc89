"""StreetHazards: thirteen classes from id 1 on, and id 14 for anomalies."""

from __future__ import annotations

import torch

from datasets.base import IGNORE
from datasets.street_hazards import StreetHazards
from tests.datasets.miniatures import MINIATURES, ids_map

TABLE = """1 unlabeled, 2 building, 3 fence, 4 other, 5 pedestrian, 6 pole, 7 road line, 8 road, 9 sidewalk,
10 vegetation, 11 car, 12 wall, 13 traffic sign"""
"""Ids in the files: those of the makers' table plus 1."""


def test_classes_are_in_the_makers_order():
    rows = [row.strip().split(" ", 1) for row in TABLE.split(",")]
    assert [name for _, name in rows] == [*StreetHazards.classes.names]
    assert {int(raw): i for i, (raw, _) in enumerate(rows)} | {0: IGNORE} == StreetHazards.raw_ids


def test_the_last_id_is_anomalous_and_no_training_label(tmp_path):
    MINIATURES["street_hazards"]["official"](tmp_path)
    test = StreetHazards(tmp_path, "test", allow_partial=True)
    assert [item.id for item in test.items] == ["t5/300", "t6/300"], "names recur across towns"
    assert torch.equal(test.label(0), torch.from_numpy(ids_map(range(1, 15), 3) == 14).long())
    train = StreetHazards(tmp_path, "train", allow_partial=True)
    assert torch.equal(train.label(0), torch.from_numpy(ids_map(range(1, 14), 0)).long() - 1)
    assert 14 not in train.label_ids()
