"""Fishyscapes Lost & Found: small obstacles on the road, relabelled frames of the Lost and Found data set.

Source: Blum et al. (2021), "The Fishyscapes benchmark"; images by Pinggera et al. (2016).
Licence: research use. The masks come from Fishyscapes, the images from Lost and Found, and are downloaded
apart.
Labels: 0 normal, 1 anomalous, 255 void.

Pitfalls: the index in a mask's name runs over the benchmark, so the rest of the name finds the image. One
frame has no anomaly and counts for false positives alone; it is 0079 of the official masks, but the mirror
numbers its images in another order, so an index means nothing across the two layouts.
``FishyLAFObstacle-val`` of SegmentMeIfYouCan has other labels on 98 of these frames; its figures do not
compare with these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from datasets.base import Dataset, Item, Split, list_files, mirrored
from datasets.class_sets import ANOMALY


class FishyscapesLostAndFound(Dataset):
    """Fishyscapes Lost & Found, the hundred public validation frames."""

    name = "fishyscapes_lost_and_found"
    title = "Fishyscapes Lost & Found"
    classes = ANOMALY
    splits: ClassVar = {"val": Split(100, task="anomaly", note="the public validation frames")}
    train_split = None
    eval_splits = ()
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit a model to https://fishyscapes.com"}
    home = "https://fishyscapes.com/dataset (masks) and the Lost and Found data set (images, leftImg8bit.zip)"
    licence = "research use"
    layout = (
        "fishyscapes_lostandfound/NNNN_FRAME_labels.png with "
        "leftImg8bit/{train,test}/SCENE/FRAME_leftImg8bit.png (also inside lostandfound/, or in the folder of "
        "lost_and_found), or a mirror images/N.jpg (or original/N.png) with labels/N.png"
    )
    archives: ClassVar = {
        "fishyscapes_lostandfound.zip": "0d3bf7c0ec38bd50b84f3d8aaa4b2e26",
        "leftImg8bit.zip": "08eaa79ce05126f6bd22a3ca563746d0",
    }
    citation = "Blum, Sarlin, Nieto, Siegwart, Cadena: The Fishyscapes benchmark. IJCV 129, 2021"

    def find(self) -> list[Item]:
        """List the official masks with their Lost and Found images if they are there, else the mirror."""
        masks = list_files(self.folder / "fishyscapes_lostandfound", "_labels.png")
        if masks:
            return self._official(masks)
        return mirrored(self.folder, ".jpg", ".png")

    def remarks(self) -> list[str]:
        """Whether this is the mirror."""
        if self.items[0].label.name.endswith("_labels.png"):
            return []
        numbered = ": it numbers the 100 frames in another order, and has JPEGs of them"
        return [f"the mirror, not the official archives{numbered * (self.items[0].image.parent.name == 'images')}"]

    def _official(self, masks: list[Path]) -> list[Item]:
        places = (self.folder / "lostandfound", self.folder, self.beside("lost_and_found"))
        base = next((p for p in places if (p / "leftImg8bit").is_dir()), self.folder) / "leftImg8bit"
        suffix = "_leftImg8bit.png"
        images = {p.name.removesuffix(suffix): p for p in base.glob(f"*/*/*{suffix}")}
        items = []
        for mask in masks:
            frame = re.sub(r"^\d+_", "", mask.name.removesuffix("_labels.png"), count=1)
            # The scene is the frame's name without its sequence and time.
            absent = base / "test" / frame.rsplit("_", 2)[0] / f"{frame}{suffix}"
            items.append(Item(mask.name.removesuffix("_labels.png"), images.get(frame, absent), mask))
        return items
