"""KITTI's semantic segmentation benchmark: drives in and around Karlsruhe, labelled like Cityscapes.

Source: Alhaija et al. (2018), 200 frames of KITTI 2015 (Geiger et al. 2012), at most 1242x376.
Licence: CC BY-NC-SA 3.0.
Labels: Cityscapes' ``labelIds`` in PNGs of 8 bits, as the benchmark's development kit says.

Pitfalls: the labels of the 200 test frames are not published and training frames have no official split, so all of
them serve evaluation; figures on parts of them do not compare. Images differ in size by some pixels.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import Dataset, Item, Split, Submission, list_files
from datasets.cityscapes_labels import LABEL_IDS
from datasets.class_sets import CITYSCAPES_19


class KITTISemantics(Dataset):
    """KITTI semantics, the 200 labelled frames in Cityscapes' nineteen classes."""

    name = "kitti_semantics"
    title = "KITTI semantics"
    classes = CITYSCAPES_19
    splits: ClassVar = {"training": Split(200, note="all labelled frames, for evaluation")}
    train_split = None
    eval_splits = ("training",)
    selection_split = None
    withheld: ClassVar = {"testing": "use split 'training', or submit predictions to https://www.cvlibs.net"}
    submission = Submission()
    home = "https://www.cvlibs.net/datasets/kitti/eval_semseg.php (registration, data_semantics.zip)"
    licence = "CC BY-NC-SA 3.0"
    layout = "training/image_2/NUMBER_10.png with training/semantic/NUMBER_10.png"
    citation = (
        "Alhaija, Mustikovela, Mescheder, Geiger, Rother: Augmented reality meets computer vision: efficient data "
        "generation for urban driving scenes. IJCV 126, 2018"
    )
    raw_ids: ClassVar = LABEL_IDS

    def find(self) -> list[Item]:
        """List the left colour images, without the later ones (``_11``) that other benchmarks keep beside them."""
        base = self.folder / self.split
        return [Item(p.stem, p, base / "semantic" / p.name) for p in list_files(base / "image_2", "_10.png")]
