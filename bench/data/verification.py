"""Every file of a data set read, for ``bench data verify``: all that is wrong with it, and what is in it.

Threads share the work, since decoding and counting leave Python's lock to others. An image is forgotten once it is
counted, so that memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.common.console import progress
from bench.common.labels import histogram
from bench.data.fingerprint import describe
from datasets.base import IGNORE, UNLABELLED, DataError, Dataset, Item, Roots
from datasets.integrity import reason

MOSTLY_VOID = 0.5
"""From this share of void pixels on, a split is said to be scored on the others alone."""


class Look(NamedTuple):
    """What one image with its label is."""

    size: tuple[int, int] | None
    """Width and height of the image; None if it cannot be decoded."""
    pixels: dict[int, int]
    """Pixels of the label by raw id."""
    digest: bytes
    """SHA-256 of the bytes of both files."""
    problems: tuple[str, ...]


@dataclass
class SplitReport:
    """What one split is."""

    folder: str
    expected: int | None
    """Images in the official release; None where no number is fixed."""
    images: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    """Images by WIDTHxHEIGHT."""
    pixels: Counter[str] = field(default_factory=Counter)
    """Pixels by class, or void, unlabelled, unknown."""
    digest: str = ""
    """SHA-256 over all ids and the bytes of all files: two copies of which it is equal are the same."""
    fingerprint: str | None = None
    """As in the records of runs; None if files are missing."""
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What is unusual and no mistake."""


def look(dataset: Dataset, item: Item) -> Look:
    """Read the files of ``item``, a damaged or missing one too."""
    problems: list[str] = []
    digest = hashlib.sha256()

    def read(path: Path, check: Callable[[Path], object], decode: Callable[[Path], np.ndarray]) -> np.ndarray | None:
        try:
            digest.update(path.read_bytes())
            check(path)
            return decode(path)
        except FileNotFoundError:
            problems.append(f"{item.id}: there is no {path}")
        except Exception as error:  # noqa: BLE001 - on damaged files decoders raise anything
            problems.append(f"{path} cannot be decoded ({reason(error)})")
        return None

    image = read(item.image, dataset.check_image, dataset.decode_image)
    label = read(item.label, dataset.check_label, dataset.decode_label)
    pixels: dict[int, int] = {}
    if label is not None and (label.ndim != 2 or not np.issubdtype(label.dtype, np.integer)):
        problems.append(f"{item.label} is {label.dtype} of shape {label.shape}, not integers of one channel")
    elif label is not None:
        pixels = _counts(label)
        if unknown := [str(raw) for raw in pixels if raw not in dataset.label_ids()]:
            problems.append(f"{item.label} holds ids that the data set does not have: {', '.join(unknown[:5])}")
        if image is not None and image.shape[:2] != label.shape:
            (height, width), (high, wide) = image.shape[:2], label.shape
            problems.append(f"{item.image} is {width}x{height} but its label {item.label} is {wide}x{high}")
    return Look(None if image is None else image.shape[1::-1], pixels, digest.digest(), tuple(problems))


def _counts(label: np.ndarray) -> dict[int, int]:
    if label.dtype == np.uint8:
        return {raw: count for raw, count in enumerate(histogram(label)) if count}
    return {int(raw): int(count) for raw, count in zip(*np.unique(label, return_counts=True))}


def verify(plugin: type[Dataset], root: Roots, splits: Iterable[str], workers: int) -> dict[str, SplitReport]:
    """Read every file of ``splits``, be it in several of them, once. Raises DataError for a split that there is not."""
    tallies = [Tally(plugin.unopened(root, split)) for split in splits]
    owners: dict[Item, list[Tally]] = {}
    for tally in tallies:
        for item in tally.list_files():
            owners.setdefault(item, []).append(tally)
    with ThreadPool(workers) as pool:
        looks = pool.imap(lambda entry: look(entry[1][0].dataset, entry[0]), owners.items(), chunksize=8)
        for (item, sharing), seen in zip(owners.items(), progress(looks, f"verifying {plugin.name}", len(owners))):
            for tally in sharing:
                tally.add(item, seen)
    return {tally.dataset.split: tally.report() for tally in tallies}


