"""A data set with sparse labels.

The classes here are no plugins: they have no name and are made by ``datasets.supervision.supervise``.
Plugins are found among what the modules directly below ``datasets`` contain, so these classes must not be imported
into this package's ``__init__``.
"""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from bench.common import files
from bench.common.console import progress, remark
from bench.common.labels import histogram
from datasets.base import IGNORE, UNLABELLED, DataError, Dataset, Item, identity
from datasets.loading import follow_parent
from datasets.supervision import cache, official
from datasets.supervision.derive import VERSIONS, derive, generator
from datasets.supervision.kinds import Kind

SAMPLED = 512
"""The labelled fraction is counted on at most so many images, evenly spaced."""
TRAP_SAMPLED = 64
"""Images of a published set in which an unlabelled pixel is looked for."""
TRAP_SHARE = 0.5
"""A published set without unlabelled pixels is no trap if more than this share of all pixels is labelled."""
TRAP_UNLABELLED = 0.05
"""Of pixels without label, the least share that is unlabelled where void is meant: a stray pixel proves nothing."""
_PIXELS_PER_WORKER = 32 * 480 * 360
"""Below this many pixels each, starting another process costs more than it saves."""


class SparseDataset(Dataset):
    """The images of a dense data set with other labels; in everything else it is that data set.

    ``items`` name the sparse label files, so that whatever depends on the labels' bytes sees these.
    """

    def __init__(self, dense: Dataset, kind: Kind, folder: Path, labels: Sequence[Path]) -> None:
        for fact in Dataset.__annotations__:
            setattr(self, fact, getattr(dense, fact))
        self.dense = dense
        """The same images with their dense labels."""
        self.kind = kind
        self.root, self.split = dense.root, dense.split
        self.items = [Item(i.id, i.image, path) for i, path in zip(dense.items, labels)]
        self._cache = folder

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the labels come from: ``official: <folder below the data root>`` or ``derived: <rule>@<version>``."""

    @property
    def folder(self) -> Path:
        """That of the dense data set."""
        return self.dense.folder

    def find(self) -> list[Item]:
        """The items of the dense data set with the sparse label files."""
        return self.items

    def _require_annotated(self, label: Tensor, item: Item) -> None:
        """Pixels without label are what these labels are made of."""

    def decode_image(self, path: Path) -> np.ndarray:
        """As the dense data set decodes it."""
        return self.dense.decode_image(path)

    def labelled_fraction(self) -> float:
        """Labelled pixels over valid pixels, of all images or of ``SAMPLED`` evenly spaced ones.

        Raises DataError for a damaged label file.
        """
        labelled, valid = self._labelled_and_valid()
        return labelled / max(valid, 1)

    def labelled_pixels_per_image(self) -> float:
        """Mean number of labelled pixels of the same images. Raises DataError for a damaged label file."""
        return self._labelled_and_valid()[0] / min(len(self), SAMPLED)

    def _labelled_and_valid(self) -> tuple[int, int]:
        """Pixels, counted once and kept in the cache."""
        path, about = self._cache / "fraction.json", f"labelled and valid pixels of {self._cache.name}"
        try:
            known = json.loads(files.read_sealed(path, about))
            return int(known["labelled"]), int(known["valid"])
        except FileNotFoundError:
            pass
        except files.Damaged as error:
            remark(f"{error}: the labelled pixels are counted again")
        counts = self._counts(SAMPLED)
        labelled, valid = int(counts[: len(self.classes)].sum()), int(counts[:IGNORE].sum())
        cache.write_sealed(path, json.dumps({"labelled": labelled, "valid": valid}).encode(), about)
        return labelled, valid

    def _counts(self, images: int) -> np.ndarray:
        """(256,) pixels of each label in at most ``images`` images, evenly spaced."""
        counts = np.zeros(256, dtype=np.int64)
        for index in np.unique(np.linspace(0, len(self) - 1, min(len(self), images)).round().astype(int)):
            counts += histogram(self.label(int(index)).numpy())
        return counts


class OfficialLabels(SparseDataset):
    """Published label files, or the user's own.

    ``void_is_unlabelled``: their 255 stands for "no label" where the dense label is valid.
    """

    def __init__(
        self, dense: Dataset, kind: Kind, folder: Path, found: official.Official, void_is_unlabelled: bool
    ) -> None:
        super().__init__(dense, kind, folder, found.files)
        self._origin = found.folder
        self._own = found.own
        self._unlabelled_raw_id = found.unlabelled_raw_id
        self._void_is_unlabelled = void_is_unlabelled

    @property
    def source(self) -> str:
        """``official: <folder below the data root>``, whether they are the user's own, how 255 was read if not as void.

        What reads records knows by the first word that the labels have their own files.
        """
        own = ", the user's own" if self._own else ""
        reading = ", 255 read as unlabelled" if self._void_is_unlabelled else ""
        return f"official: {self._origin.relative_to(self.root).as_posix()}{own}{reading}"

    def label_ids(self) -> Mapping[int, int]:
        """C is a valid pixel without label, in own files ``UNLABELLED``, in files of raw ids one of these."""
        if self._unlabelled_raw_id is not None:
            assert self.dense.raw_ids is not None
            return {**self.dense.raw_ids, self._unlabelled_raw_id: UNLABELLED}
        return {**identity(self.classes), self._unlabelled_id: UNLABELLED}

    @property
    def _unlabelled_id(self) -> int:
        """What files of training ids hold for a valid pixel without label."""
        return UNLABELLED if self._own else len(self.classes)

    def label(self, index: int) -> Tensor:
        """Decode the label map alone: (H, W) uint8 training ids with ``UNLABELLED``."""
        label = super().label(index)
        if not self._void_is_unlabelled:
            return label
        dense = self.dense.label(index)
        if dense.shape != label.shape:
            path = self.items[index].label
            (height, width), (dense_height, dense_width) = label.shape, dense.shape
            raise DataError(
                f"{self.name}: label {path} is {width}x{height} but the dense label {self.dense.items[index].label} is "
                f"{dense_width}x{dense_height}; fetch both again"
            )
        return torch.where((label == IGNORE) & (dense != IGNORE), UNLABELLED, label)

    def require_unlabelled(self) -> None:
        """Raises DataError if the set labels no pixel, or calls the rest void although hardly any is labelled."""
        counts = self._counts(TRAP_SAMPLED)
        if counts[: len(self.classes)].sum() == 0 and self._counts(len(self))[: len(self.classes)].sum() == 0:
            raise DataError(
                f"{self.name}: the labels of kind {self.kind} have no labelled pixel in any of {len(self)} images, "
                f"{self.items[0].label} for one, so that nothing could be learnt from them; write 0 to "
                f"{len(self.classes) - 1} where a class is known"
            )
        share = counts[: len(self.classes)].sum() / counts.sum()
        blank = counts[UNLABELLED] + counts[IGNORE]
        if counts[UNLABELLED] < TRAP_UNLABELLED * blank and share <= TRAP_SHARE:
            found = f"hardly any ({counts[UNLABELLED] / blank:.2%})" if counts[UNLABELLED] else "no"
            raise DataError(
                f"{self.name}: the labels of kind {self.kind} have {found} unlabelled pixel, {self.items[0].label} for "
                f"one, since every other without label is {IGNORE} (void), of which nothing could be learnt; write "
                f"{self._unlabelled_id} for unlabelled pixels, or pass --set data.void_is_unlabelled=true to read "
                f"{IGNORE} as unlabelled wherever the dense label is not void"
            )

    def _restore(self, path: Path) -> str:
        return self._remedy() if path in {item.label for item in self.items} else super()._restore(path)

    def _remedy(self) -> str:
        if not self._own:
            return f"fetch it again from where the labels of kind {self.kind} came from, or correct it"
        return (
            f"write it as an index PNG of the image's size with 0 to {len(self.classes) - 1} for classes, "
            f"{UNLABELLED} for unlabelled pixels and {IGNORE} for void"
        )


class DerivedLabels(SparseDataset):
    """Labels derived from the dense ones, kept in ``folder``."""

    def __init__(self, dense: Dataset, kind: Kind, folder: Path, seed: int) -> None:
        super().__init__(dense, kind, folder, [folder / f"{item.id}.sealed" for item in dense.items])
        self.seed = seed

    @property
    def source(self) -> str:
        """``derived: <rule>@<version>``."""
        return f"derived: {self.kind.family}@{VERSIONS[self.kind.family]}"

    def label_ids(self) -> Mapping[int, int]:
        """The cache holds training ids."""
        return {**identity(self.classes), UNLABELLED: UNLABELLED}

    def label(self, index: int) -> Tensor:
        """Decode the label map alone: (H, W) uint8; one that was lost or damaged in the cache is derived again."""
        item = self.items[index]
        try:
            return self.map_ids(cache.read(item.label, self._about(item)), item.label)
        except FileNotFoundError:
            pass
        except files.Damaged as error:
            remark(f"{error}: these labels are derived again")
        return torch.from_numpy(self.write(index))

    def write(self, index: int) -> np.ndarray:
        """Derive the labels of one image, put them into the cache and return them: (H, W) uint8."""
        dense = self.dense.label(index).numpy()
        label = derive(self.kind, dense, generator(self.seed, self.items[index].id, self.kind))
        cache.write(self.items[index].label, label, self._about(self.items[index]))
        return label

    def _about(self, item: Item) -> str:
        return f"labels of {item.id} in {self._cache.name}"

    def check_files(self) -> None:
        """Check the dense data set's files, and derive again what the cache has lost."""
        self.dense.check_files()
        self.complete()

    def complete(self, workers: int | None = None) -> None:
        """Derive what the cache lacks, once though several processes ask; ``workers`` changes the time only."""
        if not self._missing():
            return
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._cache / ".lock")
            lock.acquire()
        except OSError as error:
            raise DataError(
                f"sparse labels cannot be written to {self._cache} ({error.strerror or error}); choose another folder "
                "for results"
            ) from error
        try:
            missing = self._missing(remark)
            if workers is None and missing:
                pixels = len(missing) * self.dense.label(missing[0]).numel()
                workers = min(os.cpu_count() or 1, 8, pixels // _PIXELS_PER_WORKER)
            loader: DataLoader[DataError | None] = DataLoader(
                _Derivation(self, missing),
                batch_size=None,
                num_workers=workers if workers and workers > 1 else 0,
                worker_init_fn=follow_parent,
            )
            for failure in progress(loader, f"deriving {self.kind} of {self.name}/{self.split}", len(missing)):
                if failure is not None:
                    raise failure
        finally:
            lock.release()

    def _missing(self, tell: Callable[[str], None] = lambda text: None) -> list[int]:
        """Indices of the images without whole labels; ``tell`` is told of those that are damaged."""
        missing = []
        for index, item in enumerate(self.items):
            try:
                files.read_sealed(item.label, self._about(item))
            except FileNotFoundError:
                missing.append(index)
            except files.Damaged as error:
                tell(f"{error}: these labels are derived again")
                missing.append(index)
        return missing


class _Derivation(TorchDataset[DataError | None]):
    """Derives the labels of the images ``indices`` as it is read, so that torch's loader shares out the work."""

    def __init__(self, labels: DerivedLabels, indices: Sequence[int]) -> None:
        self.labels, self.indices = labels, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> DataError | None:
        """None, or what went wrong."""
        try:
            self.labels.write(self.indices[number])
        except DataError as error:
            return error
        return None
