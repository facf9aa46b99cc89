"""The camera and the canvas: where a point of the world lands in the picture, and what hides what.

World: x metres to the right of the camera, y metres above the ground, z metres ahead. The canvas is a grid of
samples half a pixel apart, one of them exactly on each pixel's centre: the picture is the samples under a
tent filter, the label is the centre sample, so labels lie neither left nor right of what is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datasets.toyscapes.draws import Colour, Floats, Mask

FAR = 1000.0
"""Depth of the sky in metres."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along z, ``height`` metres above the ground."""

    rows: int
    columns: int
    focal: float
    """In pixels."""
    horizon: float
    """Row of the horizon."""
    middle: float
    """Column of the vanishing point of z."""
    height: float

    def column(self, x: float, z: float) -> float:
        """Column of the point (x, ., z)."""
        return self.middle + self.focal * x / z

    def row(self, y: float, z: float) -> float:
        """Row of the point (., y, z)."""
        return self.horizon + self.focal * (self.height - y) / z

    def metres(self, pixels: float, z: float) -> float:
        """What ``pixels`` measure at depth z."""
        return pixels * z / self.focal


class Patch(NamedTuple):
    """The samples that a surface may cover, with the surface's own coordinates."""

    rows: slice
    columns: slice
    a: Floats
    """(1, w) metres along the surface: from its middle for an upright card, from its start for a wall."""
    y: Floats
    """(h, 1) or (h, w) metres above the ground."""
    depth: Floats
    """Broadcasts to (h, w)."""


class Canvas:
    """Colour, label, depth and glow of every sample."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        height, width = 2 * camera.rows + 1, 2 * camera.columns + 1
        self.v: Floats = (np.arange(height, dtype=np.float32)[:, None] - 1.0) * 0.5
        self.u: Floats = (np.arange(width, dtype=np.float32)[None, :] - 1.0) * 0.5
        self.colour: Floats = np.zeros((height, width, 3), np.float32)
        self.depth: Floats = np.full((height, width), FAR, np.float32)
        self.glow: Floats = np.zeros((height, width), np.float32)
        """How much of its colour a sample gives off by itself, which matters at night."""
        self.label = np.zeros((height, width), np.uint8)

    def window(self, left: float, right: float, top: float, bottom: float) -> tuple[slice, slice] | None:
        """The samples within the pixel bounds, or None if there are none."""
        height, width = self.label.shape
        first = max(0, int(min(max(left, -9.0), 1e5) * 2.0))
        last = min(width, int(min(max(right, -9.0), 1e5) * 2.0) + 3)
        upper = max(0, int(min(max(top, -9.0), 1e5) * 2.0))
        lower = min(height, int(min(max(bottom, -9.0), 1e5) * 2.0) + 3)
        if first >= last or upper >= lower:
            return None
        return slice(upper, lower), slice(first, last)

    def _hides(self, window: tuple[slice, slice], z: float) -> bool:
        """Whether all that has been painted in the window is nearer than z."""
        return float(self.depth[window].max()) < z

    def card(self, x: float, z: float, low: tuple[float, float], high: tuple[float, float]) -> Patch | None:
        """An upright surface at depth z that faces the camera: (a, y) from ``low`` to ``high`` about x."""
        cam = self.camera
        found = self.window(
            cam.column(x + low[0], z), cam.column(x + high[0], z), cam.row(high[1], z), cam.row(low[1], z)
        )
        if found is None or self._hides(found, z):
            return None
        rows, columns = found
        scale = z / cam.focal
        a = (self.u[:, columns] - cam.middle) * scale - x
        y = cam.height - (self.v[rows] - cam.horizon) * scale
        return Patch(rows, columns, a, y, np.full((1, 1), z, np.float32))

    def wall(self, start: tuple[float, float], end: tuple[float, float], top: float) -> Patch | None:
        """An upright surface from the ground point (x, z) ``start`` to ``end``, up to ``top`` metres."""
        (x0, z0), (x1, z1) = start, end
        cam = self.camera
        edges = sorted((cam.column(x0, z0), cam.column(x1, z1)))
        found = self.window(
            edges[0],
            edges[1],
            min(cam.row(top, z0), cam.row(top, z1)),
            max(cam.row(0.0, z0), cam.row(0.0, z1)),
        )
        if found is None or self._hides(found, min(z0, z1) - 0.5):
            return None
        rows, columns = found
        slope = (self.u[:, columns] - cam.middle) * (1.0 / cam.focal)
        below = (x1 - x0) - slope * (z1 - z0)
        part = (slope * z0 - x0) / np.where(below * below < 1e-10, np.float32(1e-5), below)
        part = np.clip(part, -0.01, 1.01)
        z = z0 + part * (z1 - z0)
        y = cam.height - (self.v[rows] - cam.horizon) * (1.0 / cam.focal) * z
        dx, dz = x1 - x0, z1 - z0
        length = math.sqrt(dx * dx + dz * dz)
        return Patch(rows, columns, part * length, y, z)

    def put(self, patch: Patch, mask: Mask, colour: Floats | Colour, label: int, glow: Floats | float = 0.0) -> None:
        """Paint ``colour`` where ``mask`` holds and nothing nearer was painted."""
        depth = self.depth[patch.rows, patch.columns]
        seen = mask & (patch.depth < depth)
        np.copyto(depth, patch.depth, where=seen)
        self.label[patch.rows, patch.columns][seen] = label
        paint = np.asarray(colour, np.float32)
        np.copyto(self.colour[patch.rows, patch.columns], paint, where=seen[:, :, None])
        np.copyto(self.glow[patch.rows, patch.columns], np.asarray(glow, np.float32), where=seen)

    def behind(self, patch: Patch) -> Floats:
        """(h, w, 3) what has been painted there so far, for surfaces that one sees through."""
        return self.colour[patch.rows, patch.columns]

    def picture(self) -> Floats:
        """(H, W, 3) colours under the tent filter."""
        c = self.colour
        rows = c[0:-2:2] * 0.25 + c[1:-1:2] * 0.5 + c[2::2] * 0.25
        return rows[:, 0:-2:2] * 0.25 + rows[:, 1:-1:2] * 0.5 + rows[:, 2::2] * 0.25

    def centres(self, samples: np.ndarray) -> np.ndarray:
        """The samples at the pixel centres, (H, W)."""
        return np.ascontiguousarray(samples[1::2, 1::2])
