"""The appearance modes of the two towns: what colours, materials and shapes occur in each, and how often.

``HOME`` is where training, validation and test pictures are taken, in all weathers. ``OTHER`` shares the
classes and the geometry of the world but none of the facade styles, few of the colours, and has other habits
of building.
"""

from __future__ import annotations

from dataclasses import dataclass

from datasets.toyscapes.draws import Colour


@dataclass(frozen=True)
class Town:
    """Modes to draw from; a mode listed twice is twice as likely."""

    road: tuple[Colour, ...]
    road_surfaces: tuple[str, ...]
    markings: Colour
    sidewalk: tuple[Colour, ...]
    sidewalk_surfaces: tuple[str, ...]
    terrain: tuple[Colour, ...]
    facades: tuple[str, ...]
    facade_colours: dict[str, tuple[Colour, ...]]
    storeys: tuple[int, int]
    leaves: tuple[Colour, ...]
    crowns: tuple[str, ...]
    cars: tuple[Colour, ...]
    car_shapes: tuple[str, ...]
    trucks: tuple[Colour, ...]
    truck_surfaces: tuple[str, ...]
    poles: tuple[Colour, ...]
    signs: tuple[str, ...]
    lights: tuple[Colour, ...]
    fences: tuple[str, ...]
    fence_colours: tuple[Colour, ...]
    clothes: tuple[Colour, ...]
    half_road: tuple[float, float]
    """Metres from the middle of the road to the kerb."""
    walk: tuple[float, float]
    """Width of the sidewalk in metres."""
    lots: tuple[str, ...]
    """What stands beside the road."""
    trees: float
    """Trees per metre of kerb."""
    skies: tuple[tuple[Colour, Colour], ...]
    """Colour at the zenith and at the horizon."""


HOME = Town(
    road=((0.35, 0.35, 0.37), (0.29, 0.29, 0.32), (0.40, 0.40, 0.41)),
    road_surfaces=("asphalt", "asphalt", "patched"),
    markings=(0.84, 0.84, 0.82),
    sidewalk=((0.60, 0.57, 0.53), (0.55, 0.55, 0.55), (0.60, 0.49, 0.45), (0.54, 0.52, 0.46)),
    sidewalk_surfaces=("slabs", "slabs", "plain", "pavers"),
    terrain=((0.44, 0.52, 0.20), (0.52, 0.53, 0.26), (0.40, 0.46, 0.20)),
    facades=("plaster", "plaster", "brick", "glass", "bands"),
    facade_colours={
        "plaster": (
            (0.78, 0.72, 0.58),
            (0.74, 0.60, 0.50),
            (0.66, 0.66, 0.64),
            (0.60, 0.64, 0.56),
            (0.80, 0.78, 0.74),
            (0.52, 0.56, 0.62),
        ),
        "brick": ((0.52, 0.30, 0.24), (0.44, 0.32, 0.27), (0.60, 0.44, 0.33), (0.36, 0.27, 0.25)),
        "glass": ((0.34, 0.42, 0.50), (0.28, 0.34, 0.36), (0.46, 0.50, 0.52)),
        "bands": ((0.56, 0.55, 0.52), (0.66, 0.62, 0.56), (0.46, 0.46, 0.48)),
    },
    storeys=(1, 4),
    leaves=((0.20, 0.38, 0.12), (0.28, 0.44, 0.14), (0.16, 0.30, 0.12), (0.34, 0.45, 0.16)),
    crowns=("round", "round", "clumped", "poplar", "spruce"),
    cars=(
        (0.80, 0.80, 0.80),
        (0.60, 0.61, 0.63),
        (0.11, 0.11, 0.13),
        (0.34, 0.35, 0.37),
        (0.60, 0.12, 0.11),
        (0.14, 0.22, 0.44),
        (0.20, 0.32, 0.28),
    ),
    car_shapes=("hatchback", "saloon", "estate", "van"),
    trucks=(
        (0.82, 0.81, 0.78),
        (0.24, 0.34, 0.54),
        (0.62, 0.20, 0.16),
        (0.42, 0.44, 0.43),
        (0.66, 0.58, 0.34),
    ),
    truck_surfaces=("plain", "ribbed", "striped", "tarpaulin"),
    poles=((0.66, 0.68, 0.70), (0.12, 0.16, 0.15), (0.10, 0.10, 0.11)),
    signs=("ring", "blue disc", "warning", "stop", "blue square", "arrow board"),
    lights=((0.06, 0.06, 0.06), (0.09, 0.11, 0.09)),
    fences=("pickets", "railing", "mesh", "boards"),
    fence_colours=((0.88, 0.87, 0.82), (0.52, 0.31, 0.14), (0.10, 0.26, 0.20)),
    clothes=(
        (0.10, 0.11, 0.16),
        (0.74, 0.14, 0.20),
        (0.14, 0.26, 0.62),
        (0.80, 0.58, 0.12),
        (0.10, 0.46, 0.42),
        (0.58, 0.18, 0.50),
    ),
    half_road=(3.6, 6.0),
    walk=(2.6, 4.8),
    lots=("building", "building", "building", "garden", "garden", "park", "yard", "yard"),
    trees=0.030,
    skies=(
        ((0.36, 0.54, 0.82), (0.74, 0.82, 0.90)),
        ((0.48, 0.62, 0.82), (0.84, 0.86, 0.88)),
        ((0.66, 0.70, 0.75), (0.82, 0.83, 0.84)),
        ((0.54, 0.56, 0.60), (0.72, 0.72, 0.73)),
        ((0.46, 0.52, 0.70), (0.90, 0.78, 0.64)),
    ),
)

