"""The anomaly split: unknown objects in every picture, of many sizes, on the road and off it."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.toyscapes import Toyscapes
from datasets.toyscapes.anomalies import SHAPES, TEXTURES, Anomaly
from datasets.toyscapes.render import STREAMS, laid_out, render_scene

SIZE = (128, 256)
COUNT = Toyscapes.splits["anomaly"].count or 0


@pytest.fixture(scope="module")
def objects() -> list[tuple[Anomaly, float, bool]]:
    """Each unknown object of the split with its height in pixels and whether it is on the road."""
    found = []
    for index in range(COUNT):
        scene = laid_out(index, "anomaly", SIZE)
        for thing in scene.things:
            if isinstance(thing, Anomaly):
                pixels = 2.0 * thing.size * scene.camera.focal / thing.z
                away = abs(thing.x - scene.street.middle(thing.z))
                found.append((thing, pixels, away < scene.street.half))
    return found


def test_every_picture_shows_some():
    assert COUNT > 0
    for index in range(COUNT):
        label = render_scene(index, "anomaly", (64, 128))[1]
        assert set(np.unique(label)) == {0, 1}, index


def test_they_are_few_pixels():
    share = np.mean([render_scene(index, "anomaly", (64, 128))[1].mean() for index in range(16)])
    assert 0.002 < share < 0.05


def test_sizes_span_six_to_forty_pixels(objects):
    pixels = np.array([size for _, size, _ in objects])
    assert pixels.min() >= 4.0
    assert pixels.max() <= 45.0
    assert (pixels < 10).mean() > 0.1
    assert (pixels > 20).mean() > 0.1


def test_on_and_off_the_road(objects):
    share = np.mean([on_road for _, _, on_road in objects])
    assert 0.3 < share < 0.8


def test_every_shape_and_texture_occurs(objects):
    assert {thing.shape for thing, _, _ in objects} == set(SHAPES)
    assert {thing.texture for thing, _, _ in objects} == set(TEXTURES)


@pytest.mark.parametrize("split", [name for name in STREAMS if name != "anomaly"])
def test_no_other_split_has_any(split: str):
    for index in range(10):
        assert not any(isinstance(thing, Anomaly) for thing in laid_out(index, split, SIZE).things)


def test_they_are_not_brighter_than_the_rest():
    inside, outside = [], []
    for index in range(16):
        image, label = render_scene(index, "anomaly", (64, 128))
        inside.append(image[label == 1].mean())
        outside.append(image[32:][label[32:] == 0].mean())
    assert 0.65 < np.mean(inside) / np.mean(outside) < 1.35
