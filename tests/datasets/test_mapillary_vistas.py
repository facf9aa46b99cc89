"""Mapillary Vistas: 65 classes, and the same files in Cityscapes' nineteen."""

from __future__ import annotations

import pytest
import torch

from datasets.base import IGNORE
from datasets.class_sets import CITYSCAPES_19
from datasets.mapillary_vistas import MapillaryVistas, MapillaryVistas19
from tests.datasets.miniatures import MINIATURES, ids_map

AS_CITYSCAPES = {
    13: 0, 24: 0, 41: 0, 2: 1, 15: 1, 17: 2, 6: 3, 3: 4, 45: 5, 47: 5, 48: 6, 50: 7, 30: 8, 29: 9, 27: 10, 19: 11,
    20: 12, 21: 12, 22: 12, 55: 13, 61: 14, 54: 15, 58: 16, 57: 17, 52: 18,
}  # fmt: skip
"""The table of RobustNet's loader: id to training id of Cityscapes; all others are void."""


def test_the_reading_in_cityscapes_classes_is_that_of_papers_on_generalisation():
    assert {i: AS_CITYSCAPES.get(i, IGNORE) for i in range(66)} == MapillaryVistas19.raw_ids
    assert MapillaryVistas19.classes is CITYSCAPES_19


@pytest.mark.parametrize("variant", MINIATURES["mapillary_vistas"])
def test_both_read_the_labels_of_version_1(tmp_path, variant):
    MINIATURES["mapillary_vistas"][variant](tmp_path)
    raw = torch.from_numpy(ids_map(range(66), 2)).long()
    assert torch.equal(MapillaryVistas(tmp_path, "val", allow_partial=True).label(0), raw.where(raw < 65, IGNORE))
    nineteen = MapillaryVistas19(tmp_path, "val", allow_partial=True).label(0)
    assert nineteen.flatten().tolist() == [AS_CITYSCAPES.get(i, IGNORE) for i in raw.flatten().tolist()]
