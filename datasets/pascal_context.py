"""PASCAL-Context: the photographs of PASCAL VOC 2010 labelled to the last pixel, in the 59 most frequent classes.

Source: Mottaghi et al. (2014); the ids are those of the makers' list of 459 classes.
Licence: research use; the images are from Flickr, under its terms.
Labels: MATLAB files of ids 0 to 459, or the PNGs that MMSegmentation makes of them: 0 is background, 1 to 59 are the
classes in the order of their ids. The makers give no colours: here are PASCAL VOC's.

Pitfalls: papers report 59 classes, with all else void, and 60, with all else as a class, background. The two do not
compare, so that each is a data set here: ``pascal_context`` and ``pascal_context_60``. Figures are on val, which leaves
no split for selection: the last checkpoint counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from datasets.base import IGNORE, ClassSet, Item, Split
from datasets.class_sets import voc_colour
from datasets.conversion import Conversion, label_png
from datasets.matlab_labels import MatlabLabels

IDS = {
    "aeroplane": 2,
    "bag": 9,
    "bed": 18,
    "bedclothes": 19,
    "bench": 22,
    "bicycle": 23,
    "bird": 25,
    "boat": 31,
    "book": 33,
    "bottle": 34,
    "building": 44,
    "bus": 45,
    "cabinet": 46,
    "car": 59,
    "cat": 65,
    "ceiling": 68,
    "chair": 72,
    "cloth": 80,
    "computer": 85,
    "cow": 98,
    "cup": 104,
    "curtain": 105,
    "dog": 113,
    "door": 115,
    "fence": 144,
    "floor": 158,
    "flower": 159,
    "food": 162,
    "grass": 187,
    "ground": 189,
    "horse": 207,
    "keyboard": 220,
    "light": 232,
    "motorbike": 258,
    "mountain": 259,
    "mouse": 260,
    "person": 284,
    "plate": 295,
    "platform": 296,
    "pottedplant": 308,
    "road": 324,
    "rock": 326,
    "sheep": 347,
    "shelves": 349,
    "sidewalk": 354,
    "sign": 355,
    "sky": 360,
    "snow": 366,
    "sofa": 368,
    "table": 397,
    "track": 415,
    "train": 416,
    "tree": 420,
    "truck": 424,
    "tvmonitor": 427,
    "wall": 440,
    "water": 445,
    "window": 454,
    "wood": 458,
}
"""The id of each class."""

_NAMES = ("background", *IDS)
PASCAL_CONTEXT_60 = ClassSet("pascal-context-60", _NAMES, tuple(voc_colour(i) for i in range(60)))
PASCAL_CONTEXT_59 = ClassSet("pascal-context-59", _NAMES[1:], PASCAL_CONTEXT_60.colours[1:])

_CONVERTED = {**{i: i for i in range(60)}, IGNORE: IGNORE}


def _without_background(table: Mapping[int, int]) -> dict[int, int]:
    """Background void, and the classes counted from 0."""
    return {raw: IGNORE if i in (0, IGNORE) else i - 1 for raw, i in table.items()}


class PascalContext60(MatlabLabels):
    """PASCAL-Context, 59 classes and background."""

    name = "pascal_context_60"
    folder_name = "pascal_context"
    title = "PASCAL-Context with background"
    classes = PASCAL_CONTEXT_60
    splits: ClassVar = {"train": Split(4998), "val": Split(5105)}
    selection_split = None
    home = (
        "https://cs.stanford.edu/~roozbeh/pascal-context/ (trainval.tar.gz) and "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ (VOCtrainval_03-May-2010.tar)"
    )
    licence = "research use; images under the terms of Flickr"
    layout = (
        "below pascal_context, VOCdevkit/VOC2010/{JPEGImages/NAME.jpg, ImageSets/Main/{train,val}.txt} with "
        "trainval/NAME.mat, or as MMSegmentation converts it VOCdevkit/VOC2010/{JPEGImages/NAME.jpg, "
        "SegmentationClassContext/NAME.png, ImageSets/SegmentationContext/{train,val}.txt}, or the first with "
        "SegmentationClassContext, which `bench data prepare` makes"
    )
    citation = (
        "Mottaghi, Chen, Liu, Cho, Lee, Fidler, Urtasun, Yuille: The role of context for object detection and "
        "semantic segmentation in the wild. CVPR 2014"
    )
    raw_ids: ClassVar = {**dict.fromkeys(range(460), 0), **{raw: i for i, raw in enumerate(IDS.values(), start=1)}}
    archives: ClassVar = {"VOCtrainval_03-May-2010.tar": "da459979d0c395079b5c75ee67908abb"}
    converted_ids: ClassVar[Mapping[int, int]] = _CONVERTED
    """The same for converted labels."""

    def find(self) -> list[Item]:
        """List the names of the split's own list, MMSegmentation's if the labels are there as it converts them."""
        devkit = self.place("VOCdevkit/VOC2010", "")
        converted = devkit / "SegmentationClassContext"
        self._is_converted = converted.is_dir()
        lists = devkit / "ImageSets" / "SegmentationContext"
        if not (self._is_converted and lists.is_dir()):
            lists = devkit / "ImageSets" / "Main"
        labels, ending = (converted, ".png") if self._is_converted else (self.folder / "trainval", ".mat")
        names = self.names_in(lists / f"{self.split}.txt")
        return [Item(name, devkit / "JPEGImages" / f"{name}.jpg", labels / f"{name}{ending}") for name in names]

    def conversions(self) -> list[Conversion]:
        """Labels of both splits as MMSegmentation converts them."""
        if self._is_converted:
            return []
        labels: dict[str, Callable[[], bytes]] = {}
        for split in self.splits:
            type(self)(self.roots, split)  # whatever is missing is told
            sixty = PascalContext60.unopened(self.roots, split)
            sixty.items = sixty.find()
            labels |= {f"{item.id}.png": partial(label_png, sixty, i) for i, item in enumerate(sixty.items)}
        devkit = self.items[0].image.parent.parent
        return [Conversion(devkit / "SegmentationClassContext", labels)]

    def label_ids(self) -> Mapping[int, int]:
        """The table of the kind of labels that was found."""
        return self.converted_ids if self._is_converted else self.raw_ids

    def label_map(self, content: Mapping[str, Any]) -> Any:
        """The field ``LabelMap``."""
        return content["LabelMap"]


class PascalContext(PascalContext60):
    """PASCAL-Context, 59 classes, all else void."""

    name = "pascal_context"
    title = "PASCAL-Context"
    classes = PASCAL_CONTEXT_59
    raw_ids: ClassVar = _without_background(PascalContext60.raw_ids)
    converted_ids: ClassVar = _without_background(_CONVERTED)
