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
from pathlib import Path
from typing import ClassVar

import numpy as np

from datasets.base import Dataset, Item, Split, list_files
from datasets.class_sets import ANOMALY
from datasets.integrity import check_image


class FishyscapesStatic(Dataset):
    """Fishyscapes Static, the thirty public validation frames of version 3."""

    version: ClassVar[int] = 3

    name = "fishyscapes_static"
    title = "Fishyscapes Static"
    classes = ANOMALY
    splits: ClassVar = {"val": Split(30, task="anomaly", note="the public validation frames of version 3")}
    train_split = None
    eval_splits = ()
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit a model to https://fishyscapes.com"}
    home = "https://fishyscapes.com/dataset (fs_val_vN.zip) and Cityscapes (leftImg8bit_trainvaltest.zip)"
    licence = "research use"
    layout = (
        "fs_val_vN/{NNNN_FRAME_rgb.npz, NNNN_FRAME_labels.png}, N being the version, or both without that folder, with "
        "leftImg8bit/val/CITY/FRAME_leftImg8bit.png here or in the folder of cityscapes"
    )
    citation = "Blum, Sarlin, Nieto, Siegwart, Cadena: The Fishyscapes benchmark. IJCV 129, 2021"

    def find(self) -> list[Item]:
        """List the overlays; one without its frame names the frame as the image that is missing."""
        inner = self.folder / f"fs_val_v{self.version}"
        items = []
        for overlay in list_files(inner if inner.is_dir() else self.folder, "_rgb.npz"):
            name, frame = overlay.name.removesuffix("_rgb.npz"), self._frame(overlay)
            items.append(Item(name, overlay if frame.is_file() else frame, overlay.with_name(f"{name}_labels.png")))
        return items

    def _frame(self, overlay: Path) -> Path:
        """The frame of Cityscapes that an overlay is added to."""
        name = re.sub(r"^\d+_", "", overlay.name.removesuffix("_rgb.npz"), count=1)
        own = self.folder / "leftImg8bit"
        images = own if own.is_dir() else self.beside("cityscapes") / "leftImg8bit"
        return images / "val" / name.split("_")[0] / f"{name}_leftImg8bit.png"

    def decode_image(self, path: Path) -> np.ndarray:
        """Add the overlay ``path`` to its frame."""
        try:
            with np.load(path) as content:
                overlay = content["rgb"].astype(int)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"it is no overlay: {error}") from error
        frame = super().decode_image(self._frame(path))
        if overlay.shape != frame.shape:
            raise ValueError(f"it is of shape {overlay.shape} and its frame of {frame.shape}")
        summed: np.ndarray = (frame + overlay).clip(0, 255).astype(np.uint8)
        return summed

    def check_image(self, path: Path) -> tuple[int, int]:
        """Width and height of the frame of an overlay that has an end."""
        if not zipfile.is_zipfile(path):
            raise ValueError("the file is cut off")
        return check_image(self._frame(path))


class FishyscapesStaticV1(FishyscapesStatic):
    """Fishyscapes Static, the thirty public validation frames of version 1."""

    version = 1
    name = "fishyscapes_static_v1"
    title = "Fishyscapes Static v1"
    splits: ClassVar = {"val": Split(30, task="anomaly", note="the public validation frames of version 1")}
    target_of: ClassVar = {"cityscapes": None}


class FishyscapesStaticV2(FishyscapesStatic):
    """Fishyscapes Static, the thirty public validation frames of version 2."""

    version = 2
    name = "fishyscapes_static_v2"
    title = "Fishyscapes Static v2"
    splits: ClassVar = {"val": Split(30, task="anomaly", note="the public validation frames of version 2")}
    target_of: ClassVar = {"cityscapes": None}
