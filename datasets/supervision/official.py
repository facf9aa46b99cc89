"""Sparse labels that were drawn by people, the user's own or published ones: where they lie, how they are encoded.

Own labels of any data set lie in ``OWN``, and come before published ones: index files of training ids with
``UNLABELLED`` and ``IGNORE``.

A published file holds 0..C-1 for a labelled pixel, C for a valid pixel without label, and 255 for padding and outside;
Cityscapes' coarse outlines come in the raw ids of its fine labels. In
the files that Tree Energy Loss's scripts draw, 255 also stands for "no label", which silently takes the
unlabelled pixels from every method that learns from them; such a set is refused unless it is said that this is
what 255 means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.base import DataError, Dataset
from datasets.supervision.kinds import Kind

_DEVKITS = ("", "VOCdevkit/VOC2012/", "VOC2012/")
_VOC = {
    "points": tuple(f"{inner}{path}" for inner in _DEVKITS for path in ("point/segcls/{}.png", "point/{}.png")),
    "scribbles": tuple(
        f"{inner}{path}" for inner in _DEVKITS for path in ("scribble/seginst/{}.png", "scribble/{}.png")
    ),
}

PLACES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pascal_voc": _VOC,
    "pascal_voc_aug": _VOC,
    "cityscapes": {
        "clicks-20": ("20clicks/{}_gtFine_labelTrainIds.png",),
        "clicks-50": ("50clicks/{}_gtFine_labelTrainIds.png", "random_50clicks/{}_gtFine_labelTrainIds.png"),
        "clicks-100": ("100clicks/{}_gtFine_labelTrainIds.png",),
        "coarse": ("gtCoarse/{split}/{folder}/{}_gtCoarse_labelIds.png",),
    },
}
"""By data set and kind: the files below the data set's folder, where ``{}`` is the image's id, ``{split}`` the split
and ``{folder}`` the folder of the image."""

OWN = "labels-{kind}/{split}/{id}.png"
"""The user's own labels of a kind below the folder of any data set; the folders in an image's id are folders here."""

RAW_IDS = {("cityscapes", "coarse")}
"""Files in the raw ids of the dense labels; 0 is all without an outline here."""


@dataclass(frozen=True)
class Official:
    """The label files of a split."""

    folder: Path
    files: tuple[Path, ...]
    """One for each image, in the order of the data set's items."""
    unlabelled_raw_id: int | None = None
    """The unlabelled pixels' id in files of raw ids; None for files of training ids."""
    own: bool = False
    """Whether they are the user's own."""


def find(dataset: Dataset, kind: Kind) -> Official | None:
    """The user's own labels of ``kind``, else the published ones, or None where there are neither.

    Raises DataError if only some of the images have one, since a mixture with derived labels would be neither, and if
    there is a folder for own labels without those of this split.
    """
    own = dataset.folder / OWN.partition("/")[0].format(kind=kind)
    if kind.family not in ("dense", "none") and own.is_dir():
        files = tuple(dataset.folder / OWN.format(kind=kind, split=dataset.split, id=item.id) for item in dataset.items)
        _require_all(dataset, kind, files, own)
        return Official(own, files, own=True)
    for place in PLACES.get(dataset.name, {}).get(str(kind), ()):
        files = tuple(
            dataset.folder / place.format(item.id, split=dataset.split, folder=item.image.parent.name)
            for item in dataset.items
        )
        folder = dataset.folder / place.partition("/{")[0]
        if any(path.is_file() for path in files):
            _require_all(dataset, kind, files, folder)
            return Official(folder, files, 0 if (dataset.name, str(kind)) in RAW_IDS else None)
    return None


def _require_all(dataset: Dataset, kind: Kind, files: Sequence[Path], folder: Path) -> None:
    """Raises DataError that says how many of the label ``files``, one for each image, are missing."""
    lost = [number for number, path in enumerate(files) if not path.is_file()]
    if lost:
        raise DataError(
            f"{dataset.name}: {len(lost)} of {len(files)} images of split {dataset.split!r} have no labels of kind "
            f"{kind}, the first is {dataset.items[lost[0]].id}, for which there is no {files[lost[0]]}; complete "
            f"{folder}, or move it away to have all labels derived from the dense ones"
        )
