"""Folders of files that are made of the official ones, for ``bench data prepare``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from datasets.base import Dataset


class Conversion(NamedTuple):
    """A folder that is made as a whole or not at all."""

    folder: Path
    files: Mapping[str, Callable[[], bytes]]
    """By name of each file in it, what makes its bytes."""


def png(pixels: np.ndarray) -> bytes:
    """A PNG of (H, W) or (H, W, 3) uint8."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def label_png(dataset: Dataset, index: int) -> bytes:
    """A PNG of the training ids of an image. Raises DataError if its label is damaged."""
    return png(dataset.label(index).numpy())
