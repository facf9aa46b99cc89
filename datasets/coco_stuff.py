"""COCO-Stuff: photographs of everyday scenes with 80 kinds of things and 91 of stuff, in its two releases.

Source: Caesar, Uijlings and Ferrari (2018); ids by ``labels.txt`` of https://github.com/nightrome/cocostuff.
Licence: annotations CC BY 4.0; images under the terms of Flickr.
Labels: of ids 1 to 182, eleven occur in no label and 171 are the classes. ``coco_stuff_164k`` has PNGs of ids less 1,
and 255; ``coco_stuff_10k`` has MATLAB files of ids, and 0. Both are void. The makers give no colours: here are PASCAL
VOC's.

Pitfalls: figures on the two do not compare. The 10,000 images are of COCO's training images, so that a model trained
on the 164,000 has seen the test split of the 10,000. Version 1.0 of the 10,000 numbers its classes otherwise.
Published figures are on val and test, which leaves no split for selection: the last checkpoint counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from datasets.base import IGNORE, ClassSet, Dataset, Item, Split, identity, list_files
from datasets.class_sets import voc_colour
from datasets.conversion import Conversion, label_png
from datasets.matlab_labels import MatlabLabels

NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, parking
meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie,
suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis
racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog,
pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell
phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush,
banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile,
cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other,
floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other,
hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow,
plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea,
shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent, textile-other,
towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood,
water-other, waterdrops, window-blind, window-other, wood
"""

NEVER = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
"""Ids of street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender and hair brush, which COCO
names and outlines in no image."""

IDS = [i for i in range(1, 183) if i not in NEVER]
"""The id of each class."""

COCO_STUFF_171 = ClassSet(
    "coco-stuff-171", tuple(NAMES.replace("\n", " ").strip().split(", ")), tuple(voc_colour(i) for i in IDS)
)

CITATION = "Caesar, Uijlings, Ferrari: COCO-Stuff: thing and stuff classes in context. CVPR 2018"
LICENCE = "annotations CC BY 4.0; images under the terms of Flickr"


class COCOStuff164k(Dataset):
    """COCO-Stuff, all images of COCO 2017 with labels, 171 classes."""

    name = "coco_stuff_164k"
    title = "COCO-Stuff 164k"
    classes = COCO_STUFF_171
    splits: ClassVar = {"train": Split(118287), "val": Split(5000)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val'"}
    home = "https://github.com/nightrome/cocostuff (train2017.zip, val2017.zip, stuffthingmaps_trainval2017.zip)"
    licence = LICENCE
    layout = (
        "images/{train,val}2017/NAME.jpg with annotations/{train,val}2017/NAME.png, or both kinds in {train,val}2017/, "
        "as in the archives"
    )
    citation = CITATION
    raw_ids: ClassVar = {**{raw - 1: i for i, raw in enumerate(IDS)}, 255: IGNORE}

    def find(self) -> list[Item]:
        """List the images; files with training ids (``*_labelTrainIds.png``) beside the labels are not read."""
        images, labels = (self.folder / kind / f"{self.split}2017" for kind in ("images", "annotations"))
        if not images.is_dir():
            images = labels = self.folder / f"{self.split}2017"
        return [Item(p.stem, p, labels / f"{p.stem}.png") for p in list_files(images, ".jpg")]


class COCOStuff10k(MatlabLabels):
    """COCO-Stuff 10k, version 1.1, 171 classes."""

    name = "coco_stuff_10k"
    title = "COCO-Stuff 10k"
    classes = COCO_STUFF_171
    splits: ClassVar = {"train": Split(9000), "test": Split(1000)}
    eval_splits = ("test",)
    selection_split = None
    home = "https://github.com/nightrome/cocostuff10k (cocostuff-10k-v1.1.zip)"
    licence = LICENCE
    layout = (
        "imageLists/{train,test}.txt and images/NAME.jpg with annotations/NAME.mat, or as MMSegmentation converts it "
        "images/{train,test}2014/NAME.jpg with annotations/{train,test}2014/NAME_labelTrainIds.png, or the first with "
        "such annotations, which `bench data prepare` makes"
    )
    citation = CITATION
    raw_ids: ClassVar = {0: IGNORE, **{raw: i for i, raw in enumerate(IDS)}}

    def find(self) -> list[Item]:
        """List the images of the split's list, or of its folder where the data was converted."""
        images, labels, ending = self.folder / "images", self.folder / "annotations", ".mat"
        part = f"{self.split}2014"
        self._is_converted = (labels / part).is_dir()
        if self._is_converted:
            labels, ending = labels / part, "_labelTrainIds.png"
        if (images / part).is_dir():
            images = images / part
            names = [p.stem for p in list_files(images, ".jpg")]
        else:
            names = self.names_in(self.folder / "imageLists" / f"{self.split}.txt")
        return [Item(name, images / f"{name}.jpg", labels / f"{name}{ending}") for name in names]

    def conversions(self) -> list[Conversion]:
        """Labels as MMSegmentation converts them; the images stay where they are."""
        if self._is_converted:
            return []
        labels = {f"{item.id}_labelTrainIds.png": partial(label_png, self, i) for i, item in enumerate(self.items)}
        return [Conversion(self.folder / "annotations" / f"{self.split}2014", labels)]

    def label_ids(self) -> Mapping[int, int]:
        """The identity for converted labels, the table of ids for the makers' own."""
        if self._is_converted:
            return identity(self.classes)
        return self.raw_ids

    def label_map(self, content: Mapping[str, Any]) -> Any:
        """The field ``S``."""
        return content["S"]
