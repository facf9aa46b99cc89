"""StreetHazards: rendered streets, and the same with things in them that no other town has.

Source: Hendrycks et al. (2022), "Scaling out-of-distribution detection for real-world settings", 1280x720, rendered by
CARLA; ids and colours by https://github.com/hendrycks/anomaly-seg.
Licence: unconfirmed; the makers' pages, as far as they could be read, name none for the images.
Labels: 1 to 13 are the classes, 14 is anomalous; 0 does not count.

Pitfalls: the first class, unlabeled, is one that models are trained on: what CARLA does not name, sky above all. Its
makers average the figures of single images; here, as everywhere, all pixels of the split are one set.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import IGNORE, Dataset, Item, Split, Target
from datasets.class_sets import class_set

STREET_HAZARDS_13 = class_set(
    "street-hazards-13",
    [
        ("unlabeled", (0, 0, 0)),
        ("building", (70, 70, 70)),
        ("fence", (190, 153, 153)),
        ("other", (250, 170, 160)),
        ("pedestrian", (220, 20, 60)),
        ("pole", (153, 153, 153)),
        ("road line", (157, 234, 50)),
        ("road", (128, 64, 128)),
        ("sidewalk", (244, 35, 232)),
        ("vegetation", (107, 142, 35)),
        ("car", (0, 0, 142)),
        ("wall", (102, 102, 156)),
        ("traffic sign", (220, 220, 0)),
    ],
)

_PLACES = {"train": ("train", "training"), "val": ("train", "validation"), "test": ("test", "test")}


class StreetHazards(Dataset):
    """StreetHazards, thirteen classes and a split with anomalies."""

    name = "street_hazards"
    title = "StreetHazards"
    classes = STREET_HAZARDS_13
    splits: ClassVar = {
        "train": Split(5125),
        "val": Split(1031),
        "test": Split(1500, task="anomaly", note="other towns, with anomalies"),
    }
    selection_split = None
    anomaly = (Target("street_hazards", "test"),)
    home = (
        "https://github.com/hendrycks/anomaly-seg (streethazards_train.tar and streethazards_test.tar at "
        "https://people.eecs.berkeley.edu/~hendrycks)"
    )
    licence = "unconfirmed"
    layout = (
        "train/{images,annotations}/{training,validation}/TOWN/NAME.png and "
        "test/{images,annotations}/test/TOWN/NAME.png"
    )
    archives: ClassVar = {
        "streethazards_train.tar": "cd2d1a8649848afb85b5059d227d2090",
        "streethazards_test.tar": "8c547c1346b00c21b2483887110bfea7",
    }
    citation = (
        "Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song: Scaling out-of-distribution detection for "
        "real-world settings. ICML 2022"
    )
    raw_ids: ClassVar = {0: IGNORE, **{i + 1: i for i in range(13)}}
    anomaly_ids: ClassVar = {0: IGNORE, **dict.fromkeys(range(1, 14), 0), 14: 1}

    def find(self) -> list[Item]:
        """List the images of every town; ids are ``TOWN/NAME``, since names recur across towns."""
        archive, part = _PLACES[self.split]
        labels = self.folder / archive / "annotations" / part
        return [
            Item(f"{image.parent.name}/{image.stem}", image, labels / image.parent.name / image.name)
            for image in (self.folder / archive / "images" / part).glob("*/*.png")
            if not image.name.startswith(".")
        ]
