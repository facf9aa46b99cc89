"""What ``bench data prepare`` does: official archives checked, and files converted that are slow to read as published.

A folder is made beside its place, file by file, and renamed once all are there. So a folder that exists is complete,
and whoever repeats an interrupted command makes what is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool

from filelock import FileLock

from bench.common import files
from bench.common.console import progress
from datasets.base import DataError, Dataset, Roots
from datasets.conversion import Conversion

AHEAD = 64
"""Files that are made before they are written."""


def prepare(plugin: type[Dataset], root: Roots, workers: int) -> Iterator[str]:
    """Check the archives, convert, and say in a sentence each what was done and which splits there are.

    Raises DataError for an archive that is not the published one, for a damaged file, and if there is no split at all.
    """
    yield from check_archives(plugin, root)
    absent: list[DataError] = []
    for split in plugin.splits:
        try:
            conversions = plugin(root, split).conversions()
        except DataError as error:
            absent.append(error)
            continue
        for conversion in conversions:
            make(conversion, workers)
            yield f"made {conversion.folder} of {len(conversion.files)} files"
        dataset = plugin(root, split)
        yield f"{split}: {len(dataset)} images are ready in {dataset.folder}"
    if len(absent) == len(plugin.splits):
        raise absent[0]
    yield from (f"not there: {error}" for error in absent)


def check_archives(plugin: type[Dataset], root: Roots) -> Iterator[str]:
    """Compare the archives that lie in the data set's folder with the sums that are known of them."""
    folder = plugin.unopened(root, next(iter(plugin.splits))).folder
    present = [name for name in plugin.archives if (folder / name).is_file()]
    for name in progress(present, "checking archives", len(present)):
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != plugin.archives[name]:
            raise DataError(
                f"{plugin.name}: the MD5 of {folder / name} is {found}, but that of the official archive is "
                f"{plugin.archives[name]}; fetch it again from {plugin.home}"
            )
        yield f"{name} is the official archive"


def make(conversion: Conversion, workers: int) -> None:
    """Make the folder of ``conversion``, unless it is there."""
    folder = conversion.folder
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")), ThreadPool(workers) as pool:
        if folder.is_dir():
            return
        missing = [name for name in conversion.files if not (unfinished / name).is_file()]
        made = _contents(conversion, missing, pool)
        for name, content in progress(made, f"making {folder.name}", len(missing)):
            # Here and not in the threads, where a signal that waits for the end of a writing would end a thread alone.
            files.write(unfinished / name, content)
        unfinished.rename(folder)


def _contents(conversion: Conversion, names: list[str], pool: ThreadPool) -> Iterator[tuple[str, bytes]]:
    """The bytes of the files called ``names``, of ``AHEAD`` at a time, so that they do not fill the memory."""
    for start in range(0, len(names), AHEAD):
        yield from pool.imap_unordered(lambda name: (name, conversion.files[name]()), names[start : start + AHEAD])
