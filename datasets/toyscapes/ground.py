"""The ground, from the kerb to the horizon, and the shadows on it; and the sky above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.toyscapes.canvas import Canvas
from datasets.toyscapes.classes import ROAD, SIDEWALK, SKY, TERRAIN
from datasets.toyscapes.draws import Colour, Draw, Floats, Mask
from datasets.toyscapes.textures import fraction, inside, noise, when
from datasets.toyscapes.things import Footprint, Light
from datasets.toyscapes.towns import Town

REACH = 220.0
"""Metres to the farthest ground that is told apart."""


@dataclass(frozen=True)
class Street:
    """Where the strips of the ground run; the middle of the road is at ``shift + bend * z * z``."""

    shift: float
    bend: float
    half: float
    lanes: int
    verges: tuple[float, float]
    """Width of the grass between road and sidewalk, left and right; 0 for none."""
    walks: tuple[float, float]
    crossing: float
    """Depth at which another road crosses, or a negative number."""
    crossing_width: float
    zebra: float
    """Depth of a zebra crossing, or a negative number."""

    def middle(self, z: float) -> float:
        """x of the middle of the road."""
        return self.shift + self.bend * z * z

    def kerb(self, side: int) -> float:
        """Distance of the inner edge of the sidewalk from the middle; side 0 is left, 1 right."""
        return self.half + self.verges[side]

    def front(self, side: int) -> float:
        """Distance of the lots from the middle."""
        return self.kerb(side) + self.walks[side]

    def x(self, side: int, distance: float, z: float) -> float:
        """x of the point ``distance`` from the middle on one side."""
        return self.middle(z) + (distance if side else -distance)

    def crossed(self, near: float, far: float) -> bool:
        """Whether the crossing road takes any of the depths."""
        return self.crossing > 0.0 and near < self.crossing + self.crossing_width and far > self.crossing


class Ground:
    """Materials of one scene's ground; paints it."""

    def __init__(self, draw: Draw, town: Town, street: Street) -> None:
        self.street = street
        self.road = draw.colour(town.road, 0.02)
        self.road_surface = draw.choice(town.road_surfaces)
        self.walk = draw.colour(town.sidewalk, 0.025)
        self.walk_surface = draw.choice(town.sidewalk_surfaces)
        self.grass = draw.colour(town.terrain, 0.03)
        self.paint_colour = town.markings
        self.worn = draw.between(0.35, 1.0)
        self.edge_lines = draw.chance(0.4)
        self.offset = draw.integer(0, 255)
        self.dash = draw.between(0.0, 6.0)
        self.bump = draw.between(0.6, 1.5)

    def paint(self, canvas: Canvas) -> None:
        """Paint every sample below the horizon."""
        cam, street = canvas.camera, self.street
        first = max(0, int((cam.horizon + 0.7) * 2.0) + 2)
        rows = slice(first, canvas.v.shape[0])
        below = canvas.v[rows] - cam.horizon
        z = np.minimum((cam.focal * cam.height) / below, np.float32(REACH))
        x = (canvas.u - cam.middle) * (1.0 / cam.focal) * z
        across = x - (z * z * street.bend + street.shift)
        fade = np.minimum(np.float32(1.0), 9.0 / z)

        label = self._label(across, z)
        colour = np.empty((*across.shape, 3), np.float32)
        fine = noise("grain", across * 24.0, z * 10.0, self.offset)
        coarse = noise("patch", across * 9.0, z * 3.0, self.offset)
        for ident, paint in ((ROAD, self._road), (SIDEWALK, self._walk), (TERRAIN, self._terrain)):
            brightness, base = paint(across, z, fine * fade, coarse * fade)
            np.copyto(colour, brightness[:, :, None] * base, where=(label == ident)[:, :, None])
        marked = self._marked(across, z) & (label == ROAD)
        strength = (0.62 + 0.3 * coarse * fade) * self.worn
        marking = colour + strength[:, :, None] * (np.asarray(self.paint_colour, np.float32) - colour)
        np.copyto(colour, marking, where=marked[:, :, None])

        canvas.colour[rows] = colour
        canvas.label[rows] = label
        canvas.depth[rows] = z

    def _label(self, across: Floats, z: Floats) -> np.ndarray:
        street = self.street
        label = np.full(across.shape, TERRAIN, np.uint8)
        for side, away in ((0, -across), (1, across)):
            label[inside(away, street.kerb(side), street.front(side) + 0.3)] = SIDEWALK
        label[np.abs(across) < street.half] = ROAD
        if street.crossing > 0.0:
            walk = (z > street.crossing - 2.2) & (z < street.crossing + street.crossing_width + 2.2)
            label[walk & (np.abs(across) >= street.half)] = SIDEWALK
            label[np.broadcast_to(inside(z, street.crossing, street.crossing + street.crossing_width), label.shape)] = (
                ROAD
            )
        return label

    def _road(self, across: Floats, z: Floats, fine: Floats, coarse: Floats) -> tuple[Floats, np.ndarray]:
        lane = 2.0 * self.street.half / max(self.street.lanes, 1)
        track = np.abs(fraction((across + self.street.half) * (1.0 / lane)) - 0.5)
        wide = noise("cloud", across * 3.0, z * 1.0, self.offset)
        value = 1.0 + 0.13 * self.bump * fine + 0.07 * coarse + 0.10 * wide - when(inside(track, 0.18, 0.34), 0.08)
        if self.road_surface == "patched":
            spot = noise("cell", np.floor(across * 0.4), np.floor(z * 0.14), self.offset)
            value = value + when(np.abs(spot) > 0.72, 0.22) * np.sign(spot)
        elif self.road_surface == "cobbles":
            joint = (fraction(across * 2.2) < 0.16) | (fraction(z * 1.4) < 0.16)
            stone = noise("cell", np.floor(across * 2.2), np.floor(z * 1.4), self.offset)
            near = np.minimum(np.float32(1.0), 12.0 / z)
            value = value + near * (0.16 * stone - when(joint, 0.24))
        elif self.road_surface == "concrete":
            value = value - when(fraction(z * 0.2) < 0.04, 0.30) - when(np.abs(across) < 0.06, 0.25)
        return value, np.asarray(self.road, np.float32)

    def _walk(self, across: Floats, z: Floats, fine: Floats, coarse: Floats) -> tuple[Floats, np.ndarray]:
        value = 1.0 + 0.10 * fine + 0.09 * coarse
        near = np.minimum(np.float32(1.0), 14.0 / z)
        if self.walk_surface == "slabs":
            value = value - near * when((fraction(across * 1.1) < 0.10) | (fraction(z * 0.9) < 0.09), 0.20)
        elif self.walk_surface == "pavers":
            row = np.floor(z * 1.8)
            brick = noise("cell", np.floor(across * 2.4 + 0.5 * row), row, self.offset)
            value = value + 0.16 * near * brick
        elif self.walk_surface == "chequers":
            odd = fraction((np.floor(across * 1.6) + np.floor(z * 1.2)) * 0.5) > 0.25
            value = value + near * (when(odd, 0.20) - 0.10)
        for side, away in ((0, -across), (1, across)):
            edge = self.street.kerb(side)
            value = value + when(inside(away, edge, edge + 0.18), 0.22)
        return value, np.asarray(self.walk, np.float32)

    def _terrain(self, across: Floats, z: Floats, fine: Floats, coarse: Floats) -> tuple[Floats, np.ndarray]:
        tuft = noise("leaf", across * 14.0, z * 5.0, self.offset)
        bare = noise("cloud", across * 5.0, z * 2.0, self.offset + 9)
        value = 1.0 + 0.20 * fine + 0.16 * coarse + 0.16 * tuft
        earth = np.clip(bare * 1.6 - 0.5, 0.0, 0.8)[:, :, None]
        base = np.asarray(self.grass, np.float32)
        return value, base + earth * (np.asarray((0.44, 0.37, 0.28), np.float32) - base)

    def _marked(self, across: Floats, z: Floats) -> Mask:
        street = self.street
        half_line = 0.075 + 0.004 * np.minimum(z, np.float32(30.0))
        marked = np.zeros(across.shape, np.bool_)
        lane = 2.0 * street.half / street.lanes
        dashed = fraction((z + self.dash) * (1.0 / 6.0)) < 0.5
        for number in range(1, street.lanes):
            solid = street.lanes == 4 and number == 2
            line = np.abs(across - (number * lane - street.half)) < half_line
            marked |= line if solid else line & dashed
        if self.edge_lines:
            marked |= np.abs(np.abs(across) - (street.half - 0.3)) < half_line
        if street.crossing > 0.0:
            marked &= (z < street.crossing - 3.5) | (z > street.crossing + street.crossing_width + 1.0)
        if street.zebra > 0.0:
            on_zebra = inside(z, street.zebra, street.zebra + 3.0)
            marked &= ~on_zebra
            marked |= on_zebra & (fraction(across * 0.9) < 0.5)
        return marked


