"""ACDC, the Adverse Conditions Dataset with Correspondences: Swiss roads in fog, at night, in rain and in snow.

Source: Sakaridis, Dai and Van Gool (2021), 1920x1080.
Licence: non-commercial, after registration; the terms are on the home page.
Labels: like Cityscapes, ``labelTrainIds`` and ``labelIds`` files.

Pitfalls: ``val`` is all four conditions together, and papers report each or all; published figures are often on
test, which only the makers' server scores. The images by clear weather (``*_ref``) and the masks of what is hard to
recognise (``invIds``) are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from datasets.base import Item, Split, Submission
from datasets.cityscapes_labels import CityscapesLabels, frames_below

CONDITIONS = {"fog": 100, "night": 106, "rain": 100, "snow": 100}
"""Images of val in each condition."""


class ACDC(CityscapesLabels):
    """ACDC: fog, night, rain and snow in Cityscapes' nineteen classes, together and each."""

    name = "acdc"
    title = "ACDC"
    splits: ClassVar = {
        "train": Split(1600, note="400 of each condition"),
        "val": Split(sum(CONDITIONS.values()), note="all conditions"),
        **{f"val-{condition}": Split(count) for condition, count in CONDITIONS.items()},
    }
    eval_splits = ("val", *(f"val-{condition}" for condition in CONDITIONS))
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions at https://acdc.vision.ee.ethz.ch"}
    submission = Submission(training_ids=True)
    home = "https://acdc.vision.ee.ethz.ch (registration; rgb_anon_trainvaltest.zip, gt_trainval.zip)"
    licence = "non-commercial, after registration"
    layout = (
        "rgb_anon/CONDITION/SPLIT/SEQUENCE/NAME_rgb_anon.png with "
        "gt/CONDITION/SPLIT/SEQUENCE/NAME_gt_labelTrainIds.png (or _labelIds.png), CONDITION being fog, night, rain "
        "and snow, directly or inside rgb_anon_trainvaltest/ and gt_trainval/"
    )
    citation = (
        "Sakaridis, Dai, Van Gool: ACDC: the adverse conditions dataset with correspondences for semantic driving "
        "scene understanding. ICCV 2021"
    )

    def frames(self) -> Iterator[Item]:
        """The images of the split's conditions; ids are ``CONDITION/NAME``."""
        images = self.place("rgb_anon_trainvaltest/rgb_anon", "rgb_anon")
        labels = self.place("gt_trainval/gt", "gt")
        part, _, condition = self.split.partition("-")
        for here in [condition] if condition else CONDITIONS:
            for item in frames_below(images / here / part, labels / here / part, "_rgb_anon.png", "gt"):
                yield item._replace(id=f"{here}/{item.id}")
