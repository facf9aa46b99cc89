"""Cityscapes: street scenes of fifty cities with fine annotation in nineteen evaluated classes.

Source: Cordts et al. (2016), "The Cityscapes dataset for semantic urban scene understanding".
Licence: non-commercial, after registration; the terms are on the home page.
Labels: ``labelIds`` files hold 34 ids (0..33, and -1 for licence plates), of which nineteen are evaluated and
the others are void; ``labelTrainIds`` files, which the makers' scripts derive from them, hold 0..18 and 255.
Which of them is read: ``datasets/cityscapes_labels.py``.

Pitfalls: the label files of the test split are placeholders without content, so test can only be scored on
the makers' server. Published figures are on val, which leaves no split for selection: the last checkpoint
counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from datasets.base import ClassMap, Item, Split, Submission, Target
from datasets.cityscapes_labels import CityscapesLabels, frames_below
from datasets.class_sets import CAMVID_11, CITYSCAPES_19, IDD_26, IDD_LITE_7

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

TO_IDD = ClassMap.by_name(
    CITYSCAPES_19,
    IDD_26,
    {
        **{name: name for name in CITYSCAPES_19.names if name in IDD_26.names},
        "terrain": "non-drivable fallback",
        "train": "vehicle fallback",
    },
    note="By equal names, with terrain and train where IDD's label table has them. Classes that Cityscapes lacks, "
    "autorickshaw, curb and billboard among them, are not scored.",
)


class Cityscapes(CityscapesLabels):
    """Cityscapes with fine annotation, nineteen classes."""

    name = "cityscapes"
    title = "Cityscapes"
    splits: ClassVar = {"train": Split(2975), "val": Split(500)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions at https://www.cityscapes-dataset.com"}
    submission = Submission()
    cross_domain = (
        Target("camvid", "test", TO_CAMVID),
        Target("idd_lite", "val", TO_IDD_LITE),
        Target("kitti_semantics", "training"),
        Target("bdd100k", "val"),
        Target("acdc", "val"),
        *(Target("acdc", f"val-{condition}") for condition in ("fog", "night", "rain", "snow")),
        Target("dark_zurich", "val"),
        Target("nighttime_driving", "test"),
        *(
            Target(name, f"val-beta-{beta}")
            for name in ("foggy_cityscapes", "foggy_cityscapes_sfsu")
            for beta in ("0.005", "0.01", "0.02")
        ),
        Target("mapillary_vistas_19", "val"),
        Target("wilddash", "val"),
        Target("idd", "val", TO_IDD),
    )
    anomaly = (
        Target("road_anomaly", "test"),
        Target("road_obstacle_21", "val"),
        Target("fishyscapes_lost_and_found", "val"),
        Target("fishyscapes_static", "val"),
        Target("fishyscapes_static_v1", "val"),
        Target("fishyscapes_static_v2", "val"),
        Target("road_anomaly_21", "val"),
        Target("lost_and_found", "test-no-known"),
        Target("lost_and_found_hazards", "test"),
        Target("lost_and_found_non_hazards_normal", "test"),
    )
    home = "https://www.cityscapes-dataset.com (registration; leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
    licence = "non-commercial, after registration"
    layout = (
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png with gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png (or "
        "_labelTrainIds.png)"
    )
    citation = (
        "Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele: The Cityscapes dataset for "
        "semantic urban scene understanding. CVPR 2016"
    )

    def frames(self) -> Iterator[Item]:
        """The images of every city."""
        return frames_below(
            self.folder / "leftImg8bit" / self.split, self.folder / "gtFine" / self.split, "_leftImg8bit.png", "gtFine"
        )
