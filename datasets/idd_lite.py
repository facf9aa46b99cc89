"""IDD-Lite: Indian roads in the seven classes of level 1 of the IDD hierarchy.

Source: Mishra et al. (2019), a small version of the India Driving Dataset (Varma et al. 2019), 320x227.
Licence: research use, after registration.
Labels: 0..6 are the classes, 255 is void. The labels of the test split are withheld.

Pitfalls: living things include animals, so data sets with animals as anomalies do not fit models trained here, and
RoadAnomaly, RoadAnomaly21 and Fishyscapes Static are not among this data set's targets. Sky includes IDD's fallback
background. Counts of the train split differ by one between copies (1403 or 1404); 1403 is required.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import Dataset, Item, Split, Target
from datasets.class_sets import IDD_LITE_7


class IDDLite(Dataset):
    """IDD-Lite, seven classes."""

    name = "idd_lite"
    title = "IDD-Lite"
    classes = IDD_LITE_7
    splits: ClassVar = {"train": Split(1403), "val": Split(204)}
    selection_split = None
    withheld: ClassVar = {
        "test": "use split 'val', or ask the makers, for an upload that `bench predict` does not write"
    }
    cross_domain = (Target("camvid_7", "test"),)
    anomaly = (
        Target("road_obstacle_21", "val"),
        Target("fishyscapes_lost_and_found", "val"),
        Target("lost_and_found", "test-no-known"),
    )
    home = "https://idd.insaan.iiit.ac.in (registration, IDD Lite)"
    licence = "research use after registration"
    layout = (
        "leftImg8bit/SPLIT/SEQUENCE/ID_image.jpg with gtFine/SPLIT/SEQUENCE/ID_label.png, directly or "
        "inside idd20k_lite/"
    )
    citation = (
        "Mishra, Kumar, Kalluri, Varma, Subramanian, Chandraker, Jawahar: Semantic segmentation datasets for "
        "resource constrained training. NCVPRIPG 2019; Varma, Subramanian, Namboodiri, Chandraker, Jawahar: IDD: a "
        "dataset for exploring problems of autonomous navigation in unconstrained environments. WACV 2019"
    )

    def find(self) -> list[Item]:
        """List the images of every sequence; ids are ``SEQUENCE/ID``, since frame numbers recur across
        sequences."""
        base = self.place("idd20k_lite", "")
        items = []
        for image in sorted((base / "leftImg8bit" / self.split).glob("*/*_image.jpg")):
            sequence, frame = image.parent.name, image.name.removesuffix("_image.jpg")
            if not frame.startswith("."):
                label = base / "gtFine" / self.split / sequence / f"{frame}_label.png"
                items.append(Item(f"{sequence}/{frame}", image, label))
        return items
