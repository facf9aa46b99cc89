"""IDD, the India Driving Dataset: unstructured roads of Hyderabad and Bangalore in 26 classes.

Source: Varma et al. (2019), part I, 1920x1080 and smaller; the table of labels is ``helpers/anue_labels.py`` of
https://github.com/AutoNUE/public-code.
Licence: research use, after registration; this and the name of the archive are unconfirmed.
Labels: the release has polygons, the later over the earlier, and these are read. ``bench data prepare`` makes images of
them, as the makers' ``preperation/createLabels.py`` does with ``--id-type level3Id``: 0 to 25 are the classes of level
3, 255 is void.

Pitfalls: a class of level 3 may join several labels, and is called here by the one that counts most: parking lies
within drivable fallback, animals within person, trains, caravans and trailers within vehicle fallback, tunnels within
bridge, and whatever IDD calls fallback background within sky. Part II of the release has more images, which are then
part of a split, too; figures do not compare.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from datasets.base import IGNORE, Dataset, Item, Split, Submission, list_files
from datasets.class_sets import IDD_26
from datasets.conversion import Conversion, label_png

LEVEL_3_IDS = {
    **{name: i for i, name in enumerate(IDD_26.names)},
    "parking": IDD_26.names.index("drivable fallback"),
    "rail track": IDD_26.names.index("non-drivable fallback"),
    "animal": IDD_26.names.index("person"),
    **dict.fromkeys(("caravan", "trailer", "train"), IDD_26.names.index("vehicle fallback")),
    "polegroup": IDD_26.names.index("pole"),
    "tunnel": IDD_26.names.index("bridge"),
    "fallback background": IDD_26.names.index("sky"),
    **dict.fromkeys(("unlabeled", "ego vehicle", "rectification border", "out of roi", "license plate"), IGNORE),
}
"""The class of level 3 of each label that polygons have."""

LABELS, POLYGONS, MADE = "gtFine", "polygons.json", "gtFine_labellevel3Ids"
IDS = "labellevel3Ids.png"


class IDD(Dataset):
    """IDD, the 26 classes of level 3."""

    name = "idd"
    title = "IDD"
    classes = IDD_26
    splits: ClassVar = {"train": Split(6993), "val": Split(981)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions to the makers"}
    submission = Submission("{folder}/{name}_gtFine_labellevel3Ids.png")
    home = "https://idd.insaan.iiit.ac.in (registration, IDD Segmentation part I; the name is unconfirmed)"
    licence = "research use after registration (unconfirmed)"
    layout = (
        "leftImg8bit/SPLIT/DRIVE/ID_leftImg8bit.png (or .jpg) with gtFine/SPLIT/DRIVE/ID_gtFine_polygons.json, or with "
        "ID_gtFine_labellevel3Ids.png there or in gtFine_labellevel3Ids/SPLIT/DRIVE/, as `bench data prepare` makes "
        "it, directly or inside IDD_Segmentation/"
    )
    citation = (
        "Varma, Subramanian, Namboodiri, Chandraker, Jawahar: IDD: a dataset for exploring problems of autonomous "
        "navigation in unconstrained environments. WACV 2019"
    )

    @property
    def base(self) -> Path:
        """The folder that holds ``leftImg8bit``."""
        return self.place("IDD_Segmentation", "")

    def find(self) -> list[Item]:
        """List the images of every drive with the one kind of label files that most of them have.

        Ids are ``DRIVE/ID``, since frame numbers recur across drives.
        """
        images = self.base / "leftImg8bit" / self.split
        drives = sorted(p for p in images.iterdir() if p.is_dir()) if images.is_dir() else []
        frames = [path for drive in drives for path in list_files(drive, "_leftimg8bit.png", "_leftimg8bit.jpg")]

        def labelled(folder: str, ending: str) -> list[Item]:
            ids = [f"{path.parent.name}/{path.stem.removesuffix('_leftImg8bit')}" for path in frames]
            labels = self.base / folder / self.split
            return [Item(name, path, labels / f"{name}_gtFine_{ending}") for name, path in zip(ids, frames)]

        kinds = [labelled(LABELS, IDS), labelled(MADE, IDS), labelled(LABELS, POLYGONS)]
        return max(kinds, key=lambda items: sum(item.label.is_file() for item in items))

    def conversions(self) -> list[Conversion]:
        """An image of ids for each file of polygons."""
        if self.items[0].label.suffix == ".png":
            return []
        made = {f"{item.id}_gtFine_{IDS}": partial(label_png, self, i) for i, item in enumerate(self.items)}
        return [Conversion(self.base / MADE / self.split, made)]

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode ids, or draw the polygons, the later over the earlier."""
        if path.suffix != ".json":
            return super().decode_label(path)
        annotation = _annotation(path)
        image = Image.new("L", annotation["size"], IGNORE)
        draw = ImageDraw.Draw(image)
        for name, corners in annotation["objects"]:
            draw.polygon(corners, fill=_level_3(name))
        return np.asarray(image)

    def check_label(self, path: Path) -> tuple[int, int] | None:
        """Width and height of an image, or those that a file of polygons says."""
        if path.suffix != ".json":
            return super().check_label(path)
        size: tuple[int, int] = _annotation(path)["size"]
        return size


def _annotation(path: Path) -> dict[str, Any]:
    """Width and height, and name and corners of every polygon that was not deleted. Raises ValueError."""
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        return {
            "size": (int(content["imgWidth"]), int(content["imgHeight"])),
            "objects": [
                (thing["label"], [(float(x), float(y)) for x, y in thing["polygon"]])
                for thing in content["objects"]
                if not thing.get("deleted")
            ],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no file of polygons: {type(error).__name__} {error}") from error


def _level_3(name: str) -> int:
    """The class of a label, groups with their members. Raises ValueError for a label that the makers do not have."""
    for known in (name, name.removesuffix("group")):
        if known in LEVEL_3_IDS:
            return LEVEL_3_IDS[known]
    raise ValueError(f"label {name!r} is none of the makers'")
