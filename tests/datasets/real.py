"""The real photographs, for tests marked ``real``: they run where $BENCH_REAL_DATA names a folder of data
sets."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets.base import IGNORE, Dataset, MissingData


def open_real(plugin: type[Dataset], split: str) -> Dataset:
    """The complete split, or a skip where the photographs are not there."""
    root = os.environ.get("BENCH_REAL_DATA")
    if not root:
        pytest.skip("BENCH_REAL_DATA names no folder of real data")
    try:
        return plugin(Path(root), split)
    except MissingData as error:
        pytest.skip(str(error))


def decode_all(data: Dataset, size: tuple[int, int]) -> Counter[int]:
    """Decode every sample, check its shape, and count the pixels of each label."""
    data.check_files()
    pixels = np.zeros(256, dtype=np.int64)
    for index in range(len(data)):
        image, label, _ = data[index]
        assert image.shape == (3, *size)
        assert label.shape == size
        assert image[:, ::8, ::8].numpy().std() > 1, "an image without content"
        pixels += np.bincount(label.numpy().ravel(), minlength=256)
    ids = range(2) if data.task == "anomaly" else range(len(data.classes))
    assert set(np.flatnonzero(pixels).tolist()) <= {*ids, IGNORE}
    return Counter({i: int(n) for i, n in enumerate(pixels) if n})
