"""The classes of toyscapes: fourteen of Cityscapes' nineteen, with its names, order and colours."""

from __future__ import annotations

from datasets.base import ClassSet

_TABLE = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bicycle", (119, 11, 32)),
)

CLASSES = ClassSet("toyscapes", tuple(name for name, _ in _TABLE), tuple(colour for _, colour in _TABLE))

(
    ROAD,
    SIDEWALK,
    BUILDING,
    FENCE,
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    TERRAIN,
    SKY,
    PERSON,
    CAR,
    TRUCK,
    BICYCLE,
) = range(len(_TABLE))

ANOMALY = len(_TABLE)
"""What anomalous objects are painted with; it never leaves the renderer as a class."""
