"""WildDash 1: difficult street photographs of the whole world, labelled like Cityscapes.

Source: Zendel et al. (2018), 1920x1080; layout by the lists of https://github.com/mseg-dataset/mseg-api.
Licence: research, after registration; the terms are in the archive.
Labels: Cityscapes' ``labelIds`` in PNGs of 8 bits.

Pitfalls: the labels of the benchmark's own images are withheld. WildDash 2 has more images and classes, other files and
other ids, and is not read.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import Dataset, Item, Split, Submission, list_files
from datasets.cityscapes_labels import LABEL_IDS
from datasets.class_sets import CITYSCAPES_19


class WildDash(Dataset):
    """WildDash 1, the seventy labelled frames in Cityscapes' nineteen classes."""

    name = "wilddash"
    title = "WildDash"
    classes = CITYSCAPES_19
    splits: ClassVar = {"val": Split(70, note="all labelled frames, for evaluation")}
    train_split = None
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions at https://wilddash.cc"}
    submission = Submission()
    home = "https://wilddash.cc (registration, wd_val_01.zip)"
    licence = "research, after registration"
    layout = "wd_val_01/NAME.png with wd_val_01/NAME_labelIds.png"
    citation = (
        "Zendel, Honauer, Murschitz, Steininger, Fernandez Dominguez: WildDash - creating hazard-aware benchmarks. "
        "ECCV 2018"
    )
    raw_ids: ClassVar = LABEL_IDS

    def find(self) -> list[Item]:
        """List the frames, ``NAME`` being such as au0000_100000: what has more to its name is of labels."""
        folder = self.folder / "wd_val_01"
        return [
            Item(p.stem, p, folder / f"{p.stem}_labelIds.png")
            for p in list_files(folder, ".png")
            if p.stem.count("_") == 1
        ]
