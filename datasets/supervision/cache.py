"""Sparse label maps on disk: small sealed PNG files, derived once, read back in every epoch.

The folder's name holds a digest of everything that the labels depend on, so what is in it never goes stale.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.common import files
from datasets.base import DataError, Dataset


def folder_of(cache: Path, dataset: Dataset, *facts: object) -> Path:
    """The folder of the labels that follow from ``facts`` and the label files of ``dataset``."""
    table = sorted(dataset.label_ids().items())
    content = (dataset.classes.names, table, [i.id for i in dataset.items], state(i.label for i in dataset.items))
    readable = re.sub(r"[^\w.-]+", "_", "-".join(map(str, (dataset.name, dataset.split, *facts))))
    return cache / "supervision" / f"{readable}-{_digest(repr(content))}"


def state(files: Iterable[Path]) -> str:
    """A digest of files by size and time of change: reading them all would take as long as decoding them."""
    return _digest(repr([(s.st_size, s.st_mtime_ns) for s in (path.stat() for path in files)]))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def read(path: Path, about: str) -> np.ndarray:
    """A label map (H, W) uint8. Raises Damaged, FileNotFoundError, or OSError for a file that cannot be read."""
    with Image.open(io.BytesIO(files.read_sealed(path, about))) as image:
        return np.asarray(image)


def write(path: Path, label: np.ndarray, about: str) -> None:
    """Write a label map (H, W) uint8 as a sealed PNG. Raises DataError where nothing can be written."""
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, format="PNG")
    write_sealed(path, buffer.getvalue(), about)


def write_sealed(path: Path, content: bytes, about: str) -> None:
    """Write a sealed file. Raises DataError where nothing can be written."""
    try:
        files.write_sealed(path, content, about)
    except OSError as error:
        raise DataError(
            f"sparse labels cannot be written to {path} ({error.strerror or error}); free space there, or choose "
            "another folder for results"
        ) from error
