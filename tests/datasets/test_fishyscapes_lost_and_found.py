"""Fishyscapes Lost & Found: masks find their images by the frame's name."""

from __future__ import annotations

import pytest

from datasets.base import IGNORE, DataError
from datasets.fishyscapes_lost_and_found import FishyscapesLostAndFound
from tests.datasets.miniatures import MINIATURES, one_sentence
from tests.datasets.real import decode_all, open_real


@pytest.fixture
def official(tmp_path):
    MINIATURES["fishyscapes_lost_and_found"]["direct"](tmp_path)
    return tmp_path


def test_masks_find_images_of_both_parts_by_name(official):
    items = FishyscapesLostAndFound(official, "val", allow_partial=True).items
    assert [item.id for item in items] == [
        "0000_04_Maurener_Weg_8_000001_000030",
        "0001_02_Hanns_Klemm_Str_44_000003_000190",
    ]
    assert items[0].image.parts[-3:] == (
        "train",
        "04_Maurener_Weg_8",
        "04_Maurener_Weg_8_000001_000030_leftImg8bit.png",
    )


def test_a_mask_without_its_image_is_named(official):
    gone = FishyscapesLostAndFound(official, "val", allow_partial=True).items[1].image
    gone.unlink()
    with one_sentence(DataError, "1 of 2", "image file", gone):
        FishyscapesLostAndFound(official, "val", allow_partial=True)


@pytest.mark.real
def test_real_photographs():
    data = open_real(FishyscapesLostAndFound, "val")
    assert len(data) == 100
    assert set(decode_all(data, (1024, 2048))) == {0, 1, IGNORE}
    without = [data.items[i].id for i in range(len(data)) if not (data.label(i) == 1).any()]
    assert len(without) == 1, "one frame has no anomaly"
