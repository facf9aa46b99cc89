"""GTA5, "Playing for Data": frames of a computer game, labelled like Cityscapes.

Source: Richter, Vineet, Roth and Koltun (2016), 1914x1052; the makers' ``read_mapping.zip`` has the list of the splits.
Licence: research and education; the terms are on the home page.
Labels: Cityscapes' ``labelIds`` as indices of a palette, and 34 for licence plates.

Pitfalls: the splits are those of ``split.mat``, while papers on adaptation mostly train on all 24966 frames. 62 frames
are left out of every split, as other loaders leave them out: 20801 to 20860, where image and label differ in size, and
15188 and 17705, which are that or empty. The list has 12403, 6382 and 6181 frames with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datasets.base import IGNORE, DataError, Dataset, Item, Split, Target, list_files
from datasets.cityscapes_labels import LABEL_IDS
from datasets.class_sets import CITYSCAPES_19
from datasets.integrity import DECODING_ERRORS
from datasets.matlab_labels import read_matlab

LEFT_OUT = frozenset([15188, 17705, *range(20801, 20861)])


class GTA5(Dataset):
    """GTA5 in Cityscapes' nineteen classes, a source for adaptation and generalisation."""

    name = "gta5"
    title = "GTA5"
    classes = CITYSCAPES_19
    splits: ClassVar = {
        "train": Split(12402, note="without 1 frame of the list"),
        "val": Split(6347, note="without 35 frames of the list"),
        "test": Split(6155, note="without 26 frames of the list"),
    }
    eval_splits = ("test", "val")
    cross_domain = (Target("cityscapes", "val"), Target("bdd100k", "val"), Target("mapillary_vistas_19", "val"))
    home = "https://download.visinf.tu-darmstadt.de/data/from_games/ (images, labels and read_mapping.zip)"
    licence = "research and education"
    layout = "images/NUMBER.png with labels/NUMBER.png, and split.mat here or in read_mapping/"
    citation = "Richter, Vineet, Roth, Koltun: Playing for data: ground truth from computer games. ECCV 2016"
    raw_ids: ClassVar = {**LABEL_IDS, 34: IGNORE}

    def find(self) -> list[Item]:
        """List the frames that are there and in the split's list."""
        images = list_files(self.folder / "images", ".png")
        numbers = self._numbers() - LEFT_OUT if images else set()
        return [Item(p.stem, p, self.folder / "labels" / p.name) for p in images if _number(p) in numbers]

    def _numbers(self) -> set[int]:
        """The frames of the split, by the makers' list."""
        places = [self.folder / "split.mat", self.folder / "read_mapping" / "split.mat"]
        path = next((p for p in places if p.is_file()), None)
        if path is None:
            raise DataError(
                f"{self.name}: the list of the splits {places[0]} is missing; the layout below {self.folder} should be "
                f"{self.layout}; get it from {self.home}"
            )
        try:
            return set(read_matlab(path)[f"{self.split}Ids"].ravel().tolist())
        except (*DECODING_ERRORS, KeyError) as error:
            raise DataError(f"{self.name}: {path} is not the makers' list; get it from {self.home}") from error


def _number(path: Path) -> int | None:
    return int(path.stem) if path.stem.isdecimal() else None
