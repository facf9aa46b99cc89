"""The two values of a label map that are no class, for data sets, methods and metrics alike; how often each occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

IGNORE = 255
"""Label of a pixel that does not exist for training or scoring: void, padding, outside."""

UNLABELLED = 254
"""Label of a valid pixel without annotation (sparse supervision)."""


def histogram(labels: np.ndarray) -> list[int]:
    """Pixels of each value, 0 to 255, of a label map (H, W) uint8.

    Pillow counts several times as fast as NumPy and torch, and without Python's lock, which other threads want.
    """
    from PIL import Image

    return Image.fromarray(labels).histogram()
