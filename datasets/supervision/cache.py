"""Sparse label maps on disk: small PNG files, derived once, read back in every epoch.

The folder's name holds a digest of everything that the labels depend on, so what is in it never goes stale. Files
are written beside their place and renamed, so what has a name is whole, whatever was killed and whenever.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datasets.base import DataError, Dataset
from datasets.integrity import DECODING_ERRORS, check_image


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
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def is_whole(path: Path) -> bool:
    """Whether there is an image with a header and an end."""
    try:
        check_image(path)
    except DECODING_ERRORS:
        return False
    return True


def write(path: Path, label: np.ndarray) -> None:
    """Write a label map (H, W) uint8 as PNG. Raises DataError where nothing can be written."""
    with atomic(path) as temporary:
        Image.fromarray(label).save(temporary, format="PNG")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file that replaces ``path`` if all goes well. Raises DataError where nothing can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"sparse labels cannot be written to {path} ({error.strerror or error}); free space there, or choose "
            "another folder for results"
        ) from error


@contextmanager
def progress(title: str, count: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr where that is a terminal and BENCH_QUIET is not 1."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = os.environ.get("BENCH_QUIET") == "1" or not console.is_terminal
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task(title, total=count)
        yield lambda: bar.advance(task)
