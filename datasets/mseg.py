"""MSeg: seven data sets, relabelled to agree on one taxonomy of 194 classes, to train one model for many domains.

Source: Lambert et al. (2020). ``mseg_taxonomy.tsv`` has the classes in their order, which sources label each, and which
class of the zero-shot targets each counts for; ``mseg_sunrgbd_val.txt`` has the frames of SUN RGB-D that are val. Both
are facts of https://github.com/mseg-dataset/mseg-api, which has its data under CC BY 4.0.
Licence: CC BY 4.0 for the relabelling; each source has its own, and most ask for a registration.
Labels: what the makers' scripts write, in PNGs of 8 bits: for each source the classes that it has, counted in the order
of their names, and 255. The makers give no colours: here are PASCAL VOC's.

Pitfalls: the makers' training repeats the small sources, so that each is seen about as often; here each image is seen
equally often, and COCO is two thirds of all. The zero-shot figures are on the six targets, none of which is a source.
The harmonic mean over them is the headline.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from datasets.base import IGNORE, ClassMap, ClassSet, Dataset, Item, Split, Target
from datasets.class_sets import CAMVID_11, CITYSCAPES_19, SCANNET_20, VOC_21, voc_colour
from datasets.pascal_context import PASCAL_CONTEXT_60

_HERE = Path(__file__).parent
with (_HERE / "mseg_taxonomy.tsv").open(encoding="utf-8", newline="") as _file:
    TAXONOMY = list(csv.DictReader(_file, delimiter="\t"))
SUNRGBD_VAL = frozenset((_HERE / "mseg_sunrgbd_val.txt").read_text().split())
"""Numbers of the test frames of SUN RGB-D that are val here."""

MSEG_194 = ClassSet(
    "mseg-194", tuple(row["class"] for row in TAXONOMY), tuple(voc_colour(i) for i in range(1, len(TAXONOMY) + 1))
)


class Source(NamedTuple):
    """Where the files of a source lie. A brace in a folder stands for the part."""

    name: str
    folder: str
    parts: dict[str, str]
    """What the source calls train and val."""
    images: str
    labels: str
    image_ending: str = ".jpg"
    label_ending: str = ".png"
    label_prefix: tuple[str, str] = ("", "")
    """The beginning of an image's name, and what a label's has in its place."""

    def ids(self) -> list[int]:
        """The class of each raw id."""
        own = sorted(row["class"] for row in TAXONOMY if self.name in row["sources"].split())
        return [MSEG_194.names.index(name) for name in own]

    def items(self, base: Path, split: str) -> Iterator[Item]:
        """The images of a split below ``base``, each with the place of its label."""
        part, folder = self.parts[split], base / self.folder
        images, labels = folder / self.images.format(part), folder / self.labels.format(part)
        for path in images.rglob(f"*{self.image_ending}"):
            if not path.name.startswith("."):
                name = path.name.removesuffix(self.image_ending)
                label = self.label_prefix[1] + name.removeprefix(self.label_prefix[0]) + self.label_ending
                place = path.parent.relative_to(images)
                yield Item(f"{self.name}/{(place / name).as_posix()}", path, labels / place / label)


_PLAIN = {"train": "train", "val": "val"}
_LONG = {"train": "training", "val": "validation"}
_COCO = {"train": "train2017", "val": "val2017"}
_CITY = "_leftImg8bit.png"

SOURCES = (
    Source("ade20k", "ADE20K/ADEChallengeData2016", _LONG, "images/{}", "annotations_semseg150_relabeled/{}"),
    Source("bdd100k", "BDD/bdd100k", _PLAIN, "seg/images/{}", "seg_relabeled/labels/{}", ".jpg", "_train_id.png"),
    Source(
        "cityscapes", "Cityscapes", _PLAIN, "leftImg8bit/{}", "gtFine_19cls_relabeled/{}", _CITY, "_gtFine_labelIds.png"
    ),
    Source("coco", "COCOPanoptic", _COCO, "images/{}", "semantic_relabeled133/{}"),
    Source(
        "idd", "IDD/IDD_Segmentation", _PLAIN, "leftImg8bit/{}", "gtFine39_relabeled/{}", _CITY, "_gtFine_labelids.png"
    ),
    Source("mapillary", "MapillaryVistasPublic", _LONG, "{}/images", "{}_semseg65_relabeled/labels"),
    Source(
        "sunrgbd",
        "SUNRGBD",
        {"train": "train", "val": "test"},
        "image/{}",
        "semseg-relabeled37/{}",
        label_prefix=("img-", "00"),
    ),
)


@cache
def _classes_of() -> dict[str, np.ndarray]:
    """By source the class of each of 256 raw ids; made when the first label is read, and not at every start."""
    ids = {source.name: np.array(source.ids(), np.uint8) for source in SOURCES}
    return {name: np.pad(own, (0, 256 - len(own)), constant_values=IGNORE) for name, own in ids.items()}


_NOTE = "MSeg's own map: the probabilities of all classes that count for one of the target's are added up."


def _to(target: ClassSet, column: str, note: str = "") -> ClassMap:
    pairs = {row["class"]: row[column] for row in TAXONOMY if row[column]}
    return ClassMap.by_name(MSEG_194, target, pairs, note=f"{_NOTE} {note}".strip())


TO_CITYSCAPES = _to(
    CITYSCAPES_19,
    "cityscapes",
    "An autorickshaw is a motorcycle, as MSeg has it for WildDash; for KITTI MSeg gives it no counterpart.",
)


class MSeg(Dataset):
    """MSeg, the union of seven relabelled data sets in 194 classes."""

    name = "mseg"
    title = "MSeg"
    classes = MSEG_194
    splits: ClassVar = {
        "train": Split(
            178750,
            note="ade20k 20210, bdd100k 7000, cityscapes 2975, coco 118287, idd 6993, mapillary 18000, sunrgbd 5285",
        ),
        "val": Split(
            11956, note="ade20k 2000, bdd100k 1000, cityscapes 500, coco 5000, idd 981, mapillary 2000, sunrgbd 475"
        ),
    }
    selection_split = None
    cross_domain = (
        Target("pascal_voc", "val", _to(VOC_21, "pascal_voc")),
        Target(
            "pascal_context_60",
            "val",
            _to(PASCAL_CONTEXT_60, "pascal_context_60", "Nothing counts for flower and wood, which are not scored."),
        ),
        Target("camvid_11", "test", _to(CAMVID_11, "camvid_11")),
        Target("wilddash", "val", TO_CITYSCAPES),
        Target("kitti_semantics", "training", TO_CITYSCAPES),
        Target("scannet", "val", _to(SCANNET_20, "scannet")),
    )
    home = "https://github.com/mseg-dataset/mseg-api (scripts that download, remap and relabel the seven sources)"
    licence = "CC BY 4.0 for the relabelling; each source has its own licence"
    layout = (
        "what the makers' scripts leave, directly or inside mseg_dataset/, such as "
        "ADE20K/ADEChallengeData2016/images/training/NAME.jpg with "
        "ADE20K/ADEChallengeData2016/annotations_semseg150_relabeled/training/NAME.png, the other sources being "
        f"{', '.join(source.folder for source in SOURCES[1:])}"
    )
    citation = "Lambert, Liu, Sener, Hays, Koltun: MSeg: a composite dataset for multi-domain segmentation. CVPR 2020"

    @property
    def base(self) -> Path:
        """The folder that holds the sources."""
        return self.place("mseg_dataset", "")

    def find(self) -> list[Item]:
        """List the images of all sources; ids are ``SOURCE/NAME``, with the folders that a source has in the name."""
        items = [item for source in SOURCES for item in source.items(self.base, self.split)]
        if self.split == "val":
            items = [item for item in items if not item.id.startswith("sunrgbd/") or _number(item) in SUNRGBD_VAL]
        return items

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode to classes of the taxonomy, by the table of the source that ``path`` is of."""
        source = next(source for source in SOURCES if path.is_relative_to(self.base / source.folder))
        raw = super().decode_label(path)
        if raw.dtype != np.uint8 or raw.ndim != 2:
            raise ValueError(f"it is {raw.dtype} of shape {raw.shape}, not a map of 8 bits")
        mapped: np.ndarray = _classes_of()[source.name][raw]
        if (unknown := raw[(mapped == IGNORE) & (raw != IGNORE)]).size:
            raise ValueError(f"id {unknown[0]} is no class that MSeg has of {source.name}")
        return mapped


def _number(item: Item) -> str:
    return item.id.removeprefix("sunrgbd/img-").lstrip("0")
