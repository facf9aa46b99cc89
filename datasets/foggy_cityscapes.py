"""Foggy Cityscapes-DBF: Cityscapes' validation images with fog of three densities rendered into them.

Source: Sakaridis, Dai, Hecker and Van Gool (2018), after Cordts et al. (2016).
Licence: Cityscapes': non-commercial, after registration.
Labels: Cityscapes' own, ``labelTrainIds`` or ``labelIds`` files.

Pitfalls: the same 500 scenes three times, so the splits are no independent measurements, and no new places for a
model trained on Cityscapes. DBF, with dual-reference bilateral filtering, replaced the Foggy Cityscapes of the makers'
earlier paper (folder ``leftImg8bit_foggy``): other images, which are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from datasets.archives import unpacked
from datasets.base import Item, Split
from datasets.cityscapes_labels import CityscapesLabels, frames_below

BETAS = {"0.005": 600, "0.01": 300, "0.02": 150}
"""Visibility in metres by the attenuation coefficient beta, as names of files have it."""

IMAGES = "leftImg8bit_foggyDBF"


class FoggyCityscapes(CityscapesLabels):
    """Foggy Cityscapes-DBF, each density of fog a split."""

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
        "leftImg8bit_foggyDBF/val/CITY/NAME_leftImg8bit_foggy_beta_BETA.png with "
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
        shared = unpacked(self.root / "cityscapes")
        return shared if (shared / IMAGES).is_dir() else super().folder

    def frames(self) -> Iterator[Item]:
        """The images of one density."""
        beta = self.split.removeprefix("val-beta-")
        own = self.folder / "gtFine"
        labels = own if own.is_dir() else self.beside("cityscapes") / "gtFine"
        suffix = f"_leftImg8bit_foggy_beta_{beta}.png"
        return frames_below(self.folder / IMAGES / "val", labels / "val", suffix, "gtFine")
