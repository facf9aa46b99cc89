"""BDD100K, semantic segmentation: dash-cam photographs of the United States by day, by night and in all weathers.

Source: Yu et al. (2020); layout and classes by https://doc.bdd100k.com, 1280x720.
Licence: educational, research and not-for-profit use under the makers' own licence.
Labels: Cityscapes' training ids 0..18 and 255, in PNGs of 8 bits. The ids of the table in the makers' toolkit are
others than Cityscapes' and occur in no label file.

Pitfalls: the photographs are the "10K" images, which are not a subset of the "100K" ones, and have folders apart.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import Dataset, Item, Split, Submission, list_files
from datasets.class_sets import CITYSCAPES_19


class BDD100K(Dataset):
    """BDD100K's 10K images with semantic labels, Cityscapes' nineteen classes."""

    name = "bdd100k"
    title = "BDD100K"
    classes = CITYSCAPES_19
    splits: ClassVar = {"train": Split(7000), "val": Split(1000)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions at https://eval.ai"}
    submission: ClassVar[Submission | None] = Submission()
    home = "https://bdd-data.berkeley.edu (registration, 10K Images and Segmentation)"
    licence = "educational, research and not-for-profit use, under the makers' own licence"
    layout = (
        "images/10k/SPLIT/NAME.jpg with labels/sem_seg/masks/SPLIT/NAME.png, or as first released "
        "seg/images/SPLIT/NAME.jpg with seg/labels/SPLIT/NAME_train_id.png, directly or inside bdd100k/"
    )
    archives: ClassVar = {
        "bdd100k_images_10k.zip": "08f26aecceda982568063d3d5873378e",
        "bdd100k_sem_seg_labels_trainval.zip": "9a2968dde3345eeb689cffb1e26f9c78",
    }
    citation = (
        "Yu, Chen, Wang, Xian, Chen, Liu, Madhavan, Darrell: BDD100K: a diverse driving dataset for heterogeneous "
        "multitask learning. CVPR 2020"
    )

    def find(self) -> list[Item]:
        """List the frames of the split."""
        return self.frames(self.split)

    def frames(self, part: str) -> list[Item]:
        """The frames of a part of the release, in the later layout if it is there, else in the first."""
        base = self.place("bdd100k", "")
        images, labels, ending = base / "images/10k", base / "labels/sem_seg/masks", ".png"
        if not images.is_dir():
            images, labels, ending = base / "seg/images", base / "seg/labels", "_train_id.png"
        return [Item(p.stem, p, labels / part / f"{p.stem}{ending}") for p in list_files(images / part, ".jpg")]
