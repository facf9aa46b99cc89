"""Toyscapes: procedurally rendered street scenes, the data set that needs no download.

``Toyscapes(root, split)`` renders a split into ``<root>/toyscapes/`` when it is first asked for.
``render_scene`` gives single pictures without touching the disk; ``toyscapes_mini`` is the same at a size for
tests. To see the pictures: ``python -m datasets.toyscapes --out sheet.png``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from datasets.base import Dataset, Item, Split, Target
from datasets.toyscapes.cache import ensure_split, image_name
from datasets.toyscapes.classes import CLASSES
from datasets.toyscapes.render import VERSION, render_scene

__all__ = ["Toyscapes", "render_scene"]

DOMAINS = ("night", "fog", "rain", "other-town")

_NOTES = {
    "train": "the home town by day",
    "val": "the home town by day",
    "test": "the home town by day",
    "night": "the home town under street lamps",
    "fog": "the home town in fog",
    "rain": "the home town, dark and wet",
    "other-town": "a town with facades, roads, cars, trees and signs that occur nowhere else",
    "anomaly": "the home town by day with objects of unknown shape and texture, on and off the road",
}


def splits_of(counts: Mapping[str, int]) -> dict[str, Split]:
    """The splits of toyscapes with the given numbers of pictures."""
    return {
        name: Split(count, "anomaly" if name == "anomaly" else "segmentation", _NOTES[name])
        for name, count in counts.items()
    }


class Toyscapes(Dataset):
    """The built-in data set. A subclass may change ``name``, ``image_size`` and the counts of ``splits``."""

    name = "toyscapes"
    title = "Toyscapes (rendered street scenes)"
    classes = CLASSES
    splits: ClassVar[Mapping[str, Split]] = splits_of(
        {"train": 320, "val": 64, "test": 64, **dict.fromkeys(DOMAINS, 40), "anomaly": 48}
    )
    eval_splits = ("test", "val")
    selection_split = "val"
    cross_domain: ClassVar[Sequence[Target]] = tuple(Target("toyscapes", domain) for domain in DOMAINS)
    anomaly: ClassVar[Sequence[Target]] = (Target("toyscapes", "anomaly"),)
    home = "nowhere: it is rendered on this machine; delete its folder to have it rendered again"
    licence = "that of this software, which makes the pictures"
    layout = f"{VERSION}/<split>/images/NNNN.png and {VERSION}/<split>/labels/NNNN.png, training ids."

    image_size: ClassVar[tuple[int, int]] = (128, 256)
    """(height, width) of every picture."""

    @property
    def split_folder(self) -> Path:
        """``<root>/<name>/<version>/<split>``."""
        return self.folder / VERSION / self.split

    def provide(self) -> None:
        """Render the split unless it is there already, whole."""
        ensure_split(self.split_folder, self.split, self._count(), self.image_size)

    def find(self) -> list[Item]:
        """List the pictures of the split."""
        images, labels = self.split_folder / "images", self.split_folder / "labels"
        names = [image_name(index) for index in range(self._count())]
        return [
            Item(f"{self.split}/{Path(name).stem}", images / name, labels / name)
            for name in names
            if (images / name).is_file()
        ]

    def _count(self) -> int:
        count = self.splits[self.split].count
        assert count is not None
        return count
