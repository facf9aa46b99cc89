"""The dataset contract: what a dataset plugin is.

A dataset is one class. It names its classes, its splits and where its files lie, lists them in ``find``, and
inherits the rest: decoding, mapping raw label ids to training ids, and refusing what is missing or damaged
with one sentence. Labels that leave a dataset are training ids 0..C-1, or ``IGNORE`` (void, outside), or
``UNLABELLED`` (a valid pixel without annotation, under sparse supervision). Anomaly splits yield 0
in-distribution, 1 anomalous, ``IGNORE`` void instead.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

import numpy as np
from PIL import Image

from bench.common.labels import IGNORE as IGNORE
from bench.common.labels import UNLABELLED as UNLABELLED
from datasets.archives import unpacked
from datasets.errors import DataError as DataError
from datasets.errors import MissingData as MissingData
from datasets.images import read_rgb
from datasets.integrity import DECODING_ERRORS, check_image, reason

if TYPE_CHECKING:
    from torch import Tensor

    from datasets.conversion import Conversion

Task = Literal["segmentation", "anomaly"]
Roots = Path | Sequence[Path]
"""The folder that holds the folders of data sets, or several, of which the first that has a data set's counts."""


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
class ComponentSizes:
    """Below how many pixels connected components of an anomaly split do not count."""

    predicted: int
    """Smaller predicted ones are dropped."""
    labelled: int
    """Smaller labelled ones are void."""


@dataclass(frozen=True)
class Target:
    """Another dataset's split on which a model trained on this dataset is scored."""

    dataset: str
    split: str
    class_map: ClassMap | None = None
    """From the source's classes to the target's; None for anomaly targets and for equal sets."""


@dataclass(frozen=True)
class Submission:
    """What the server that has a data set's hidden labels takes: for each image a PNG of ids, of the image's size."""

    file: str = "{name}.png"
    """Where, {name} being the image's without its ending and ``_leftImg8bit``, {folder} that of its folder."""
    training_ids: bool = False
    """Whether these are the ids; else they are those of the label files."""
    palette: bool = False
    """Whether the classes' colours belong in the file."""


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
    """(H, W) uint8 training ids: they are widened on the device that needs it."""
    id: str


def list_files(folder: Path, *suffixes: str) -> list[Path]:
    """The files in ``folder`` that end in one of ``suffixes``, sorted.

    A folder that does not exist has none. Hidden files are left out, since some
    archivers put a ``._NAME.png`` beside each ``NAME.png``.
    """
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.name.lower().endswith(suffixes) and not p.name.startswith("."))


def identity(classes: ClassSet) -> dict[int, int]:
    """The table of label files that hold training ids of ``classes``, and void."""
    return {**{i: i for i in range(len(classes))}, IGNORE: IGNORE}


def folder_in(root: Path, name: str) -> Path:
    """``root/name``, or if there is none the folder with the same letters and digits: CamVid for camvid."""
    exact = root / name
    try:
        return exact if exact.is_dir() else root / _alike(str(root), name, os.stat(root).st_mtime_ns)
    except OSError:
        return exact


@lru_cache(maxsize=256)
def _alike(root: str, name: str, changed: int) -> str:
    """What ``name`` is called in ``root``, which was ``changed`` then: data sets ask for every image."""
    found = sorted(p.name for p in Path(root).iterdir() if _letters(p.name) == _letters(name) and p.is_dir())
    return found[0] if found else name


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def mirrored(folder: Path, *suffixes: str) -> list[Item]:
    """The images of a mirror, in ``images`` or as SynBoost has them in ``original``, each with ``labels/NAME.png``."""
    images = next((folder / name for name in ("images", "original") if (folder / name).is_dir()), folder / "images")
    return [Item(p.stem, p, folder / "labels" / f"{p.stem}.png") for p in list_files(images, *suffixes)]