OTHER = Town(
    road=((0.50, 0.43, 0.38), (0.56, 0.54, 0.50), (0.44, 0.37, 0.34)),
    road_surfaces=("cobbles", "concrete"),
    markings=(0.82, 0.66, 0.22),
    sidewalk=((0.62, 0.54, 0.38), (0.56, 0.40, 0.34), (0.38, 0.35, 0.33)),
    sidewalk_surfaces=("pavers", "chequers"),
    terrain=((0.52, 0.47, 0.26), (0.50, 0.39, 0.26), (0.42, 0.44, 0.18)),
    facades=("timber", "arches", "slats", "shingles"),
    facade_colours={
        "timber": ((0.84, 0.80, 0.70), (0.80, 0.64, 0.40), (0.62, 0.70, 0.66)),
        "arches": ((0.66, 0.54, 0.38), (0.58, 0.42, 0.34), (0.52, 0.48, 0.42)),
        "slats": ((0.42, 0.30, 0.20), (0.30, 0.42, 0.44), (0.58, 0.24, 0.20)),
        "shingles": ((0.36, 0.40, 0.46), (0.52, 0.44, 0.30), (0.34, 0.44, 0.34)),
    },
    storeys=(1, 3),
    leaves=((0.56, 0.36, 0.12), (0.50, 0.22, 0.12), (0.52, 0.46, 0.16), (0.30, 0.32, 0.14)),
    crowns=("clumped", "palm", "palm", "bush"),
    cars=((0.78, 0.62, 0.12), (0.16, 0.46, 0.28), (0.76, 0.38, 0.12), (0.46, 0.28, 0.50), (0.72, 0.66, 0.52)),
    car_shapes=("pickup", "pickup", "van", "saloon"),
    trucks=((0.20, 0.46, 0.34), (0.76, 0.50, 0.16), (0.52, 0.36, 0.26)),
    truck_surfaces=("tanker", "striped", "ribbed"),
    poles=((0.40, 0.28, 0.18), (0.62, 0.60, 0.54), (0.24, 0.36, 0.38)),
    signs=("diamond", "green board", "white square", "ring"),
    lights=((0.66, 0.54, 0.12), (0.40, 0.40, 0.38)),
    fences=("boards", "stones", "stones"),
    fence_colours=((0.56, 0.50, 0.40), (0.36, 0.24, 0.18), (0.30, 0.42, 0.48)),
    clothes=(
        (0.74, 0.60, 0.20),
        (0.70, 0.34, 0.20),
        (0.84, 0.80, 0.74),
        (0.22, 0.44, 0.36),
        (0.62, 0.26, 0.44),
    ),
    half_road=(2.7, 4.2),
    walk=(1.2, 2.6),
    lots=("building", "building", "garden", "garden", "park", "yard"),
    trees=0.050,
    skies=(
        ((0.30, 0.50, 0.72), (0.86, 0.80, 0.66)),
        ((0.62, 0.60, 0.58), (0.86, 0.80, 0.72)),
        ((0.40, 0.62, 0.76), (0.72, 0.84, 0.84)),
    ),
)
