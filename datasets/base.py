"""The dataset contract: what a dataset plugin is.

A dataset is one class. It names its classes, its splits and where its files lie, lists them in ``find``, and
inherits the rest: decoding, mapping raw label ids to training ids, and refusing what is missing or damaged with one
sentence. Labels that leave a dataset are training ids 0..C-1, or ``IGNORE`` (void, outside), or ``UNLABELLED``
(a valid pixel without annotation, under sparse supervision). Anomaly splits yield 0 in-distribution, 1 anomalous,
``IGNORE`` void instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

IGNORE = 255
"""Label of a pixel that does not exist for training or scoring: void, padding, outside."""

UNLABELLED = 254
"""Label of a valid pixel that nobody annotated (sparse supervision)."""

Task = Literal["segmentation", "anomaly"]


class DataError(Exception):
    """Missing, incomplete or damaged data: one sentence with the remedy, shown without a traceback."""


@dataclass(frozen=True)
class ClassSet:
    """The classes of a dataset in training-id order."""

    name: str
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colours) or len(set(self.names)) != len(self.names):
            raise ValueError(f"class set {self.name!r} needs distinct names and one colour for each")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ClassMap:
    """A lookup table from the training ids of one class set to those of another."""

    source: str
    target: str
    table: tuple[int, ...]
    """``table[i]`` is the target id of source class i, or ``IGNORE`` where it has no counterpart."""
    note: str = ""
    """Where the map comes from and what is known to be wrong with it."""

    @classmethod
    def by_name(cls, source: ClassSet, target: ClassSet, pairs: Mapping[str, str], note: str = "") -> ClassMap:
        """Build the table from class names; source classes not in ``pairs`` have no counterpart."""
        unknown = [n for n in pairs if n not in source.names] + [n for n in pairs.values() if n not in target.names]
        if unknown:
            raise ValueError(f"class map {source.name} to {target.name} names unknown classes: {unknown}")
        table = tuple(target.names.index(pairs[n]) if n in pairs else IGNORE for n in source.names)
        return cls(source.name, target.name, table, note)


@dataclass(frozen=True)
class Split:
    """One split of a dataset."""

    count: int | None
    """Images in the official release; None where no number is fixed."""
    task: Task = "segmentation"
    note: str = ""


@dataclass(frozen=True)
class Target:
    """Another dataset's split on which a model trained on this dataset is scored."""

    dataset: str
    split: str
    class_map: ClassMap | None = None
    """From the source's classes to the target's; None where both have the same class set, and for anomaly targets."""


class Item(NamedTuple):
    """The files of one image."""

    id: str
    image: Path
    label: Path


class Sample(NamedTuple):
    """One decoded image with its label map."""

    image: Tensor
    """(3, H, W) uint8 RGB."""
    label: Tensor
    """(H, W) int64 training ids."""
    id: str


