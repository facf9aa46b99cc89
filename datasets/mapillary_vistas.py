"""Mapillary Vistas 1.2: street photographs of all continents in 65 classes, and the same in Cityscapes' nineteen.

Source: Neuhold et al. (2017), sizes vary; names and colours by the archive's ``config.json``.
Licence: CC BY-NC-SA, after registration.
Labels: PNGs of ids (with a palette): 0 to 64 are the classes, 65 is unlabeled and void.

Pitfalls: version 2.0, whose files may lie beside these in ``v2.0/``, has other classes and is not read. The images are
large, up to 6000 pixels wide. The reading in Cityscapes' classes is that of papers on generalisation (RobustNet,
HRDA): its road has lane markings and manholes, its building has no bridge. Figures are on val, which leaves no split
for selection: the last checkpoint counts.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import IGNORE, Dataset, Item, Split, Submission, list_files
from datasets.class_sets import CITYSCAPES_19, class_set

MAPILLARY_65 = class_set(
    "mapillary-65",
    [
        ("bird", (165, 42, 42)),
        ("ground animal", (0, 192, 0)),
        ("curb", (196, 196, 196)),
        ("fence", (190, 153, 153)),
        ("guard rail", (180, 165, 180)),
        ("barrier", (90, 120, 150)),
        ("wall", (102, 102, 156)),
        ("bike lane", (128, 64, 255)),
        ("crosswalk - plain", (140, 140, 200)),
        ("curb cut", (170, 170, 170)),
        ("parking", (250, 170, 160)),
        ("pedestrian area", (96, 96, 96)),
        ("rail track", (230, 150, 140)),
        ("road", (128, 64, 128)),
        ("service lane", (110, 110, 110)),
        ("sidewalk", (244, 35, 232)),
        ("bridge", (150, 100, 100)),
        ("building", (70, 70, 70)),
        ("tunnel", (150, 120, 90)),
        ("person", (220, 20, 60)),
        ("bicyclist", (255, 0, 0)),
        ("motorcyclist", (255, 0, 100)),
        ("other rider", (255, 0, 200)),
        ("lane marking - crosswalk", (200, 128, 128)),
        ("lane marking - general", (255, 255, 255)),
        ("mountain", (64, 170, 64)),
        ("sand", (230, 160, 50)),
        ("sky", (70, 130, 180)),
        ("snow", (190, 255, 255)),
        ("terrain", (152, 251, 152)),
        ("vegetation", (107, 142, 35)),
        ("water", (0, 170, 30)),
        ("banner", (255, 255, 128)),
        ("bench", (250, 0, 30)),
        ("bike rack", (100, 140, 180)),
        ("billboard", (220, 220, 220)),
        ("catch basin", (220, 128, 128)),
        ("cctv camera", (222, 40, 40)),
        ("fire hydrant", (100, 170, 30)),
        ("junction box", (40, 40, 40)),
        ("mailbox", (33, 33, 33)),
        ("manhole", (100, 128, 160)),
        ("phone booth", (142, 0, 0)),
        ("pothole", (70, 100, 150)),
        ("street light", (210, 170, 100)),
        ("pole", (153, 153, 153)),
        ("traffic sign frame", (128, 128, 128)),
        ("utility pole", (0, 0, 80)),
        ("traffic light", (250, 170, 30)),
        ("traffic sign (back)", (192, 192, 192)),
        ("traffic sign (front)", (220, 220, 0)),
        ("trash can", (140, 140, 20)),
        ("bicycle", (119, 11, 32)),
        ("boat", (150, 0, 255)),
        ("bus", (0, 60, 100)),
        ("car", (0, 0, 142)),
        ("caravan", (0, 0, 90)),
        ("motorcycle", (0, 0, 230)),
        ("on rails", (0, 80, 100)),
        ("other vehicle", (128, 64, 64)),
        ("trailer", (0, 0, 110)),
        ("truck", (0, 0, 70)),
        ("wheeled slow", (0, 0, 192)),
        ("car mount", (32, 32, 32)),
        ("ego vehicle", (120, 10, 10)),
    ],
)

AS_CITYSCAPES = {
    "road": ("road", "lane marking - general", "manhole"),
    "sidewalk": ("sidewalk", "curb"),
    "building": ("building",),
    "wall": ("wall",),
    "fence": ("fence",),
    "pole": ("pole", "utility pole"),
    "traffic light": ("traffic light",),
    "traffic sign": ("traffic sign (front)",),
    "vegetation": ("vegetation",),
    "terrain": ("terrain",),
    "sky": ("sky",),
    "person": ("person",),
    "rider": ("bicyclist", "motorcyclist", "other rider"),
    "car": ("car",),
    "truck": ("truck",),
    "bus": ("bus",),
    "train": ("on rails",),
    "motorcycle": ("motorcycle",),
    "bicycle": ("bicycle",),
}
"""Which classes each of Cityscapes' joins; all others are void."""

_FOLDERS = {"train": "training", "val": "validation"}


class MapillaryVistas(Dataset):
    """Mapillary Vistas 1.2, 65 classes."""

    name = "mapillary_vistas"
    folder_name = "mapillary_vistas"
    title = "Mapillary Vistas"
    classes = MAPILLARY_65
    splits: ClassVar = {"train": Split(18000), "val": Split(2000)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions to the makers' server"}
    submission: ClassVar[Submission | None] = Submission()
    home = "https://www.mapillary.com/dataset/vistas (registration)"
    licence = "CC BY-NC-SA"
    layout = (
        "below mapillary_vistas, {training,validation}/images/NAME.jpg with {training,validation}/labels/NAME.png, or "
        "with {training,validation}/v1.2/labels/NAME.png"
    )
    citation = (
        "Neuhold, Ollmann, Rota Bulo, Kontschieder: The Mapillary Vistas dataset for semantic understanding of street "
        "scenes. ICCV 2017"
    )
    raw_ids: ClassVar = {**{i: i for i in range(65)}, 65: IGNORE}

    def find(self) -> list[Item]:
        """List ``training`` or ``validation``, with the labels of version 1.2 where several versions are there."""
        part = _FOLDERS[self.split]
        labels = self.place(f"{part}/v1.2/labels", f"{part}/labels")
        return [Item(p.stem, p, labels / f"{p.stem}.png") for p in list_files(self.folder / part / "images", ".jpg")]


class MapillaryVistas19(MapillaryVistas):
    """Mapillary Vistas 1.2 read in Cityscapes' nineteen classes."""

    name = "mapillary_vistas_19"
    title = "Mapillary Vistas in Cityscapes' classes"
    classes = CITYSCAPES_19
    withheld: ClassVar = {"test": "use split 'val'"}
    submission = None  # its server scores all classes
    raw_ids: ClassVar = {
        **dict.fromkeys(range(66), IGNORE),
        **{
            MAPILLARY_65.names.index(name): CITYSCAPES_19.names.index(joined)
            for joined, names in AS_CITYSCAPES.items()
            for name in names
        },
    }
