"""SYNTHIA: sixteen classes in the first of three channels of 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets.base import IGNORE, DataError
from datasets.class_sets import CITYSCAPES_19
from datasets.synthia import TO_CITYSCAPES, Synthia
from tests.datasets.miniatures import MINIATURES, deep_png, ids_map, one_sentence

README = """1 sky, 2 building, 3 road, 4 sidewalk, 5 fence, 6 vegetation, 7 pole, 8 car, 9 traffic sign, 10 person,
11 bicycle, 12 motorcycle, 15 traffic light, 17 rider, 19 bus, 21 wall"""
"""The archive's own table, in Cityscapes' words, without 0 void, 13 parking slot, 14 road work, 22 lane marking, and
16 terrain, 18 truck and 20 train."""

ORDER = """road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, sky, person, rider,
car, bus, motorcycle, bicycle"""


@pytest.fixture
def root(tmp_path):
    MINIATURES["synthia"]["archive"](tmp_path)
    return tmp_path


def words(text):
    return [word.strip() for word in text.split(",")]


def test_classes_are_in_cityscapes_order():
    assert list(Synthia.classes.names) == words(ORDER)


def test_the_table_of_ids():
    rows = dict(row.split(" ", 1) for row in words(README))
    expected = {i: words(ORDER).index(rows[str(i)]) if str(i) in rows else IGNORE for i in range(23)}
    assert Synthia.raw_ids == expected


def test_the_first_channel_is_read_in_all_its_bits(root):
    data = Synthia(root, "train", allow_partial=True)
    expected = [Synthia.raw_ids[v] for v in ids_map(range(23), 0).flatten().tolist()]
    assert data.label(0).flatten().tolist() == expected
    with Image.open(data.items[0].label) as cut:
        assert not np.asarray(cut)[..., 0].any(), "Pillow alone cuts every id to zero"


@pytest.mark.parametrize("channels", [1, 3])
def test_labels_that_were_saved_with_8_bits_are_read_too(root, channels):
    data = Synthia(root, "train", allow_partial=True)
    raw = ids_map(range(23), 5)
    Image.fromarray(raw if channels == 1 else np.stack([raw, raw * 0, raw * 0], axis=2)).save(data.items[0].label)
    assert data.label(0).flatten().tolist() == [Synthia.raw_ids[v] for v in raw.flatten().tolist()]


def test_an_id_above_a_byte_is_refused_not_wrapped(root):
    data = Synthia(root, "train", allow_partial=True)
    deep_png(data.items[0].label, np.full((24, 32, 3), 256 + 3))
    with pytest.raises(DataError, match="id 259"):
        data.label(0)


def test_a_damaged_label_is_one_sentence(root):
    data = Synthia(root, "train", allow_partial=True)
    path = data.items[0].label
    path.write_bytes(path.read_bytes()[:-30])
    with one_sentence(DataError, "synthia", path, Synthia.home):
        data.label(0)


def test_frames_are_split_by_their_numbers(root):
    ids = {split: [item.id for item in Synthia(root, split, allow_partial=True).items] for split in Synthia.splits}
    assert ids == {"train": ["0000000", "0008459"], "val": ["0008460", "0009399"]}
    assert sum(split.count for split in Synthia.splits.values()) == 9400


def test_the_map_to_cityscapes_is_by_name_and_leaves_three_classes_unscored():
    assert [CITYSCAPES_19.names[i] for i in TO_CITYSCAPES.table] == words(ORDER)
    assert {*CITYSCAPES_19.names} - {*words(ORDER)} == {"terrain", "truck", "train"}
    colours = dict(zip(CITYSCAPES_19.names, CITYSCAPES_19.colours, strict=True))
    assert Synthia.classes.colours == tuple(colours[name] for name in Synthia.classes.names)