def paint_shadow(canvas: Canvas, foot: Footprint, light: Light) -> None:
    """Darken the ground under a thing, and beside it where its shadow falls."""
    cam = canvas.camera
    contact = 0.55 if not light.lit else 0.7
    parts = [(foot.x, foot.half_width * 1.12, foot.half_depth + 0.2, contact)]
    reach = light.slant * min(foot.height, 9.0)
    if light.shadow < 0.9:
        parts.append((foot.x + reach * 0.5, foot.half_width + abs(reach) * 0.5, foot.half_depth, light.shadow))
    for x, half_width, half_depth, factor in parts:
        near, far = max(foot.z - half_depth, 1.5), foot.z + half_depth
        window = canvas.window(
            cam.column(x, foot.z) - cam.focal * half_width / near,
            cam.column(x, foot.z) + cam.focal * half_width / near,
            cam.row(0.0, far),
            cam.row(0.0, near),
        )
        if window is None:
            continue
        rows, columns = window
        below = np.maximum(canvas.v[rows] - cam.horizon, np.float32(0.5))
        z = (cam.focal * cam.height) / below
        across = ((canvas.u[:, columns] - cam.middle) * (1.0 / cam.focal) * z - x) * (1.0 / half_width)
        along = (z - foot.z) * (1.0 / half_depth)
        distance = across * across + along * along
        amount = np.clip((1.0 - distance) * 2.5, 0.0, 1.0) * (1.0 - factor)
        amount = amount * (canvas.v[rows] > cam.horizon + 0.7)
        canvas.colour[rows, columns] *= (1.0 - amount)[:, :, None]


