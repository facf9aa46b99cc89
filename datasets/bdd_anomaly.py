"""BDD-Anomaly: BDD100K's frames without trains, motorcycles and bicycles, and those with them, which are the anomalies.

Source: Hendrycks et al. (2022), "Scaling out-of-distribution detection for real-world settings"; frames by Yu et al.
(2020). ``bdd_anomaly_frames.txt`` has the frames of the anomalies: those of whose labels, as the makers publish them in
https://github.com/hendrycks/anomaly-seg, have a pixel of the three classes.
Licence: that of BDD100K.
Labels: those of BDD100K. Classes 0 to 15 are trained on; 16 train, 17 motorcycle and 18 bicycle are anomalous.

Pitfalls: the first version of the paper held out two classes, train and motorcycle, and had 6688, 951 and 361 frames;
figures on it do not compare. What the anomalies are of, riders above all, stands beside them in many frames and is a
class. The files are BDD100K's: this data set is read from its folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datasets.base import IGNORE, ClassSet, Item, Split, Target
from datasets.bdd100k import BDD100K
from datasets.class_sets import CITYSCAPES_19

BDD_ANOMALY_16 = ClassSet("bdd-anomaly-16", CITYSCAPES_19.names[:16], CITYSCAPES_19.colours[:16])
FRAMES = Path(__file__).with_name("bdd_anomaly_frames.txt")


class BDDAnomaly(BDD100K):
    """BDD-Anomaly, sixteen classes; trains, motorcycles and bicycles are the anomalies."""

    name = "bdd_anomaly"
    folder_name = BDD100K.name
    title = "BDD-Anomaly"
    classes = BDD_ANOMALY_16
    splits: ClassVar = {
        "train": Split(6280),
        "val": Split(910),
        "test": Split(810, task="anomaly", note="720 frames of BDD100K's train and 90 of its val"),
    }
    withheld: ClassVar = {}
    submission = None
    anomaly = (Target("bdd_anomaly", "test"),)
    citation = (
        "Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song: Scaling out-of-distribution detection "
        "for real-world settings. ICML 2022; Yu, Chen, Wang, Xian, Chen, Liu, Madhavan, Darrell: BDD100K: a diverse "
        "driving dataset for heterogeneous multitask learning. CVPR 2020"
    )
    anomaly_ids: ClassVar = {**dict.fromkeys(range(16), 0), **dict.fromkeys(range(16, 19), 1), 255: IGNORE}

    def find(self) -> list[Item]:
        """List the frames of a part of BDD100K without those that have anomalies, or these of both parts."""
        anomalous = {*FRAMES.read_text().split()}
        if self.split == "test":
            return [item for part in ("train", "val") for item in self.frames(part) if item.id in anomalous]
        return [item for item in self.frames(self.split) if item.id not in anomalous]
