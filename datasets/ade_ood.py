"""ADE-OoD: photographs indoors and outdoors with things that are none of ADE20K's 150 classes.

Source: Galesso et al. (2024); layout and ids by https://github.com/lmb-freiburg/ade-ood.
Licence: unconfirmed; the images are from ADE20K and OpenImages, under their terms. Their number is unconfirmed too.
Labels: 0 in-distribution, 1 out of distribution, 255 void.

Pitfalls: for models of ADE20K's 150 classes alone. Some images are of ADE20K's val, so that models may not be selected
on it.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import Dataset, Item, Split, list_files
from datasets.class_sets import ANOMALY


class ADEOoD(Dataset):
    """ADE-OoD, all images."""

    name = "ade_ood"
    title = "ADE-OoD"
    classes = ANOMALY
    splits: ClassVar = {"test": Split(111, task="anomaly", note="all images, of which the number is unconfirmed")}
    train_split = None
    eval_splits = ()
    selection_split = None
    home = "https://ade-ood.github.io"
    licence = "unconfirmed; the images are from ADE20K and OpenImages, under their terms"
    layout = "images/NAME.jpg with annotations/NAME_mask.png"
    citation = (
        "Galesso, Schroeppel, Driss, Brox: Diffusion for out-of-distribution detection on road scenes and beyond. ECCV "
        "2024"
    )

    def find(self) -> list[Item]:
        """List the images."""
        return [
            Item(p.stem, p, self.folder / "annotations" / f"{p.stem}_mask.png")
            for p in list_files(self.folder / "images", ".jpg")
        ]
