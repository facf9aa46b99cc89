"""Dark Zurich, validation: fifty photographs of Zurich by night.

Source: Sakaridis, Dai and Van Gool (2019), 1920x1080.
Licence: non-commercial; the terms are on the home page.
Labels: like Cityscapes, ``labelTrainIds`` and ``labelIds`` files.

Pitfalls: these are frames of one drive. Published figures are often on the 151 test images, which only the makers'
server scores. The masks of what is hard to recognise (``invIds``) are not read. The training images have no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from datasets.base import Item, Split, Submission
from datasets.cityscapes_labels import CityscapesLabels, frames_below


class DarkZurich(CityscapesLabels):
    """Dark Zurich, fifty images by night in Cityscapes' nineteen classes."""

    name = "dark_zurich"
    title = "Dark Zurich"
    splits: ClassVar = {"val": Split(50)}
    train_split = None
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions to the makers' server"}
    submission = Submission(training_ids=True)
    home = "https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/ (Dark_Zurich_val_anon.zip)"
    licence = "non-commercial"
    layout = (
        "rgb_anon/val/night/SEQUENCE/NAME_rgb_anon.png with gt/val/night/SEQUENCE/NAME_gt_labelTrainIds.png (or "
        "_labelIds.png), directly or inside Dark_Zurich_val_anon/"
    )
    citation = (
        "Sakaridis, Dai, Van Gool: Guided curriculum model adaptation and uncertainty-aware evaluation for semantic "
        "nighttime image segmentation. ICCV 2019"
    )

    def frames(self) -> Iterator[Item]:
        """The images of the nightly sequences."""
        base = self.place("Dark_Zurich_val_anon", "")
        return frames_below(base / "rgb_anon/val/night", base / "gt/val/night", "_rgb_anon.png", "gt")
