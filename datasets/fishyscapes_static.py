"""Fishyscapes Static: objects of PASCAL VOC pasted into frames of Cityscapes, in three versions.

Source: Blum et al. (2021), "The Fishyscapes benchmark"; images by Cordts et al. (2016).
Licence: research use. The overlays come from Fishyscapes, the frames from Cityscapes' val, downloaded apart.
Labels: 0 normal, 1 anomalous, 255 void.

Pitfalls: the makers publish differences: a file ``*_rgb.npz`` holds integers that are added to the frame it is named
after, and the sum is cut to 0..255. The frames are Cityscapes' val, so that models may not be selected on it. Figures
on the versions do not compare: the second blends the objects in, the third does it better and adds frames with a pasted
object of a known class, and frames without any. ``fishyscapes_static`` is the third.
"""

from __future__ import annotations

import re
import zipfile
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from datasets.base import Dataset, Item, Split, list_files, mirrored
from datasets.class_sets import ANOMALY
from datasets.conversion import Conversion, png
from datasets.integrity import DECODING_ERRORS, check_image

SUMS = "images"
"""The folder of images that `bench data prepare` makes."""


class FishyscapesStatic(Dataset):
    """Fishyscapes Static, version 3: objects blended in with care, and frames without an anomaly among the thirty."""

    version: ClassVar[int] = 3

    name = "fishyscapes_static"
    title = "Fishyscapes Static"
    classes = ANOMALY
    splits: ClassVar = {
        "val": Split(30, task="anomaly", note="some with a pasted object of a known class, or with none")
    }
    train_split = None
    eval_splits = ()
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit a model to https://fishyscapes.com"}
    home = "https://fishyscapes.com/dataset (fs_val_vN.zip) and Cityscapes (leftImg8bit_trainvaltest.zip)"
    licence = "research use"
    layout = (
        "fs_val_vN/{NNNN_FRAME_rgb.npz, NNNN_FRAME_labels.png}, N being the version, or both without that folder, with "
        "leftImg8bit/val/CITY/FRAME_leftImg8bit.png here or in the folder of cityscapes, or images/NNNN_FRAME.png with "
        "labels/NNNN_FRAME.png, which `bench data prepare` makes of these (in a mirror original/ with labels/)"
    )
    archives: ClassVar = {"fs_val_v3.zip": "0dc11db9e57088c5bb18de4c55a53f3a"}
    citation = "Blum, Sarlin, Nieto, Siegwart, Cadena: The Fishyscapes benchmark. IJCV 129, 2021"

    def find(self) -> list[Item]:
        """List the sums if they were made, else the overlays.

        An overlay without its frame names the frame as the image that is missing.
        """
        if sums := mirrored(self.folder, ".png"):
            return sums
        items = []
        for overlay in list_files(self.place(f"fs_val_v{self.version}", ""), "_rgb.npz"):
            name, frame = overlay.name.removesuffix("_rgb.npz"), self._frame(overlay)
            items.append(Item(name, overlay if frame.is_file() else frame, overlay.with_name(f"{name}_labels.png")))
        return items

    def conversions(self) -> list[Conversion]:
        """The sums of frames and overlays, for which Cityscapes is then needed no more, and their labels."""
        if self.items[0].image.suffix == ".png":
            return []
        labels = {f"{item.id}.png": item.label.read_bytes for item in self.items}
        sums = {f"{item.id}.png": partial(self._sum, item) for item in self.items}
        return [Conversion(self.folder / "labels", labels), Conversion(self.folder / SUMS, sums)]

    def _sum(self, item: Item) -> bytes:
        try:
            return png(self.decode_image(item.image))
        except DECODING_ERRORS as error:
            raise self._damaged(item.image, error) from error

    def _frame(self, overlay: Path) -> Path:
        """The frame of Cityscapes that an overlay is added to."""
        name = re.sub(r"^\d+_", "", overlay.name.removesuffix("_rgb.npz"), count=1)
        own = self.folder / "leftImg8bit"
        images = own if own.is_dir() else self.beside("cityscapes") / "leftImg8bit"
        return images / "val" / name.split("_")[0] / f"{name}_leftImg8bit.png"

    def decode_image(self, path: Path) -> np.ndarray:
        """Add the overlay ``path`` to its frame, unless it is the sum."""
        if path.suffix == ".png":
            return super().decode_image(path)
        try:
            with path.open("rb") as file, np.load(file) as content:
                overlay = content["rgb"].astype(int)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"it is no overlay: {error}") from error
        frame = super().decode_image(self._frame(path))
        if overlay.shape != frame.shape:
            raise ValueError(f"it is of shape {overlay.shape} and its frame of {frame.shape}")
        summed: np.ndarray = (frame + overlay).clip(0, 255).astype(np.uint8)
        return summed

    def check_image(self, path: Path) -> tuple[int, int]:
        """Width and height of a sum, or of the frame of an overlay that has an end."""
        if path.suffix == ".png":
            return check_image(path)
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("the file is cut off")
        return check_image(self._frame(path))


class FishyscapesStaticV1(FishyscapesStatic):
    """Fishyscapes Static, version 1: objects pasted as they are."""

    version = 1
    archives: ClassVar = {"fs_val_v1.zip": "79fb134419c83f2f20b575955efa9d20"}
    name = "fishyscapes_static_v1"
    title = "Fishyscapes Static v1"
    splits: ClassVar = {"val": Split(30, task="anomaly", note="objects pasted as they are")}


class FishyscapesStaticV2(FishyscapesStatic):
    """Fishyscapes Static, version 2: as version 1, but with the objects blended in."""

    version = 2
    archives: ClassVar = {"fs_val_v2.zip": "5088c63497927200d935c41d54b1cb23"}
    name = "fishyscapes_static_v2"
    title = "Fishyscapes Static v2"
    splits: ClassVar = {"val": Split(30, task="anomaly", note="as version 1, but with the objects blended in")}
