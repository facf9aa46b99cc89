"""Published sparse labels: where they lie and how they are encoded.

A file holds 0..C-1 for a labelled pixel, C for a valid pixel without label, and 255 for padding and outside;
Cityscapes' coarse outlines come in the raw ids of its fine labels. In
the files that Tree Energy Loss's scripts draw, 255 also stands for "no label", which silently takes the
unlabelled pixels from every method that learns from them; such a set is refused unless it is said that this is
what 255 means.
"""

from __future__ import annotations

from collections.abc import Mapping
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

RAW_IDS = {("cityscapes", "coarse")}
"""Files in the raw ids of the dense labels, whose 0 here is all that nobody outlined."""


@dataclass(frozen=True)
class Official:
    """The published label files of a split."""

    folder: Path
    files: tuple[Path, ...]
    """One for each image, in the order of the data set's items."""
    unlabelled_raw_id: int | None = None
    """The unlabelled pixels' id in files of raw ids; None for files of training ids."""


def find(dataset: Dataset, kind: Kind) -> Official | None:
    """The published labels of ``kind``, or None where there are none.

    Raises DataError if only some of the images have one: a mixture of published and derived labels would be neither.
    """
    for place in PLACES.get(dataset.name, {}).get(str(kind), ()):
        files = tuple(
            dataset.folder / place.format(item.id, split=dataset.split, folder=item.image.parent.name)
            for item in dataset.items
        )
        lost = [number for number, path in enumerate(files) if not path.is_file()]
        folder = dataset.folder / place.partition("/{")[0]
        if lost and len(lost) < len(files):
            raise DataError(
                f"{dataset.name}: {len(lost)} of {len(files)} images of split {dataset.split!r} have no labels of kind "
                f"{kind}, the first is {dataset.items[lost[0]].id}, for which there is no {files[lost[0]]}; complete "
                f"{folder}, or move it away to have all labels derived from the dense ones"
            )
        if not lost:
            return Official(folder, files, 0 if (dataset.name, str(kind)) in RAW_IDS else None)
    return None
