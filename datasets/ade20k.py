"""ADE20K: indoor and outdoor scenes in the 150 classes of the scene-parsing challenge.

Source: Zhou et al. (2017), "Scene parsing through ADE20K dataset"; the challenge's release of 2016.
Licence: annotations under BSD-3-Clause; images for non-commercial research.
Labels: 1..150 are the classes and become 0..149; 0 is everything else and becomes ``IGNORE``.

Pitfalls: the full ADE20K release has thousands of classes and other files; this is the challenge's. Published
figures are on val, which leaves no split for selection: the last checkpoint counts.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import IGNORE, Dataset, Item, Split, Submission, Target, list_files
from datasets.class_sets import ADE_150

_FOLDERS = {"train": "training", "val": "validation"}


class ADE20K(Dataset):
    """ADE20K scene parsing, 150 classes."""

    name = "ade20k"
    title = "ADE20K"
    classes = ADE_150
    splits: ClassVar = {"train": Split(20210), "val": Split(2000)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions to the makers' server"}
    submission = Submission()
    anomaly = (Target("ade_ood", "test"),)
    home = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
    licence = "annotations BSD-3-Clause; images for non-commercial research"
    layout = (
        "images/{training,validation}/NAME.jpg with annotations/{training,validation}/NAME.png, directly "
        "or inside ADEChallengeData2016/"
    )
    citation = "Zhou, Zhao, Puig, Fidler, Barriuso, Torralba: Scene parsing through ADE20K dataset. CVPR 2017"
    raw_ids: ClassVar = {0: IGNORE, **{i + 1: i for i in range(150)}}

    def find(self) -> list[Item]:
        """List ``training`` or ``validation`` of the challenge's release."""
        base, part = self.place("ADEChallengeData2016", ""), _FOLDERS[self.split]
        return [
            Item(image.stem, image, base / "annotations" / part / f"{image.stem}.png")
            for image in list_files(base / "images" / part, ".jpg")
        ]
