"""A small data set decoded once: all images and labels in one file, which every loading process maps into memory.

An image takes three bytes a pixel and a label one. The file's name holds a digest of what the samples depend on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from bench.common import files
from bench.data.fingerprint import describe
from bench.data.reading import read_ahead
from datasets.base import Dataset, Sample
from datasets.supervision.cache import state
from methods.base import Progress


class Decoded:
    """The samples of ``dataset`` out of the file ``path``, where images of these ``sizes`` (H, W) follow each other."""

    def __init__(self, dataset: Dataset, path: Path, sizes: Sequence[tuple[int, int]]) -> None:
        self.classes = dataset.classes
        self.ids = [item.id for item in dataset.items]
        self.path, self.sizes = path, sizes
        self.begins = [0, *accumulate(4 * height * width for height, width in sizes)]

    @cached_property
    def _bytes(self) -> np.ndarray:
        return np.memmap(self.path, np.uint8, mode="c")  # as it is read, in each process; writable for torch's sake

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        """As the data set gives it, without a copy."""
        planes = self._bytes[self.begins[index] : self.begins[index + 1]].reshape(4, *self.sizes[index])
        return Sample(torch.from_numpy(planes[:3]), torch.from_numpy(planes[3]), self.ids[index])


def decoded(dataset: Dataset, facts: object, cache: Path, progress: Progress, note: Callable[[str], None]) -> Decoded:
    """``dataset`` out of a file in ``cache``, which is made if it is not there.

    ``facts`` are what its samples depend on beside its files and ids, with a ``repr`` that tells them apart; ``note``
    is told of a file that is damaged and replaced. Raises DataError for what cannot be decoded.
    """
    told = (describe(dataset), state(path for item in dataset.items for path in (item.image, item.label)))
    key = files.digest(repr((told, dataset.classes.names, sorted(dataset.label_ids().items()), facts)).encode())
    path = cache / f"decoded-{dataset.name}-{dataset.split}-{key[:16]}.bin"
    index, about = path.with_suffix(".index"), f"sizes in the decoded {dataset.name}/{dataset.split}, {key}"
    try:
        known = json.loads(files.read_sealed(index, about))
        files.check(path, known["sha256"])
        return Decoded(dataset, path, [(height, width) for height, width in known["sizes"]])
    except FileNotFoundError:
        pass
    except files.Damaged as error:
        note(f"{error}: the images are decoded again")
    sizes, digest = list[tuple[int, int]](), hashlib.sha256()

    def planes() -> Iterator[memoryview]:
        for sample in progress(read_ahead(dataset), f"decoding {dataset.name}/{dataset.split}", len(dataset)):
            sizes.append((sample.label.shape[0], sample.label.shape[1]))
            for plane in (sample.image, sample.label):
                digest.update(plane.numpy())
                yield plane.numpy().data

    files.write_as_made(path, planes())
    files.write_sealed(index, json.dumps({"sha256": digest.hexdigest(), "sizes": sizes}).encode(), about)
    return Decoded(dataset, path, sizes)
