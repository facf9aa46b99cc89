"""Nighttime Driving, test: fifty coarsely labelled photographs of Swiss roads by night.

Source: Dai and Van Gool (2018), 1920x1080.
Licence: research use; the terms are on the home page.
Labels: like Cityscapes, ``labelTrainIds`` and ``labelIds`` files.

Pitfalls: the outlines are coarse, and much is void: boundaries are hardly measured. The folder of labels has
``daytime`` in its name, and yet they are those of the images by night.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from datasets.base import Item, Split
from datasets.cityscapes_labels import CityscapesLabels, frames_below


class NighttimeDriving(CityscapesLabels):
    """Nighttime Driving, fifty coarsely labelled images in Cityscapes' nineteen classes."""

    name = "nighttime_driving"
    title = "Nighttime Driving"
    splits: ClassVar = {"test": Split(50, note="all labelled images")}
    train_split = None
    eval_splits = ("test",)
    selection_split = None
    home = "http://people.ee.ethz.ch/~daid/NightDriving/ (NighttimeDrivingTest.zip)"
    licence = "research use"
    layout = (
        "leftImg8bit/test/night/NAME_leftImg8bit.png with "
        "gtCoarse_daytime_trainvaltest/test/night/NAME_gtCoarse_labelTrainIds.png (or _labelIds.png), directly or "
        "inside NighttimeDrivingTest/"
    )
    citation = "Dai, Van Gool: Dark model adaptation: semantic image segmentation from daytime to nighttime. ITSC 2018"

    def frames(self) -> Iterator[Item]:
        """The images of the folder ``night``."""
        base = self.place("NighttimeDrivingTest", "")
        return frames_below(
            base / "leftImg8bit/test", base / "gtCoarse_daytime_trainvaltest/test", "_leftImg8bit.png", "gtCoarse"
        )
