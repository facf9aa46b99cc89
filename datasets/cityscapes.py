"""Cityscapes: street scenes of fifty cities with fine annotation in nineteen evaluated classes.

Source: Cordts et al. (2016), "The Cityscapes dataset for semantic urban scene understanding".
Licence: non-commercial, after registration; the terms are on the home page.
Labels: ``labelIds`` files hold 34 ids (0..33, and -1 for licence plates), of which nineteen are evaluated and
the others are void; ``labelTrainIds`` files, which the makers' scripts derive from them, hold 0..18 and 255.
The latter are read if every image of the split has one, so that a conversion that stopped half-way changes
nothing.

Pitfalls: the label files of the test split are placeholders without content, so test can only be scored on
the makers' server. Published figures are on val, which leaves no split for selection: the last checkpoint
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from datasets.base import IGNORE, ClassMap, Dataset, Item, Split, Target, list_files
from datasets.class_sets import CAMVID_11, CITYSCAPES_19, IDD_LITE_7

EVALUATED_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The labelIds value of each evaluated class."""

TO_CAMVID = ClassMap.by_name(
    CITYSCAPES_19,
    CAMVID_11,
    {
        "road": "road",
        "sidewalk": "pavement",
        "building": "building",
        "wall": "building",
        "fence": "fence",
        "pole": "pole",
        "traffic light": "sign symbol",
        "traffic sign": "sign symbol",
        "vegetation": "tree",
        "terrain": "tree",
        "sky": "sky",
        "person": "pedestrian",
        "rider": "bicyclist",
        "car": "car",
        "truck": "car",
        "bus": "car",
        "train": "car",
        "motorcycle": "bicyclist",
        "bicycle": "bicyclist",
    },
    note="This suite's own map, not a published one. CamVid's bicyclist is rider and bicycle together; "
    "parked bicycles and motorcycles, and grass beside the road, are not labelled alike in the two.",
)

TO_IDD_LITE = ClassMap.by_name(
    CITYSCAPES_19,
    IDD_LITE_7,
    {
        "road": "drivable",
        "sidewalk": "non-drivable",
        "terrain": "non-drivable",
        "person": "living things",
        "rider": "living things",
        "car": "vehicles",
        "truck": "vehicles",
        "bus": "vehicles",
        "train": "vehicles",
        "motorcycle": "vehicles",
        "bicycle": "vehicles",
        "wall": "roadside objects",
        "fence": "roadside objects",
        "pole": "roadside objects",
        "traffic light": "roadside objects",
        "traffic sign": "roadside objects",
        "building": "far objects",
        "vegetation": "far objects",
        "sky": "sky",
    },
    note="This suite's own map, following the levels of IDD's label table. IDD counts kerbs and "
    "billboards as roadside objects, unpaved drivable ground as drivable and animals as living "
    "things; Cityscapes has none of these.",
)


class Cityscapes(Dataset):
    """Cityscapes with fine annotation, nineteen classes."""

    name = "cityscapes"
    title = "Cityscapes"
    classes = CITYSCAPES_19
    splits: ClassVar = {"train": Split(2975), "val": Split(500)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions at https://www.cityscapes-dataset.com"}
    cross_domain = (Target("camvid", "test", TO_CAMVID), Target("idd_lite", "val", TO_IDD_LITE))
    anomaly = (
        Target("road_anomaly", "test"),
        Target("road_obstacle_21", "val"),
        Target("fishyscapes_lost_and_found", "val"),
    )
    home = "https://www.cityscapes-dataset.com (registration; leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
    licence = "non-commercial, after registration"
    layout = (
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png with gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png (or "
        "_labelTrainIds.png)"
    )
    citation = "Cordts et al.: The Cityscapes dataset for semantic urban scene understanding. CVPR 2016"
    raw_ids: ClassVar = {
        **dict.fromkeys(range(-1, 34), IGNORE),
        **{raw: CITYSCAPES_19.names.index(name) for name, raw in EVALUATED_IDS.items()},
    }

    def find(self) -> list[Item]:
        """List the images of every city, with the one kind of label files that the whole split has."""
        images = self.folder / "leftImg8bit" / self.split
        cities = sorted(p for p in images.iterdir() if p.is_dir()) if images.is_dir() else []
        names = {
            path.name.removesuffix("_leftImg8bit.png"): path
            for city in cities
            for path in list_files(city, "_leftimg8bit.png")
        }
        for kind in ("labelTrainIds", "labelIds"):
            items = [
                Item(
                    name,
                    path,
                    self.folder / "gtFine" / self.split / path.parent.name / f"{name}_gtFine_{kind}.png",
                )
                for name, path in names.items()
            ]
            self._train_ids = kind == "labelTrainIds"
            if all(item.label.is_file() for item in items):
                break
        return items

    def label_ids(self) -> Mapping[int, int]:
        """The identity for ``labelTrainIds`` files, the table of evaluated ids for ``labelIds`` files."""
        if self._train_ids:
            return {**{i: i for i in range(len(self.classes))}, IGNORE: IGNORE}
        return self.raw_ids
