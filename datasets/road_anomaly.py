"""RoadAnomaly: sixty photographs from the web with animals, rocks and other unusual things on or near the
road.

Source: Lis, Nakka, Fua and Salzmann (2019), "Detecting the unexpected via image resynthesis".
Licence: research use; the images belong to the authors listed in the archive's credits.
Labels: 0 is normal and 2 is anomalous; there is no void, so that all pixels count. A 1 is not defined and is
an error: a copy with labels rewritten to 0 and 1 would otherwise lose all its anomalies unnoticed.

Pitfalls: this is not RoadAnomaly21 of SegmentMeIfYouCan, which shares the name and some images. Several
anomalies (animals, vehicles of rare kinds) belong to classes of some label sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from datasets.base import DataError, Dataset, Item, Split, list_files, mirrored
from datasets.class_sets import ANOMALY


class RoadAnomaly(Dataset):
    """RoadAnomaly of 2019, sixty images."""

    name = "road_anomaly"
    title = "RoadAnomaly"
    classes = ANOMALY
    splits: ClassVar = {"test": Split(60, task="anomaly", note="all images; the data set has no other split")}
    train_split = None
    eval_splits = ()
    selection_split = None
    home = "https://www.epfl.ch/labs/cvlab/data/road-anomaly/"
    licence = "research use; credits of the images in the archive"
    layout = (
        "frame_list.json with frames/NAME.jpg and frames/NAME.labels/labels_semantic.png, directly or inside "
        "RoadAnomaly_jpg/, or a mirror images/N.jpg (or original/N.png) with labels/N.png"
    )
    citation = "Lis, Nakka, Fua, Salzmann: Detecting the unexpected via image resynthesis. ICCV 2019"
    anomaly_ids: ClassVar = {0: 0, 2: 1}

    def find(self) -> list[Item]:
        """List the official archive if it is there, else the mirror."""
        for base in (self.folder / "RoadAnomaly_jpg", self.folder):
            if (base / "frames").is_dir():
                return [
                    Item(Path(frame).stem, base / "frames" / frame, self._official_label(base, frame))
                    for frame in self._frames(base)
                ]
        return mirrored(self.folder, ".jpg", ".png", ".webp")

    def label_ids(self) -> Mapping[int, int]:
        """Of the archive, and of SynBoost's mirror, in which 1 is anomalous."""
        rewritten = bool(self.items) and self.items[0].image.parent.name == "original"
        return {0: 0, 1: 1} if rewritten else self.anomaly_ids

    def remarks(self) -> list[str]:
        """Whether this is the mirror."""
        return [] if self.items[0].label.name == "labels_semantic.png" else ["the mirror, not the official archive"]

    def _official_label(self, base: Path, frame: str) -> Path:
        return base / "frames" / f"{Path(frame).stem}.labels" / "labels_semantic.png"

    def _frames(self, base: Path) -> list[str]:
        """File names of the images, from the archive's own list where it exists: images may lack beside
        it."""
        listing = base / "frame_list.json"
        if not listing.is_file():
            return [p.name for p in list_files(base / "frames", ".jpg", ".png", ".webp")]
        try:
            frames = json.loads(listing.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            frames = None
        if not isinstance(frames, list) or not all(isinstance(f, str) for f in frames):
            raise DataError(f"{self.name}: {listing} is not a JSON list of file names; fetch it again from {self.home}")
        return frames
