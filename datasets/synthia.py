"""SYNTHIA-RAND-CITYSCAPES: rendered streets with sixteen of Cityscapes' classes.

Source: Ros et al. (2016), 1280x760; ids by the README of the archive.
Licence: CC BY-NC-SA 3.0.
Labels: PNGs of three channels of 16 bits: class, instance, nothing. Of the 23 ids, 16 are classes. Void are, as in
papers on adaptation, parking slots, road work and lane markings, and terrain, truck and train, which do not occur.

Pitfalls: the release has no splits. Here the last 940 frames are val, which is this suite's own choice; papers train on
all 9400. Pillow cuts 16 bits of colour down to 8, which would leave only zeros, so that label files which were saved
again from it hold nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from datasets.base import IGNORE, ClassMap, Dataset, Item, Split, Target, list_files
from datasets.class_sets import CITYSCAPES_19, SYNTHIA_16

IDS = {
    "sky": 1,
    "building": 2,
    "road": 3,
    "sidewalk": 4,
    "fence": 5,
    "vegetation": 6,
    "pole": 7,
    "car": 8,
    "traffic sign": 9,
    "person": 10,
    "bicycle": 11,
    "motorcycle": 12,
    "traffic light": 15,
    "rider": 17,
    "bus": 19,
    "wall": 21,
}
"""The id of each class in the files."""

FIRST_OF_VAL = 8460

TO_CITYSCAPES = ClassMap.by_name(
    SYNTHIA_16,
    CITYSCAPES_19,
    {name: name for name in SYNTHIA_16.names},
    note="By equal names, as in papers on adaptation from SYNTHIA: terrain, truck and train are not scored. SYNTHIA's "
    "lane markings, which are road in Cityscapes, are void in training.",
)


class Synthia(Dataset):
    """SYNTHIA-RAND-CITYSCAPES, sixteen classes, a source for adaptation and generalisation."""

    name = "synthia"
    title = "SYNTHIA"
    classes = SYNTHIA_16
    splits: ClassVar = {
        "train": Split(8460, note="frames 0 to 8459; this suite's own split"),
        "val": Split(940, note="frames 8460 to 9399; this suite's own split"),
    }
    selection_split = None
    cross_domain = tuple(
        Target(name, "val", TO_CITYSCAPES) for name in ("cityscapes", "bdd100k", "mapillary_vistas_19")
    )
    home = "https://synthia-dataset.net/downloads/ (SYNTHIA-RAND-CITYSCAPES)"
    licence = "CC BY-NC-SA 3.0"
    layout = "RGB/NUMBER.png with GT/LABELS/NUMBER.png, directly or inside RAND_CITYSCAPES/"
    citation = (
        "Ros, Sellart, Materzynska, Vazquez, Lopez: The SYNTHIA dataset: a large collection of synthetic images for "
        "semantic segmentation of urban scenes. CVPR 2016"
    )
    raw_ids: ClassVar = {
        **dict.fromkeys(range(23), IGNORE),
        **{raw: SYNTHIA_16.names.index(name) for name, raw in IDS.items()},
    }

    def find(self) -> list[Item]:
        """List the frames of the split by their numbers."""
        base = self.place("RAND_CITYSCAPES", "")
        return [
            Item(p.stem, p, base / "GT/LABELS" / p.name)
            for p in list_files(base / "RGB", ".png")
            if p.stem.isdecimal() and (int(p.stem) >= FIRST_OF_VAL) == (self.split == "val")
        ]

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode the first channel, in all its bits."""
        first: np.ndarray
        with path.open("rb") as one, path.open("rb") as other, Image.open(one) as high, Image.open(other) as low:
            deep = [tile._replace(args=f"{low.mode};16L") for tile in low.tile if tile.args == f"{low.mode};16B"]
            first = np.atleast_3d(np.asarray(high))[..., 0]
            if deep:
                # Pillow keeps the higher byte of each number; told that the bytes are the other way round, the lower.
                low.tile = deep
                first = first.astype(np.uint16) << 8 | np.asarray(low)[..., 0]
        return first
