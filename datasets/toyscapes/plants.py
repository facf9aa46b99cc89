"""Trees, bushes and hedges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.toyscapes.canvas import Canvas
from datasets.toyscapes.classes import VEGETATION
from datasets.toyscapes.draws import Colour, Draw
from datasets.toyscapes.textures import ellipse, inside, noise
from datasets.toyscapes.things import Footprint, Light, mix
from datasets.toyscapes.towns import Town

Blob = tuple[float, float, float, float]
"""Centre a, y and radii a, y of one mass of leaves."""


@dataclass(frozen=True)
class Plant:
    """A trunk and masses of leaves."""

    x: float
    z: float
    height: float
    trunk: tuple[float, float]
    """Width, and height at which the leaves begin."""
    blobs: tuple[Blob, ...]
    pointed: bool
    leaves: Colour
    bark: Colour
    ragged: float
    offset: int

    @property
    def footprint(self) -> Footprint:
        """The ground under the crown."""
        reach = max(abs(a) + ra for a, _, ra, _ in self.blobs)
        return Footprint(self.x, self.z, reach * 0.8, reach * 0.7, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint trunk and crown, brighter on top and on the sunny side."""
        reach = max(abs(a) + ra for a, _, ra, _ in self.blobs) * 1.25 + 0.3
        top = max(y + ry for _, y, _, ry in self.blobs) * 1.1 + 0.3
        face = canvas.card(self.x, self.z, (-reach, 0.0), (reach, top))
        if face is None:
            return
        a, y = face.a, face.y
        width, start = self.trunk
        if width > 0.0:
            least = canvas.camera.metres(1.0, self.z)
            half = max(width, least) * 0.5
            trunk = (np.abs(a + 0.05 * y) < half) & inside(y, 0.0, start + 1.0)
            bark = (1.0 + 0.2 * noise("grain", a * 40.0, y * 15.0, self.offset)) * light.front
            canvas.put(face, trunk, bark[:, :, None] * np.asarray(self.bark, np.float32), VEGETATION)
        texel = 10.0
        coarse = noise("leaf", a * texel, y * texel, self.offset)
        fine = noise("grain", a * texel * 2.0, y * texel * 2.0, self.offset)
        if self.pointed:
            half_base = self.blobs[0][2]
            part = np.clip((y - start) * (1.0 / (self.height - start)), 0.0, 1.0)
            tiers = 1.0 - 0.3 * ((part * 6.0) - np.floor(part * 6.0))
            distance = np.abs(a) * (1.0 / half_base) - (1.0 - part) * tiers + 1.0
            distance = np.where(inside(y, start, self.height), distance, np.float32(9.0))
        else:
            distance = np.full(coarse.shape, 9.0, np.float32)
            for blob in self.blobs:
                distance = np.minimum(distance, ellipse(a, y, blob[:2], blob[2:]))
        mask = distance + self.ragged * coarse + 0.06 * fine < 1.0
        sun = -1.0 if light.slant > 0.0 else 1.0
        relief = 0.16 * sun * a * (1.0 / reach) + 0.30 * (y * (1.0 / top) - 0.5)
        value = (0.92 + relief + 0.26 * coarse + 0.14 * fine - 0.12 * distance) * light.front
        canvas.put(face, mask & (y > 0.0), value[:, :, None] * np.asarray(self.leaves, np.float32), VEGETATION)


def drawn_tree(draw: Draw, town: Town, x: float, z: float) -> Plant:
    """A tree of one of the town's crowns, rooted at (x, z)."""
    crown = draw.choice(town.crowns)
    height = draw.between(4.5, 9.5)
    start = height * draw.between(0.22, 0.38)
    trunk = (draw.between(0.2, 0.45), start)
    leaves = draw.colour(town.leaves, 0.03)
    bark = draw.colour(((0.26, 0.21, 0.17), (0.36, 0.32, 0.28), (0.18, 0.16, 0.15)), 0.02)
    middle, half = (start + height) * 0.5, (height - start) * 0.5
    ragged, pointed = 0.28, False
    if crown == "poplar":
        height, ragged = height * 1.15, 0.2
        blobs: tuple[Blob, ...] = ((0.0, middle, half * 0.36, half * 1.1),)
    elif crown == "spruce":
        start, pointed, ragged = height * 0.1, True, 0.18
        trunk = (0.3, start)
        blobs = ((0.0, middle, height * draw.between(0.2, 0.28), half),)
    elif crown == "palm":
        trunk = (0.28, height * 0.8)
        reach = height * 0.32
        blobs = tuple(
            (reach * 0.5 * k, height * (0.86 - 0.05 * k * k), reach * 0.34, height * 0.05)
            for k in (-2.0, -1.0, 0.0, 1.0, 2.0)
        )
        ragged = 0.35
    elif crown == "bush":
        trunk = (0.0, 0.0)
        height = height * 0.35
        blobs = (
            (0.0, height * 0.4, height * 0.7, height * 0.55),
            (height * 0.5, height * 0.3, height * 0.5, height * 0.4),
        )
    elif crown == "clumped":
        blobs = tuple(
            (
                draw.between(-0.7, 0.7) * half,
                middle + draw.between(-0.6, 0.6) * half,
                half * draw.between(0.35, 0.6),
                half * draw.between(0.3, 0.5),
            )
            for _ in range(6)
        )
        trunk = (trunk[0], middle)
    else:
        blobs = ((0.0, middle, half * draw.between(0.75, 1.05), half),)
    return Plant(x, z, height, trunk, blobs, pointed, leaves, bark, ragged, draw.integer(0, 255))


def drawn_bush(draw: Draw, town: Town, x: float, z: float) -> Plant:
    """A bush of one to three masses of leaves."""
    size = draw.between(0.5, 1.3)
    leaves = mix(draw.colour(town.leaves, 0.03), (0.16, 0.20, 0.12), draw.between(0.0, 0.4))
    blobs = tuple(
        (
            draw.between(-1.0, 1.0) * size,
            size * draw.between(0.35, 0.6),
            size * draw.between(0.6, 1.0),
            size * 0.6,
        )
        for _ in range(draw.integer(1, 3))
    )
    return Plant(x, z, size * 1.2, (0.0, 0.0), blobs, False, leaves, leaves, 0.35, draw.integer(0, 255))


@dataclass(frozen=True)
class Hedge:
    """A clipped hedge along the street."""

    near: tuple[float, float]
    far: tuple[float, float]
    height: float
    leaves: Colour
    offset: int

    @property
    def footprint(self) -> Footprint:
        """Where it meets the ground."""
        z = (self.near[1] + self.far[1]) * 0.5
        return Footprint(self.near[0], z, 0.5, (self.far[1] - self.near[1]) * 0.5, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint the side towards the street."""
        face = canvas.wall(self.near, self.far, self.height * 1.2)
        if face is None:
            return
        s, y = face.a, face.y
        coarse = noise("leaf", s * 10.0, y * 10.0, self.offset)
        top = self.height * (1.0 + 0.10 * coarse)
        mask = (y >= 0.0) & (y < top) & inside(s, 0.0, 1e4)
        factor = light.right if self.near[0] < 0.0 else light.left
        value = (0.72 + 0.28 * coarse + 0.25 * y * (1.0 / self.height)) * factor
        canvas.put(face, mask, value[:, :, None] * np.asarray(self.leaves, np.float32), VEGETATION)