class Dataset(ABC):
    """A dataset plugin: subclass it in one file. ``name`` is also its folder under the data root."""

    name: ClassVar[str]
    folder_name: ClassVar[str] = ""
    """Of the folder under the data root, where it is not ``name``: a data set that is read from another's files."""
    title: ClassVar[str]
    classes: ClassVar[ClassSet]
    splits: ClassVar[Mapping[str, Split]]
    train_split: ClassVar[str | None] = "train"
    """None for datasets that only serve evaluation."""
    eval_splits: ClassVar[Sequence[str]] = ("val",)
    """Splits of the closed-set protocol, the headline first."""
    selection_split: ClassVar[str | None] = "val"
    """Where thresholds and checkpoints may be selected; None where only the scored split is left for it."""
    withheld: ClassVar[Mapping[str, str]] = {}
    """Splits without published labels, each with what to use instead."""
    cross_domain: ClassVar[Sequence[Target]] = ()
    anomaly: ClassVar[Sequence[Target]] = ()
    target_of: ClassVar[Mapping[str, ClassMap | None]] = {}
    """For a source that does not name this data set as its target: its name, and the map from its classes to these.

    Models trained on it are scored here across domains on the headline of ``eval_splits``, and on all splits of the
    anomaly task. The map is None for equal classes and where only anomalies are scored.
    """
    submission: ClassVar[Submission | None] = None
    """For data sets with a server that scores hidden labels from label images."""
    components: ClassVar[ComponentSizes | None] = None
    """For anomaly sets with a benchmark that also scores connected components."""
    home: ClassVar[str] = ""
    """Where to get the data."""
    licence: ClassVar[str] = ""
    layout: ClassVar[str] = ""
    """The folder layout under ``<root>/<name>/``, as shown in a sentence when data is not found."""
    citation: ClassVar[str] = ""
    archives: ClassVar[Mapping[str, str]] = {}
    """Official archives, each with the MD5 that its makers or a loader in wide use state; others are not listed."""
    raw_ids: ClassVar[Mapping[int, int] | None] = None
    """Raw label id to training id, every possible one listed; None where files hold training ids."""
    anomaly_ids: ClassVar[Mapping[int, int]] = {0: 0, 1: 1, 255: IGNORE}
    """The same for splits of the anomaly task."""

    roots: Sequence[Path]
    items: list[Item]
    """The files of the split, sorted by id."""

    def __init__(self, root: Roots, split: str, *, allow_partial: bool = False) -> None:
        """Find the files of ``split`` under ``root/name``, of several roots the first with that folder.

        ``allow_partial`` accepts fewer images than the release has. Raises DataError naming what was looked
        for, where, what was found and how to get it; MissingData if there is no folder of that name at all.
        """
        self._enter(root, split)
        self.provide()
        self.items = sorted(self.find())
        self._require_ids()
        self._require(allow_partial)

    @classmethod
    def unopened(cls, root: Roots, split: str) -> Self:
        """The split before its files are made, found or checked, for who wants to name all that is wrong with them."""
        dataset = cls.__new__(cls)
        dataset._enter(root, split)
        return dataset

    def _enter(self, root: Roots, split: str) -> None:
        """Choose the root. Raises DataError for a split that there is not, or that has no labels."""
        if split in self.withheld:
            how = f", which `bench predict --format server --dataset {self.name}` writes" if self.submission else ""
            raise DataError(
                f"{self.name}: the labels of split {split!r} are not published, so nothing can be measured "
                f"on it here; {self.withheld[split]}{how}"
            )
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}; its splits are {', '.join(self.splits)}")
        self.split = split
        self.roots = [Path(root)] if isinstance(root, str | Path) else [Path(r) for r in root]
        for candidate in (*self.roots, self.roots[0]):
            self.root = candidate
            if self.folder.is_dir():
                break
        self.items = []

    @property
    def folder(self) -> Path:
        """``<root>/<name>``, where the official layout begins; zips in it count as unpacked there."""
        return unpacked(folder_in(self.root, self.folder_name or self.name))

    def place(self, *places: str) -> Path:
        """The first of ``places`` that is a folder below ``folder``, which is itself called "", else the last."""
        return next((self.folder / p for p in places if (self.folder / p).is_dir()), self.folder / places[-1])

    def beside(self, name: str) -> Path:
        """The folder of another data set, the files of which this one uses: in whichever root has it."""
        places = [folder_in(root, name) for root in self.roots]
        return unpacked(next((place for place in places if place.is_dir()), self.root / name))

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

    def names_in(self, path: Path) -> list[str]:
        """The names of images that a list of names has, or of pairs of paths; none where there is no data set at all.

        Raises DataError if the data set is there and the list is not.
        """
        if not self.folder.is_dir():
            return []
        if not path.is_file():
            raise DataError(
                f"{self.name}: the list of images {path} is missing; the layout below {self.folder} should "
                f"be {self.layout}; get it from {self.home}"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
        return list(dict.fromkeys(Path(line.split()[0]).stem for line in lines if line.strip()))

    def conversions(self) -> Sequence[Conversion]:
        """Folders that `bench data prepare` is to make of the files of the split, and that `find` then prefers."""
        return ()

    def decode_image(self, path: Path) -> np.ndarray:
        """Decode to RGB uint8 (H, W, 3)."""
        return read_rgb(path)

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode to the raw ids of the file, integer (H, W); palettes are indices, not colours."""
        with path.open("rb") as file, Image.open(file) as image:
            if image.mode == "1":
                return np.asarray(image).astype(np.uint8)
            packing = image.tile[0].args if image.tile else None
            raw = np.asarray(image)
        if packing in ("L;2", "L;4"):
            # Pillow stretches the grey levels of 2 and 4 bit files to 0..255; an id is the level itself.
            return raw // (85 if packing == "L;2" else 17)
        return raw

    def label_ids(self) -> Mapping[int, int]:
        """Raw id to training id for this split."""
        if self.task == "anomaly":
            return self.anomaly_ids
        if self.raw_ids is not None:
            return self.raw_ids
        return identity(self.classes)

    @classmethod
    def official_ids(cls) -> Mapping[int, int]:
        """The id that label files, or its server, have for each training id, ``IGNORE`` where they have it too.

        Of several raw ids that mean the same it is the first in ``raw_ids``.
        """
        if cls.raw_ids is None or (cls.submission is not None and cls.submission.training_ids):
            return identity(cls.classes)
        ids: dict[int, int] = {}
        for raw, training in cls.raw_ids.items():
            if raw >= 0:
                ids.setdefault(training, raw)
        return ids

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        """Decode image and label; raises DataError naming the file if one is damaged or they do not fit."""
        item = self.items[index]
        try:
            pixels = self.decode_image(item.image)
        except DECODING_ERRORS as error:
            raise self._damaged(item.image, error) from error
        label = self.label(index)
        if pixels.shape[:2] != tuple(label.shape):
            height, width = label.shape
            raise self._misfit(item, (pixels.shape[1], pixels.shape[0]), (width, height))
        import torch  # here: what a data set is can be told without

        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return Sample(image, label, item.id)

    def label(self, index: int) -> Tensor:
        """Decode the label map alone: (H, W) uint8 training ids.

        Raises DataError naming the file if it is damaged, holds unknown ids, or has pixels without label in training.
        """
        item = self.items[index]
        try:
            raw = self.decode_label(item.label)
        except DECODING_ERRORS as error:
            raise self._damaged(item.label, error) from error
        label = self.map_ids(raw, item.label)
        self._require_annotated(label, item)
        return label

    def _require_annotated(self, label: Tensor, item: Item) -> None:
        """Dense labels of the training split are dense: a record would say that all pixels were labelled."""
        # Most tables cannot lead to UNLABELLED, which spares them the look at the pixels.
        if self.split != self.train_split or UNLABELLED not in self.label_ids().values():
            return
        if (label == UNLABELLED).any():
            raise DataError(
                f"{self.name}: label {item.label} has pixels without label ({UNLABELLED}), which dense supervision "
                f"cannot have; put such labels at {self.folder}/labels-KIND/{self.split}/{item.id}.png and pass "
                f"--supervision KIND (points, scribbles or another), or map the pixels to {IGNORE} if they are void"
            )

    def map_ids(self, raw: np.ndarray, path: Path) -> Tensor:
        """Training ids (H, W) uint8 of raw ids; raises DataError naming the file and unknown ids."""
        import torch

        if raw.ndim != 2 or not np.issubdtype(raw.dtype, np.integer):
            raise DataError(
                f"{self.name}: label {path} is not a single-channel integer map but {raw.dtype} of shape "
                f"{raw.shape}; {self._remedy()}"
            )
        ids = {key: value for key, value in self.label_ids().items() if 0 <= value <= IGNORE}
        if raw.dtype == np.uint8:  # bytes have tables in Python, which are ten times faster than NumPy's
            mapped, unknown = _translate(raw, ids)
        else:
            mapped, unknown = _look_up(raw, ids)
        if unknown:
            raise DataError(
                f"{self.name}: label {path} holds id {', '.join(map(str, unknown[:5]))}, which is outside "
                f"the known ids of this data set; {self._remedy()}"
            )
        return torch.from_numpy(mapped)

    def check_files(self) -> None:
        """Read the header and the end of every file; raises DataError naming the first damaged one.

        Takes well under a millisecond a file. It finds what interrupted downloads leave behind, and images
        with a label of another size, before training starts.
        """
        for item in self.items:
            path = item.image
            try:
                image, path = self.check_image(path), item.label
                label = self.check_label(path)
            except DECODING_ERRORS as error:
                raise self._damaged(path, error) from error
            if label is not None and image != label:
                raise self._misfit(item, image, label)

    def check_image(self, path: Path) -> tuple[int, int]:
        """Width and height of an image file that has a header and an end.

        Raises one of ``integrity.DECODING_ERRORS`` for any other.
        """
        return check_image(path)

    def check_label(self, path: Path) -> tuple[int, int] | None:
        """The same of a label file; None for a format without a size in its header."""
        return check_image(path)

    def remarks(self) -> Sequence[str]:
        """What is unusual about the copy that was found, for ``bench data verify``: a mirror's layout, say."""
        return ()

    def _require_ids(self) -> None:
        """Ids become paths below the folders of what is derived from images, which they must not leave."""
        for item in self.items:
            path = PurePath(item.id)
            if not path.name or path.is_absolute() or ".." in path.parts or "\0" in item.id:
                raise DataError(
                    f"{self.name}: {item.id!r} cannot be the id of {item.image}; `find` gives ids of relative paths "
                    "without '..'"
                )

    def _require(self, allow_partial: bool) -> None:
        want = self.splits[self.split].count
        remedy = f"the layout below {self.folder} should be {self.layout.rstrip('.')}; get it from {self.home}"
        if not self.items:
            raise (DataError if self.folder.is_dir() else MissingData)(
                f"{self.name}: no image of split {self.split!r} was found because {self._what_is_there()}; "
                f"{remedy}, or point --data-root or BENCH_DATA at the folder that holds {self.folder.name}"
            )
        for kind, lost in (
            ("image file", [item for item in self.items if not item.image.is_file()]),
            ("label", [item for item in self.items if not item.label.is_file()]),
        ):
            if lost:
                path = lost[0].label if kind == "label" else lost[0].image
                raise DataError(
                    f"{self.name}: {len(lost)} of {len(self.items)} images of split {self.split!r} have no "
                    f"{kind}, the first is {lost[0].id}, for which there is no {path}; {remedy}"
                )
        if want is not None and len(self.items) < want and not allow_partial:
            raise DataError(
                f"{self.name}: split {self.split!r} should have {want} images but {len(self.items)} were "
                f"found under {self.folder}; complete the download from {self.home}, or pass --set "
                "data.allow_partial=true to go on with what is there"
            )

    def _what_is_there(self) -> str:
        if not any(root.is_dir() for root in self.roots):
            return f"the data root {' or '.join(map(str, self.roots))} does not exist"
        if not self.folder.is_dir():
            return f"{' or '.join(str(root / self.folder.name) for root in self.roots)} does not exist"
        names = sorted(p.name for p in self.folder.iterdir())
        if not names:
            return f"{self.folder} is empty"
        return f"{self.folder} holds only {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"

    def _misfit(self, item: Item, image: tuple[int, int], label: tuple[int, int]) -> DataError:
        return DataError(
            f"{self.name}: image {item.image} is {image[0]}x{image[1]} but its label {item.label} is "
            f"{label[0]}x{label[1]}; {self._remedy()}"
        )

    def _remedy(self) -> str:
        """What to do about a label file that is whole but wrong."""
        return f"fetch it again from {self.home} or correct it"

    def _damaged(self, path: Path, error: Exception) -> DataError:
        return DataError(f"{self.name}: {path} cannot be decoded ({reason(error)}); {self._restore(path)}")

    def _restore(self, path: Path) -> str:
        """What to do about a file that cannot be decoded."""
        return f"fetch it again from {self.home}"


def _translate(raw: np.ndarray, ids: Mapping[int, int]) -> tuple[np.ndarray, list[int]]:
    """``ids`` of raw bytes, uint8 of the same shape, and what is none of their keys."""
    pixels = bytearray(raw)
    unknown = pixels.translate(None, bytes(key for key in ids if 0 <= key <= 255))
    mapped = pixels.translate(bytes(ids.get(key, IGNORE) for key in range(256)))
    return np.frombuffer(mapped, np.uint8).reshape(raw.shape), sorted({*unknown})


def _look_up(raw: np.ndarray, ids: Mapping[int, int]) -> tuple[np.ndarray, list[int]]:
    """``ids`` of raw integers, uint8 of the same shape, and what is none of their keys."""
    low, high = min(ids), max(ids)
    table = np.full(high - low + 1, -1, np.int16)
    table[np.array([*ids]) - low] = [*ids.values()]
    inside = (raw >= low) & (raw <= high)
    mapped = np.full(raw.shape, -1, np.int16)
    mapped[inside] = table[raw[inside].astype(np.int64) - low]
    return mapped.astype(np.uint8), np.unique(raw[mapped < 0]).tolist()