def paint_building_shadow(canvas: Canvas, street: Street, side: int, depths: tuple[float, float], reach: float) -> None:
    """Darken the strip of ground that a row of houses keeps from the sun."""
    cam = canvas.camera
    near, far = depths
    window = canvas.window(0.0, float(cam.columns), cam.row(0.0, far), cam.row(0.0, near))
    if window is None:
        return
    rows, columns = window
    below = np.maximum(canvas.v[rows] - cam.horizon, np.float32(0.5))
    z = (cam.focal * cam.height) / below
    across = (canvas.u[:, columns] - cam.middle) * (1.0 / cam.focal) * z - (z * z * street.bend + street.shift)
    away = across if side else -across
    shaded = (away > street.front(side) - reach) & inside(z, near, far) & (canvas.v[rows] > cam.horizon + 0.7)
    canvas.colour[rows, columns] *= np.where(shaded, np.float32(0.58), np.float32(1.0))[:, :, None]


def paint_sky(canvas: Canvas, draw: Draw, zenith: Colour, low: Colour) -> None:
    """Fill the canvas with a sky: a gradient, brighter towards one side, with clouds."""
    cam = canvas.camera
    height = np.clip((cam.horizon - canvas.v) * (1.0 / max(cam.horizon, 1.0)), 0.0, 1.0)
    upper = np.asarray(zenith, np.float32)
    lower = np.asarray(low, np.float32)
    colour = lower + (height * (2.0 - height))[:, :, None] * (upper - lower)
    scale = 256.0 / cam.columns
    stretch = draw.between(0.5, 1.3)
    texture = noise("cloud", canvas.u * (scale * stretch), canvas.v * (scale * 2.0), draw.integer(0, 255))
    cover = draw.between(0.0, 0.55)
    clouds = np.clip((texture + cover - 0.25) * 1.4, 0.0, 0.85)[:, :, None]
    white = np.asarray(draw.colour(((0.92, 0.92, 0.93), (0.78, 0.79, 0.82)), 0.02), np.float32)
    colour = colour + clouds * (white - colour)
    glare = 1.0 + (canvas.u - cam.middle)[:, :, None] * (draw.between(-0.10, 0.10) / cam.columns)
    canvas.colour[:] = np.minimum(colour * glare, np.float32(0.98))
    canvas.label[:] = SKY