class Tally:
    """Adds up what the images of a split are."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.names = ("in-distribution", "anomaly") if dataset.task == "anomaly" else dataset.classes.names
        self.found = SplitReport(str(dataset.folder), dataset.splits[dataset.split].count)
        self.digest = hashlib.sha256()
        self.raw: Counter[int] = Counter()
        self.without_anomaly = 0

    def list_files(self) -> list[Item]:
        """The items of the split, made if the data set makes itself; none if its lists cannot be read."""
        try:
            self.dataset.provide()
            self.dataset.items = sorted(self.dataset.find())
        except DataError as error:
            self.found.problems.append(str(error))
        self.found.images = len(self.dataset)
        return self.dataset.items

    def add(self, item: Item, seen: Look) -> None:
        """Count one image, in the order of the split."""
        ids = self.dataset.label_ids()
        self.digest.update(item.id.encode(errors="surrogateescape") + b"\0" + seen.digest)
        self.found.problems += seen.problems
        if seen.size is not None:
            self.found.sizes[f"{seen.size[0]}x{seen.size[1]}"] += 1
        self.raw.update(seen.pixels)
        self.without_anomaly += bool(seen.pixels) and not any(ids.get(raw) == 1 for raw in seen.pixels)

    def report(self) -> SplitReport:
        """What was found, with what it means for the split."""
        found, ids = self.found, self.dataset.label_ids()
        names = {**dict(enumerate(self.names)), IGNORE: "void", UNLABELLED: "unlabelled", -1: "unknown"}
        for raw, count in self.raw.items():
            found.pixels[names[ids.get(raw, -1)]] += count
        found.pixels = Counter({name: found.pixels[name] for name in names.values() if found.pixels[name]})
        found.digest = self.digest.hexdigest()
        found.problems += [*self._of_the_split()]
        if not self.dataset.items:
            return found
        found.remarks += self._remarks()
        if all(path.is_file() for item in self.dataset.items for path in (item.image, item.label)):
            found.fingerprint = describe(self.dataset).fingerprint
        return found

    def _of_the_split(self) -> Iterator[str]:
        dataset, found = self.dataset, self.found
        if not dataset.folder.is_dir():
            yield f"there is no folder {dataset.folder}"
        elif not found.images and not found.problems:
            yield f"no image of split {dataset.split} was found"
        elif found.expected is not None and found.images < found.expected:
            yield f"split {dataset.split} has {found.images} images, the release {found.expected}"
        twice = [name for name, count in Counter(item.id for item in dataset.items).items() if count > 1]
        yield from (f"{name} is the id of several images of split {dataset.split}" for name in twice)
        if dataset.split == dataset.train_split and found.pixels["unlabelled"]:
            yield f"labels of the training split {dataset.split} have pixels without label ({UNLABELLED})"

    def _remarks(self) -> Iterator[str]:
        dataset, found, ids = self.dataset, self.found, self.dataset.label_ids()
        yield from dataset.remarks()
        if found.expected is not None and found.images > found.expected:
            yield f"{found.images - found.expected} more images than the release's {found.expected}"
        if dataset.task == "anomaly":
            odd = ", ".join(str(raw) for raw in sorted(self.raw) if ids.get(raw) == 1 != raw)
            if odd:
                yield f"an anomaly is {odd} in the files"
            if IGNORE not in ids.values():
                yield "there is no void, so that every pixel counts"
            if self.without_anomaly:
                yield f"images without any anomaly: {self.without_anomaly} of {found.images}"
        void = found.pixels["void"] / max(found.pixels.total(), 1)
        if void > MOSTLY_VOID:
            yield f"{void:.0%} of the pixels are void, the others alone count"
        if never := [name for name in self.names if not found.pixels[name]]:
            yield f"in no label: {', '.join(never)}"