class Dataset(ABC):
    """A dataset plugin: subclass it in one file. ``name`` is also its folder under the data root."""

    name: ClassVar[str]
    title: ClassVar[str]
    classes: ClassVar[ClassSet]
    splits: ClassVar[Mapping[str, Split]]
    train_split: ClassVar[str | None] = "train"
    """None for datasets that only serve evaluation."""
    eval_splits: ClassVar[Sequence[str]] = ("val",)
    """Splits of the closed-set protocol, the headline first."""
    selection_split: ClassVar[str | None] = "val"
    """Where thresholds and checkpoints may be selected."""
    cross_domain: ClassVar[Sequence[Target]] = ()
    anomaly: ClassVar[Sequence[Target]] = ()
    home: ClassVar[str] = ""
    """Where to get the data."""
    licence: ClassVar[str] = ""
    layout: ClassVar[str] = ""
    """The folder layout under ``<root>/<name>/``, as shown to a user whose data was not found."""
    citation: ClassVar[str] = ""
    raw_ids: ClassVar[Mapping[int, int] | None] = None
    """Raw label id to training id, each possible raw id listed; None where files hold training ids and 255."""
    anomaly_ids: ClassVar[Mapping[int, int]] = {0: 0, 1: 1, 255: IGNORE}
    """The same for splits of the anomaly task."""

    def __init__(self, root: Path, split: str, *, allow_partial: bool = False) -> None:
        """Find the files of ``split`` under ``root/name``.

        ``allow_partial`` accepts fewer images than the release has. Raises DataError naming what was looked for,
        where, what was found and how to get it.
        """
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}; its splits are {', '.join(self.splits)}")
        self.root = Path(root)
        self.split = split
        self.items: list[Item] = []
        self.provide()
        self.items = sorted(self.find())
        self._require(allow_partial)

    @property
    def folder(self) -> Path:
        """``<root>/<name>``, where the official layout begins."""
        return self.root / self.name

    @property
    def task(self) -> Task:
        """What the labels of this split mean."""
        return self.splits[self.split].task

    def provide(self) -> None:  # noqa: B027 - an optional hook
        """Make the files if the dataset can do so itself (toyscapes renders them)."""

    @abstractmethod
    def find(self) -> list[Item]:
        """List the files of ``self.split`` below ``self.folder``; an absent folder yields an empty list.

        Every image is listed, with the path where its label must be: that it exists is checked by the caller.
        """

    def decode_image(self, path: Path) -> np.ndarray:
        """Decode to RGB uint8 (H, W, 3)."""
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode to the raw ids of the file, integer (H, W); palettes are indices, not colours."""
        with Image.open(path) as image:
            return np.asarray(image)

    def label_ids(self) -> Mapping[int, int]:
        """Raw id to training id for this split."""
        if self.task == "anomaly":
            return self.anomaly_ids
        if self.raw_ids is not None:
            return self.raw_ids
        return {**{i: i for i in range(len(self.classes))}, IGNORE: IGNORE}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        """Decode image and label; raises DataError naming the file if either is damaged or they do not fit."""
        item = self.items[index]
        try:
            pixels = self.decode_image(item.image)
        except (OSError, ValueError, SyntaxError) as error:
            raise self._damaged(item.image, error) from error
        label = self.label(index)
        if pixels.shape[:2] != tuple(label.shape):
            raise DataError(
                f"{self.name}: image {item.image} is {pixels.shape[1]}x{pixels.shape[0]} but its label {item.label} "
                f"is {label.shape[1]}x{label.shape[0]}; fetch both again from {self.home}"
            )
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return Sample(image, label, item.id)

    def label(self, index: int) -> Tensor:
        """Decode the label map alone: (H, W) int64 training ids."""
        path = self.items[index].label
        try:
            raw = self.decode_label(path)
        except (OSError, ValueError, SyntaxError) as error:
            raise self._damaged(path, error) from error
        return self.map_ids(raw, path)

    def map_ids(self, raw: np.ndarray, path: Path) -> Tensor:
        """Training ids (H, W) int64 of raw ids; raises DataError naming the file and an id without meaning."""
        if raw.ndim != 2 or not np.issubdtype(raw.dtype, np.integer):
            raise DataError(
                f"{self.name}: label {path} is not a single-channel integer map but {raw.dtype} of shape {raw.shape}; "
                f"fetch it again from {self.home}"
            )
        ids = self.label_ids()
        low = min(ids)
        table = np.full(max(ids) - low + 1, -1, dtype=np.int64)
        for key, value in ids.items():
            table[key - low] = value
        shifted = raw.astype(np.int64) - low
        inside = (shifted >= 0) & (shifted < len(table))
        mapped = table[np.where(inside, shifted, 0)]
        mapped[~inside] = -1
        if (mapped < 0).any():
            unknown = sorted({int(v) for v in np.unique(raw[mapped < 0])})
            raise DataError(
                f"{self.name}: label {path} holds id {', '.join(map(str, unknown[:5]))}, which is outside the known ids "
                f"of this data set; fetch the file again from {self.home} or correct it"
            )
        return torch.from_numpy(mapped)

    def _require(self, allow_partial: bool) -> None:
        want = self.splits[self.split].count
        where = f"Expected layout under {self.folder}: {self.layout} Get it from {self.home}"
        if not self.items:
            state = "exists but holds no such image" if self.folder.is_dir() else "does not exist"
            raise DataError(
                f"{self.name}: no image of split {self.split!r} was found, {self.folder} {state}; "
                f"pass --data-root or set BENCH_DATA. {where}"
            )
        absent = [item for item in self.items if not item.label.is_file()]
        if absent:
            raise DataError(
                f"{self.name}: {len(absent)} of {len(self.items)} images of split {self.split!r} have no label, the "
                f"first is {absent[0].image}, whose label should be {absent[0].label}. {where}"
            )
        if want is not None and len(self.items) < want and not allow_partial:
            raise DataError(
                f"{self.name}: split {self.split!r} should have {want} images but {len(self.items)} were found under "
                f"{self.folder}; complete the download, or pass --set data.allow_partial=true to go on with what is "
                f"there. {where}"
            )

    def _damaged(self, path: Path, error: Exception) -> DataError:
        return DataError(f"{self.name}: {path} cannot be decoded ({error}); fetch it again from {self.home}")
