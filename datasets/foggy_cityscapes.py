"""Foggy Cityscapes: Cityscapes' validation images with fog of three densities rendered into them, in two releases.

Source: Sakaridis, Dai and Van Gool (2018) for the first, ``foggy_cityscapes_sfsu``; with Hecker (2018) for the second,
with dual-reference bilateral filtering (DBF), ``foggy_cityscapes``. Both are after Cordts et al. (2016).
Licence: Cityscapes': non-commercial, after registration.
Labels: Cityscapes' own, ``labelTrainIds`` or ``labelIds`` files.

Pitfalls: the same 500 scenes three times, so the splits are no independent measurements, and no new places for a
model trained on Cityscapes. The two releases have the same file names and other images, and papers seldom say which
they mean; figures on them do not compare. What most copies have, ``leftImg8bit_foggy``, is the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from datasets.archives import unpacked
from datasets.base import Item, Split, folder_in
from datasets.cityscapes_labels import CityscapesLabels, frames_below

BETAS = {"0.005": 600, "0.01": 300, "0.02": 150}
"""Visibility in metres by the attenuation coefficient beta, as names of files have it."""


class FoggyCityscapes(CityscapesLabels):
    """Foggy Cityscapes-DBF, each density of fog a split."""

    images: ClassVar[str] = "leftImg8bit_foggyDBF"
    """The folder that the archive has."""

    name = "foggy_cityscapes"
    title = "Foggy Cityscapes"
    splits: ClassVar = {
        f"val-beta-{beta}": Split(500, note=f"visibility about {metres} m") for beta, metres in BETAS.items()
    }
    train_split = None
    eval_splits = tuple(f"val-beta-{beta}" for beta in BETAS)
    selection_split = None
    withheld: ClassVar = {"test": "use the splits of val, since no foggy test images are published either"}
    home = "https://www.cityscapes-dataset.com (registration; leftImg8bit_trainvaltest_foggyDBF.zip, gtFine)"
    licence = "Cityscapes': non-commercial, after registration"
    layout = (
        f"{images}/val/CITY/NAME_leftImg8bit_foggy_beta_BETA.png with "
        "gtFine/val/CITY/NAME_gtFine_labelIds.png (or _labelTrainIds.png), the labels here or in the folder of "
        "cityscapes, or all of it there"
    )
    citation = (
        "Sakaridis, Dai, Hecker, Van Gool: Model adaptation with synthetic and real data for semantic dense foggy "
        "scene understanding. ECCV 2018"
    )

    @property
    def folder(self) -> Path:
        """The folder of ``cityscapes`` where the archive was unpacked into it, which it is made for."""
        shared = unpacked(folder_in(self.root, "cityscapes"))
        return shared if (shared / self.images).is_dir() else super().folder

    def frames(self) -> Iterator[Item]:
        """The images of one density."""
        beta = self.split.removeprefix("val-beta-")
        own = self.folder / "gtFine"
        labels = own if own.is_dir() else self.beside("cityscapes") / "gtFine"
        suffix = f"_leftImg8bit_foggy_beta_{beta}.png"
        return frames_below(self.folder / self.images / "val", labels / "val", suffix, "gtFine")


class FoggyCityscapesSFSU(FoggyCityscapes):
    """Foggy Cityscapes as first released, each density of fog a split."""

    images = "leftImg8bit_foggy"

    name = "foggy_cityscapes_sfsu"
    title = "Foggy Cityscapes, first release"
    home = FoggyCityscapes.home.replace("foggyDBF", "foggy")
    layout = FoggyCityscapes.layout.replace(FoggyCityscapes.images, images)
    citation = "Sakaridis, Dai, Van Gool: Semantic foggy scene understanding with synthetic data. IJCV 126, 2018"
