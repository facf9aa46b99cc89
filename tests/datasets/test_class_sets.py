"""The tables of names and colours, against facts that can be checked by eye."""

from __future__ import annotations

import pytest

from datasets import class_sets
from datasets.class_sets import ADE_150, CAMVID_11, CITYSCAPES_19, IDD_LITE_7, SYNTHIA_16, VOC_21, voc_colour


@pytest.mark.parametrize(
    ("classes", "count"),
    [(CAMVID_11, 11), (IDD_LITE_7, 7), (CITYSCAPES_19, 19), (SYNTHIA_16, 16), (ADE_150, 150), (VOC_21, 21)],
)
def test_sizes(classes, count):
    assert len(classes) == count


@pytest.mark.parametrize(
    ("classes", "index", "name", "colour"),
    [
        (CAMVID_11, 0, "sky", (128, 128, 128)),
        (CAMVID_11, 10, "bicyclist", (0, 128, 192)),
        (CITYSCAPES_19, 0, "road", (128, 64, 128)),
        (CITYSCAPES_19, 13, "car", (0, 0, 142)),
        (CITYSCAPES_19, 18, "bicycle", (119, 11, 32)),
        (SYNTHIA_16, 8, "vegetation", (107, 142, 35)),
        (SYNTHIA_16, 9, "sky", (70, 130, 180)),
        (SYNTHIA_16, 13, "bus", (0, 60, 100)),
        (SYNTHIA_16, 15, "bicycle", (119, 11, 32)),
        (ADE_150, 0, "wall", (120, 120, 120)),
        (ADE_150, 12, "person", (150, 5, 61)),
        (ADE_150, 149, "flag", (92, 0, 255)),
        (IDD_LITE_7, 6, "sky", (70, 130, 180)),
        (VOC_21, 15, "person", (192, 128, 128)),
        (VOC_21, 20, "tvmonitor", (0, 64, 128)),
    ],
)
def test_landmarks(classes, index, name, colour):
    assert (classes.names[index], classes.colours[index]) == (name, colour)


def test_colours_tell_classes_apart():
    for name in ("CAMVID_11", "IDD_LITE_7", "CITYSCAPES_19", "SYNTHIA_16", "VOC_21", "ANOMALY"):
        colours = getattr(class_sets, name).colours
        assert len(set(colours)) == len(colours), name
    # ADE20K's customary palette gives road and skyscraper one colour.
    assert len(set(ADE_150.colours)) == 149


def test_voc_palette_has_256_distinct_colours_and_white_grey_boundary():
    assert len({voc_colour(i) for i in range(256)}) == 256
    assert voc_colour(0) == (0, 0, 0)
    assert voc_colour(1) == (128, 0, 0)
    assert voc_colour(255) == (224, 224, 192)
