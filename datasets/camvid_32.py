"""CamVid as first published: driving scenes of Cambridge in 31 classes, 960x720, and the same in eleven of them.

Source: Brostow, Fauqueur and Cipolla (2009); names and colours by the makers' table of 32, of which Void is one.
Licence: free for research.
Labels: images of colours, each of which is a class; black is void. Any other colour is an error.

Pitfalls: the release has no splits; these are SegNet's, which are drives: 0001TP up to frame 8520, 0006R0 and 0016E5
train, 0016E5 from frame 7959 to 8159 is val, the rest is test. Half of train is the drive that val is from. ``camvid``
has the eleven classes and smaller images that most papers use; figures do not compare. ``camvid_11`` keeps eleven of
the 31 and makes all others void, as MSeg has it, where ``camvid`` joins some: a pickup is a car there, and void here.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from datasets.base import IGNORE, Dataset, Item, Split, list_files
from datasets.class_sets import CAMVID_11, class_set
from datasets.images import read_rgb

CAMVID_31 = class_set(
    "camvid-31",
    [
        ("Animal", (64, 128, 64)),
        ("Archway", (192, 0, 128)),
        ("Bicyclist", (0, 128, 192)),
        ("Bridge", (0, 128, 64)),
        ("Building", (128, 0, 0)),
        ("Car", (64, 0, 128)),
        ("CartLuggagePram", (64, 0, 192)),
        ("Child", (192, 128, 64)),
        ("Column_Pole", (192, 192, 128)),
        ("Fence", (64, 64, 128)),
        ("LaneMkgsDriv", (128, 0, 192)),
        ("LaneMkgsNonDriv", (192, 0, 64)),
        ("Misc_Text", (128, 128, 64)),
        ("MotorcycleScooter", (192, 0, 192)),
        ("OtherMoving", (128, 64, 64)),
        ("ParkingBlock", (64, 192, 128)),
        ("Pedestrian", (64, 64, 0)),
        ("Road", (128, 64, 128)),
        ("RoadShoulder", (128, 128, 192)),
        ("Sidewalk", (0, 0, 192)),
        ("SignSymbol", (192, 128, 128)),
        ("Sky", (128, 128, 128)),
        ("SUVPickupTruck", (64, 128, 192)),
        ("TrafficCone", (0, 0, 64)),
        ("TrafficLight", (0, 64, 64)),
        ("Train", (192, 64, 128)),
        ("Tree", (128, 128, 0)),
        ("Truck_Bus", (192, 128, 192)),
        ("Tunnel", (64, 0, 64)),
        ("VegetationMisc", (192, 192, 0)),
        ("Wall", (64, 192, 0)),
    ],
)

_COLOURS = np.array([*CAMVID_31.colours, (0, 0, 0)])
_PACKED = _COLOURS @ (65536, 256, 1)
_ORDER = np.argsort(_PACKED)


class CamVid32(Dataset):
    """CamVid in all of its classes."""

    name = "camvid_32"
    title = "CamVid, 32 classes"
    classes = CAMVID_31
    splits: ClassVar = {"train": Split(367), "val": Split(101), "test": Split(233)}
    eval_splits = ("test", "val")
    home = (
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/ (701_StillsRaw_full.zip, LabeledApproved_full.zip)"
    )
    licence = "research use"
    layout = (
        "below camvid_32, 701_StillsRaw_full/NAME.png with LabeledApproved_full/NAME_L.png (in MSeg's copy "
        "Labels32-RGB/NAME_L.png), or with NAME_L.png, as the archive has it"
    )
    citation = (
        "Brostow, Fauqueur, Cipolla: Semantic object classes in video: a high-definition ground truth "
        "database. Pattern Recognition Letters 30(2), 2009"
    )
    raw_ids: ClassVar = {**{i: i for i in range(31)}, 31: IGNORE}

    def find(self) -> list[Item]:
        """List the frames of the split's drives."""
        labels = self.place("LabeledApproved_full", "Labels32-RGB", "")
        return [
            Item(p.stem, p, labels / f"{p.stem}_L.png")
            for p in list_files(self.folder / "701_StillsRaw_full", ".png")
            if split_of(p.stem) == self.split
        ]

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode to the place of each pixel's colour in the table of colours."""
        packed = read_rgb(path) @ np.array((65536, 256, 1))
        places = np.searchsorted(_PACKED, packed, sorter=_ORDER).clip(max=len(_PACKED) - 1)
        index: np.ndarray = _ORDER[places]
        if (wrong := _PACKED[index] != packed).any():
            red, rest = divmod(int(packed[wrong][0]), 65536)
            raise ValueError(f"the colour {(red, *divmod(rest, 256))} is no class")
        return index.astype(np.uint8)


AS_ELEVEN = {
    "Sky": "sky",
    "Building": "building",
    "Column_Pole": "pole",
    "Road": "road",
    "Sidewalk": "pavement",
    "Tree": "tree",
    "SignSymbol": "sign symbol",
    "Fence": "fence",
    "Car": "car",
    "Pedestrian": "pedestrian",
    "Bicyclist": "bicyclist",
}
"""What ``camvid_11`` calls the classes that it keeps."""


class CamVid11(CamVid32):
    """CamVid at its full size in eleven of its classes, all others void."""

    name = "camvid_11"
    folder_name = CamVid32.name
    title = "CamVid, 11 of 32 classes"
    classes = CAMVID_11
    citation = (
        f"{CamVid32.citation}; Lambert, Liu, Sener, Hays, Koltun: MSeg: a composite dataset for multi-domain "
        "segmentation. CVPR 2020"
    )
    raw_ids: ClassVar = {
        **dict.fromkeys(range(32), IGNORE),
        **{CAMVID_31.names.index(name): CAMVID_11.names.index(kept) for name, kept in AS_ELEVEN.items()},
    }


def split_of(name: str) -> str:
    """The split of a frame, by its drive and number."""
    drive, _, number = name.partition("_")
    if drive == "0001TP":
        return "train" if int(number) < 8550 else "test"
    if drive == "0016E5":
        return "val" if 7959 <= int(number) <= 8159 else "train"
    return "train" if drive == "0006R0" else "test"
