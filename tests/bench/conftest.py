"""A small data set and one processor to train on."""

from __future__ import annotations

import pytest

from bench.training import ranks
from datasets.toyscapes_mini import ToyscapesMini


@pytest.fixture(scope="session")
def mini(data_root):
    return ToyscapesMini(data_root, "train")


@pytest.fixture(scope="session")
def fabric():
    return ranks.make_fabric("cpu", "32")
