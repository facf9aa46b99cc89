"""Tiles of value noise and the small mask functions that shapes are made of.

Everything is +, -, *, /, floor, comparison and table look-up on float32, which IEEE 754 fixes to the last
bit.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from datasets.toyscapes.draws import Draw, Floats, Mask

TILE = 256
"""Side of a noise tile; tiles repeat seamlessly."""

_OCTAVES = {
    "cloud": ((4, 0.55), (8, 0.25), (16, 0.13), (32, 0.07)),
    "patch": ((16, 0.5), (32, 0.3), (64, 0.2)),
    "leaf": ((32, 0.3), (64, 0.35), (128, 0.35)),
    "grain": ((128, 0.4), (256, 0.6)),
    "cell": ((256, 1.0),),
}


@cache
def tile(kind: str) -> Floats:
    """The (256, 256) tile of ``kind``, values in [-1, 1]; coarse to fine: cloud, patch, leaf, grain, cell."""
    total = np.zeros((TILE, TILE), np.float32)
    for number, (cells, weight) in enumerate(_OCTAVES[kind]):
        draw = Draw(71, sorted(_OCTAVES).index(kind), number)
        lattice = draw.uniform_field(cells, cells) * 2.0 - 1.0
        place = np.arange(TILE, dtype=np.float32) * np.float32(cells / TILE)
        low = np.floor(place).astype(np.int32)
        high = (low + 1) % cells
        part = place - low.astype(np.float32)
        part = part * part * (3.0 - 2.0 * part)
        down, right = part[:, None], part[None, :]
        upper = lattice[low][:, low] * (1.0 - right) + lattice[low][:, high] * right
        lower = lattice[high][:, low] * (1.0 - right) + lattice[high][:, high] * right
        total += (upper * (1.0 - down) + lower * down) * weight
    stretch = {"cloud": 2.2, "patch": 2.0, "leaf": 1.9, "grain": 1.4, "cell": 1.0}[kind]
    return (total * stretch).clip(-1.0, 1.0)


def noise(kind: str, across: Floats, down: Floats, offset: int = 0) -> Floats:
    """Look the tile up at texel coordinates, which broadcast against each other and wrap around."""
    column = (np.floor(across).astype(np.int32) + offset * 37) & (TILE - 1)
    row = (np.floor(down).astype(np.int32) + offset * 101) & (TILE - 1)
    texels: Floats = tile(kind)[row, column]
    return texels


def fraction(values: Floats) -> Floats:
    """The part after the floor, in [0, 1)."""
    return values - np.floor(values)


def inside(values: Floats, low: float, high: float) -> Mask:
    """Where low <= values < high."""
    return (values >= low) & (values < high)


def when(mask: Mask, amount: float) -> Floats:
    """``amount`` where the mask holds, else 0; in float32, which a bool array times a float is not."""
    return np.where(mask, np.float32(amount), np.float32(0.0))


def ellipse(a: Floats, y: Floats, centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
    """Squared distance from ``centre`` in units of ``radii``: below 1 inside."""
    da = (a - centre[0]) * (1.0 / radii[0])
    dy = (y - centre[1]) * (1.0 / radii[1])
    return da * da + dy * dy


def near_segment(a: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float], radius: float) -> Mask:
    """Where the point (a, y) lies within ``radius`` of the segment."""
    da, dy = end[0] - start[0], end[1] - start[1]
    length2 = da * da + dy * dy + 1e-9
    along = np.clip(((a - start[0]) * da + (y - start[1]) * dy) * (1.0 / length2), 0.0, 1.0)
    ra = a - start[0] - along * da
    ry = y - start[1] - along * dy
    return ra * ra + ry * ry < radius * radius
