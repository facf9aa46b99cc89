"""One picture with its label map, from the split's name and the picture's number alone."""

from __future__ import annotations

import numpy as np

from datasets.base import DataError
from datasets.toyscapes.anomalies import add_anomalies, drawn_anomaly
from datasets.toyscapes.classes import ANOMALY
from datasets.toyscapes.domains import View, expose, fog, night, rain
from datasets.toyscapes.draws import Draw
from datasets.toyscapes.scene import drawn_scene
from datasets.toyscapes.towns import HOME, OTHER

VERSION = "v1"
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

_LEAST_SEEN = 14
"""Pixels of anomaly that a picture of the anomaly split shows at least, at 128x256."""


def render_scene(
    index: int, split: str = "train", size: tuple[int, int] = (128, 256)
) -> tuple[np.ndarray, np.ndarray]:
    """Render picture ``index`` of ``split``: image (H, W, 3) uint8 and label (H, W) uint8 training ids.

    In the anomaly split the label is 1 on unknown objects and 0 elsewhere. The result depends on the
    arguments and ``VERSION`` alone. Raises DataError for a split that does not exist.
    """
    if split not in STREAMS:
        raise DataError(f"toyscapes has no split {split!r}; its splits are {', '.join(STREAMS)}")
    layout, camera = Draw(20, STREAMS[split], index, 0), Draw(20, STREAMS[split], index, 1)
    town = OTHER if split == "other-town" else HOME
    scene = drawn_scene(layout, town, size, lit=split == "night")
    if split == "anomaly":
        add_anomalies(scene, layout)
    canvas = scene.paint(camera)
    if split == "anomaly":
        least = _LEAST_SEEN * size[0] * size[1] / (128 * 256)
        while (canvas.centres(canvas.label) == ANOMALY).sum() < least:
            extra = drawn_anomaly(scene, layout, on_road=True)
            extra.paint(canvas, scene.light)
    view = View(canvas)
    if split == "fog":
        fog(view, camera)
    elif split == "night":
        night(view, camera, scene.light)
    elif split == "rain":
        rain(view, camera)
    image = expose(view, camera)
    label = (view.label == ANOMALY).astype(np.uint8) if split == "anomaly" else view.label
    return image, label
