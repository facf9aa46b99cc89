"""What data sets labelled like Cityscapes share: the table of ids, and files in either of its two encodings.

Source: ``helpers/labels.py`` of the makers' scripts, https://github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from datasets.base import IGNORE, Dataset, Item, identity, list_files
from datasets.class_sets import CITYSCAPES_19

EVALUATED_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The labelIds value of each evaluated class."""

LABEL_IDS = {
    **dict.fromkeys(range(-1, 34), IGNORE),
    **{raw: CITYSCAPES_19.names.index(name) for name, raw in EVALUATED_IDS.items()},
}
"""Training id of each labelIds value; -1 is licence plates, and what is not evaluated is void."""


def frames_below(images: Path, labels: Path, suffix: str, kind: str) -> Iterator[Item]:
    """An item for each ``images/FOLDER/NAME<suffix>``, its label named up to ``labels/FOLDER/NAME_<kind>``."""
    for folder in sorted(p for p in images.iterdir() if p.is_dir()) if images.is_dir() else []:
        for path in list_files(folder, suffix.lower()):
            name = path.name.removesuffix(suffix)
            yield Item(name, path, labels / folder.name / f"{name}_{kind}")


class CityscapesLabels(Dataset):
    """A data set with Cityscapes' classes and file names: subclass it and say which frames there are.

    Labels are the ``labelTrainIds`` files unless more images of the split have ``labelIds``, so that a conversion that
    stopped half-way changes nothing.
    """

    classes = CITYSCAPES_19
    raw_ids: ClassVar[Mapping[int, int]] = LABEL_IDS

    @abstractmethod
    def frames(self) -> Iterable[Item]:
        """The images of ``self.split``, each with the path of its label up to ``_labelIds.png``."""

    def find(self) -> list[Item]:
        """List the frames with the one kind of label files that more of them have."""
        frames = list(self.frames())
        kinds = {
            kind: [item._replace(label=item.label.with_name(f"{item.label.name}_{kind}.png")) for item in frames]
            for kind in ("labelTrainIds", "labelIds")
        }
        kind = max(kinds, key=lambda kind: sum(item.label.is_file() for item in kinds[kind]))
        self._train_ids = kind == "labelTrainIds"
        return kinds[kind]

    def label_ids(self) -> Mapping[int, int]:
        """The identity for ``labelTrainIds`` files, the table of evaluated ids for ``labelIds`` files."""
        if self._train_ids:
            return identity(self.classes)
        return self.raw_ids
