"""One picture with its label map, from the split's name and the picture's number alone."""

from __future__ import annotations

import numpy as np

from datasets.base import DataError
from datasets.toyscapes.anomalies import add_anomalies, drawn_anomaly
from datasets.toyscapes.canvas import Canvas
from datasets.toyscapes.classes import ANOMALY
from datasets.toyscapes.domains import View, expose, fog, night, rain
from datasets.toyscapes.draws import Draw
from datasets.toyscapes.ground import paint_shadow
from datasets.toyscapes.scene import Scene, drawn_scene
from datasets.toyscapes.towns import HOME, OTHER

VERSION = "v4"
"""Changes whenever any rendered pixel does, and with it the folder of the cache."""

STREAMS = {
    "train": 0,
    "val": 1,
    "test": 2,
    "night": 3,
    "fog": 4,
    "rain": 5,
    "other-town": 6,
    "anomaly": 7,
}
"""The splits and the number that separates their random streams."""

_SEED = 20
_LEAST_SEEN = 14
"""Pixels of anomaly that a picture of the anomaly split shows at least, at 128x256."""


def laid_out(index: int, split: str, size: tuple[int, int]) -> Scene:
    """The scene that picture ``index`` of ``split`` shows, before anything is painted.

    Raises DataError for a split that does not exist.
    """
    if split not in STREAMS:
        raise DataError(f"toyscapes has no split {split!r}; its splits are {', '.join(STREAMS)}")
    draw = Draw(_SEED, STREAMS[split], index, 0)
    town = OTHER if split == "other-town" else HOME
    scene = drawn_scene(draw, town, size, lit=split == "night")
    if split == "anomaly":
        add_anomalies(scene, draw)
    return scene


def render_scene(index: int, split: str = "train", size: tuple[int, int] = (128, 256)) -> tuple[np.ndarray, np.ndarray]:
    """Render picture ``index`` of ``split``: image (H, W, 3) uint8 and label (H, W) uint8 training ids.

    In the anomaly split the label is 1 on unknown objects and 0 elsewhere. The result depends on the
    arguments and ``VERSION`` alone. Raises DataError for a split that does not exist.
    """
    scene = laid_out(index, split, size)
    draw = Draw(_SEED, STREAMS[split], index, 1)
    canvas = scene.paint(draw)
    if split == "anomaly":
        _show_anomalies(canvas, scene, draw)
    view = View(canvas)
    if split == "fog":
        fog(view, draw)
    elif split == "night":
        night(view, draw, scene.light)
    elif split == "rain":
        rain(view, draw)
    image = expose(view, draw)
    label = (view.label == ANOMALY).astype(np.uint8) if split == "anomaly" else view.label
    return image, label


def _show_anomalies(canvas: Canvas, scene: Scene, draw: Draw) -> None:
    """Add unknown objects until enough of them is seen; mostly there is nothing to do."""
    least = _LEAST_SEEN * canvas.camera.rows * canvas.camera.columns / (128 * 256)
    while (canvas.centres(canvas.label) == ANOMALY).sum() < least:
        extra = drawn_anomaly(scene, draw, on_road=True)
        paint_shadow(canvas, extra.footprint, scene.light)
        extra.paint(canvas, scene.light)
