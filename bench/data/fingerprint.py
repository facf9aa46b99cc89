"""Which data it is: hashes by which a record knows the images and labels that its run was trained and scored with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from bench.data.reading import evenly
from bench.schema.record import DatasetInfo
from datasets.base import Dataset

T = TypeVar("T")

SAMPLED_FILES = 16
"""Files of a split, evenly spaced, that enter its fingerprint with their bytes."""


def describe(dataset: Dataset) -> DatasetInfo:
    """Number of images; SHA-256 over all ids and the bytes of evenly spaced label files; and ``content``."""
    digest = hashlib.sha256()
    for item in dataset.items:
        digest.update(item.id.encode(errors="surrogateescape") + b"\0")
    for item in _spaced(dataset.items):
        digest.update(item.label.read_bytes())
    return DatasetInfo(
        name=dataset.name,
        split=dataset.split,
        images=len(dataset),
        fingerprint=digest.hexdigest(),
        content=content([item.image for item in dataset.items], [item.label for item in dataset.items]),
    )


def content(*groups: Sequence[Path]) -> str:
    """SHA-256 over the sizes of all files and the bytes of evenly spaced ones of each group.

    Reading all of a large data set would take as long as an epoch. A change that keeps a file's size is seen in those
    that are read.
    """
    digest = hashlib.sha256()
    for paths in groups:
        digest.update(repr([path.stat().st_size for path in paths]).encode())
        for path in _spaced(paths):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _spaced(things: Sequence[T]) -> list[T]:
    return [things[i] for i in evenly(things, SAMPLED_FILES)]
