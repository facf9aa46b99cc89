"""RoadObstacle21: obstacles on roads, the obstacle track of SegmentMeIfYouCan.

Source: Chan et al. (2021), "SegmentMeIfYouCan: a benchmark for anomaly segmentation".
Licence: research use, as stated in the archive.
Labels: 0 road, 1 obstacle, 255 outside the region of interest, about 69 % of the pixels: only the road is
scored.

Pitfalls: only the validation images have labels; those of the 327 test images and of the night and snow
scenes are withheld. The archive holds ten validation frames more (19 and 21 to 29) which the benchmark's
reference code leaves out, and so does this loader, so that 30 remain.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from datasets.base import ComponentSizes, Dataset, Item, Split, list_files
from datasets.class_sets import ANOMALY

LEFT_OUT = frozenset({19, *range(21, 30)})
"""Numbers of the validation frames that the reference code leaves out."""

_SERVER = "use split 'val', or submit to https://segmentmeifyoucan.com what `bench predict --format hdf5` writes"


class RoadObstacle21(Dataset):
    """RoadObstacle21, the labelled validation images."""

    name = "road_obstacle_21"
    title = "RoadObstacle21"
    classes = ANOMALY
    splits: ClassVar = {"val": Split(30, task="anomaly", note="the labelled validation images")}
    train_split = None
    eval_splits = ()
    selection_split = None
    components = ComponentSizes(predicted=50, labelled=10)  # the benchmark's obstacle track
    withheld: ClassVar = {"test": _SERVER, "night": _SERVER, "snowstorm": _SERVER}
    home = "https://segmentmeifyoucan.com/datasets (dataset_ObstacleTrack.zip, https://zenodo.org/record/5281633)"
    licence = "research use; terms in the archive"
    layout = (
        "images/validation_N.webp with labels_masks/validation_N_labels_semantic.png, directly or inside "
        "dataset_ObstacleTrack/, or the mirror images/N.webp with labels_masks/N.png"
    )
    archives: ClassVar = {"dataset_ObstacleTrack.zip": "895fb36d18765482cc291f69e63d6da6"}
    citation = (
        "Chan, Lis, Uhlemeyer, Blum, Honari, Siegwart, Fua, Salzmann, Rottmann: SegmentMeIfYouCan: a benchmark for "
        "anomaly segmentation. NeurIPS Datasets and Benchmarks 2021"
    )

    def find(self) -> list[Item]:
        """List the official archive's validation images if it is there, else the mirror."""
        base = self.place("dataset_ObstacleTrack", "")
        images = list_files(base / "images", ".webp", ".jpg", ".png")
        official = [p for p in images if p.stem.startswith("validation")]
        if official:
            labels = base / "labels_masks"
            items = [Item(p.stem, p, labels / f"{p.stem}_labels_semantic.png") for p in official]
            want = self.splits["val"].count
            # A copy from which the ten were removed and the rest renumbered must not lose ten more.
            if want is not None and len(items) > want:
                items = [item for item in items if self._number(item.image) not in LEFT_OUT]
            return items
        # Other names in the archive are test scenes; the mirror numbers its images.
        return [Item(p.stem, p, base / "labels_masks" / f"{p.stem}.png") for p in images if p.stem.isdigit()]

    def remarks(self) -> list[str]:
        """What the region of interest is, and whether this is the mirror."""
        is_mirror = not self.items[0].image.stem.startswith("validation")
        mirror = ["the mirror, not the official archive"] if is_mirror else []
        return ["255 is what lies outside the region of interest, the road", *mirror]

    @staticmethod
    def _number(image: Path) -> int | None:
        match = re.match(r"validation_(\d+)", image.stem)
        return int(match[1]) if match else None
