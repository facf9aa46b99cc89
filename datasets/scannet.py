"""ScanNet, frames: rooms filmed by hand in the twenty classes of the benchmark.

Source: Dai et al. (2017), "ScanNet: richly-annotated 3D reconstructions of indoor scenes", the 25,000 frames that the
makers chose for the benchmark in two dimensions; ids and colours by https://github.com/ScanNet/ScanNet, the rooms of
val by the lists of https://github.com/mseg-dataset/mseg-api.
Licence: non-commercial, after the signed terms of use.
Labels: ids of NYU's forty classes in PNGs of 8 bits, of which twenty are scored; all others and 0 are void.

Pitfalls: labels are projected from a mesh, so that boundaries are ragged and glass is often what lies behind it. Many
frames show one room. Figures are on val, which leaves no split for selection: the last checkpoint counts.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import IGNORE, Dataset, Item, Split, list_files
from datasets.class_sets import SCANNET_20

IDS = {
    **{name: i for i, name in enumerate(SCANNET_20.names[:12], start=1)},
    "desk": 14,
    "curtain": 16,
    "refrigerator": 24,
    "shower curtain": 28,
    "toilet": 33,
    "sink": 34,
    "bathtub": 36,
    "other furniture": 39,
}
"""The id of each class in the files."""

_VAL = """
0011 0015 0019 0025 0030 0046 0050 0063 0064 0077 0081 0084 0086 0088 0095 0100 0131 0139 0144 0146 0149 0153 0164 0169
0187 0193 0196 0203 0207 0208 0217 0221 0222 0231 0246 0249 0251 0256 0257 0277 0278 0300 0304 0307 0314 0316 0328 0329
0334 0338 0342 0343 0351 0353 0354 0355 0356 0357 0377 0378 0382 0389 0406 0412 0414 0423 0426 0427 0430 0432 0435 0441
0458 0461 0462 0474 0488 0490 0494 0496 0500 0518 0527 0535 0549 0550 0552 0553 0558 0559 0565 0568 0574 0575 0578 0580
0583 0591 0593 0595 0598 0599 0606 0607 0608 0609 0616 0618 0621 0629 0633 0643 0644 0645 0647 0648 0651 0652 0653 0655
0658 0660 0663 0664 0665 0670 0671 0678 0684 0685 0686 0689 0690 0693 0695 0696 0697 0699 0700 0701 0702 0704
"""
VAL_ROOMS = frozenset(_VAL.split())
"""Rooms of val, by the four digits after ``scene`` in the names of their scans."""


class ScanNet(Dataset):
    """ScanNet's frames, twenty classes."""

    name = "scannet"
    title = "ScanNet"
    classes = SCANNET_20
    splits: ClassVar = {"train": Split(19466), "val": Split(5436)}
    selection_split = None
    withheld: ClassVar = {
        "test": "use split 'val', or bring predictions into the layout of "
        "http://kaldir.vc.in.tum.de/scannet_benchmark, which `bench predict` does not write"
    }
    home = "https://github.com/ScanNet/ScanNet (signed terms of use; scannet_frames_25k.zip)"
    licence = "non-commercial, after the signed terms of use"
    layout = "scannet_frames_25k/SCENE/color/NUMBER.jpg with scannet_frames_25k/SCENE/label/NUMBER.png"
    citation = (
        "Dai, Chang, Savva, Halber, Funkhouser, Niessner: ScanNet: richly-annotated 3D reconstructions of indoor "
        "scenes. CVPR 2017"
    )
    raw_ids: ClassVar = {**dict.fromkeys(range(41), IGNORE), **{raw: i for i, raw in enumerate(IDS.values())}}

    def find(self) -> list[Item]:
        """List the frames of the split's rooms; ids are ``SCENE/NUMBER``, since numbers recur across scenes."""
        return [
            Item(f"{scene.name}/{image.stem}", image, scene / "label" / f"{image.stem}.png")
            for scene in (self.folder / "scannet_frames_25k").glob("scene????_??")
            if (scene.name[5:9] in VAL_ROOMS) == (self.split == "val")
            for image in list_files(scene / "color", ".jpg")
        ]
