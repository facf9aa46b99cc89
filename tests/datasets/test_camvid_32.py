"""CamVid in 32 classes: labels are colours, splits are SegNet's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets.base import IGNORE, DataError
from datasets.camvid_32 import CamVid11, CamVid32, split_of
from tests.datasets.miniatures import CAMVID_32_COLOURS, MINIATURES, ids_map, one_sentence


@pytest.fixture
def root(tmp_path):
    MINIATURES["camvid_32"]["official"](tmp_path)
    return tmp_path


def test_names_and_colours_are_the_makers():
    table = dict(zip(CamVid32.classes.names, CamVid32.classes.colours, strict=True))
    assert {**table, "Void": (0, 0, 0)} == CAMVID_32_COLOURS
    assert len(CAMVID_32_COLOURS) == 32


def test_each_colour_is_its_class_and_black_is_void(root):
    data = CamVid32(root, "train", allow_partial=True)
    assert data.items[0].id == "0001TP_006690"
    written = ids_map(range(32), 0)
    names = [*CAMVID_32_COLOURS]
    for place, name in enumerate(names):
        expected = IGNORE if name == "Void" else CamVid32.classes.names.index(name)
        assert (data.label(0).numpy()[written == place] == expected).all()


@pytest.mark.parametrize("colour", [(64, 128, 65), (255, 255, 255), (0, 0, 1)])
def test_another_colour_is_named_with_its_file(root, colour):
    data = CamVid32(root, "train", allow_partial=True)
    path = data.items[0].label
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[3, 5] = colour
    Image.fromarray(pixels).save(path)
    with one_sentence(DataError, path, f"colour {colour}"):
        data.label(0)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("0001TP_006690", "train"),
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0001TP_010380", "test"),
        ("0006R0_f00930", "train"),
        ("0016E5_00390", "train"),
        ("0016E5_07959", "val"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f00000", "test"),
    ],
)
def test_frames_are_split_as_segnet_splits_them(name, split):
    assert split_of(name) == split


def test_eleven_keeps_what_mseg_keeps_and_makes_all_else_void(root):
    kept = {
        "Building": "building", "Tree": "tree", "Sky": "sky", "Car": "car", "SignSymbol": "sign symbol", "Road": "road",
        "Pedestrian": "pedestrian", "Fence": "fence", "Column_Pole": "pole", "Sidewalk": "pavement",
        "Bicyclist": "bicyclist",
    }  # fmt: skip
    data, full = CamVid11(root, "test", allow_partial=True), CamVid32(root, "test", allow_partial=True)
    assert data.items == full.items
    for index, name in enumerate(full.classes.names):
        seen = data.label(0)[full.label(0) == index].unique().tolist()
        assert seen == [data.classes.names.index(kept[name]) if name in kept else IGNORE]


@pytest.mark.real
def test_real_frames_are_split_as_those_of_camvid():
    from datasets.camvid import CamVid
    from tests.datasets.real import open_real

    for split in CamVid32.splits:
        assert {split_of(item.id) for item in open_real(CamVid, split).items} == {split}
