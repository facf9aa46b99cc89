"""A small data set and one processor to train on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.training import ranks
from datasets.toyscapes_mini import ToyscapesMini


@pytest.fixture(scope="session")
def mini(data_root):
    return ToyscapesMini(data_root, "train")


@pytest.fixture(scope="session")
def fabric():
    return ranks.make_fabric("cpu", "32")


@pytest.fixture
def photo(tmp_path):
    """An image of a size that no stride divides."""
    pixels = np.random.default_rng(0).integers(0, 256, (61, 94, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"
