"""Objects that no training picture shows: new shapes and textures, lit like everything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.toyscapes.canvas import Canvas
from datasets.toyscapes.classes import ANOMALY
from datasets.toyscapes.draws import Colour, Draw, Floats, Mask
from datasets.toyscapes.scene import Scene
from datasets.toyscapes.textures import ellipse, fraction, inside, near_segment, noise, when
from datasets.toyscapes.things import Footprint, Light

SHAPES = ("blob", "star", "shard", "spiral", "beast", "crate", "ring", "skittle")
TEXTURES = ("chequers", "stripes", "rings", "dots", "zigzag", "marble", "planks")

_COLOURS: tuple[Colour, ...] = (
    (0.20, 0.18, 0.16),
    (0.62, 0.58, 0.50),
    (0.46, 0.32, 0.20),
    (0.34, 0.36, 0.38),
    (0.58, 0.26, 0.18),
    (0.24, 0.38, 0.34),
    (0.66, 0.54, 0.26),
    (0.44, 0.30, 0.44),
    (0.72, 0.70, 0.66),
    (0.18, 0.24, 0.36),
)

_STEP = (0.9659258262890683, 0.25881904510252074)
"""Cosine and sine of 15 degrees, as constants so that no machine computes them differently."""


def _direction(steps: int) -> tuple[float, float]:
    """The unit vector at ``steps`` times 15 degrees."""
    x, y = 1.0, 0.0
    for _ in range(steps % 24):
        x, y = x * _STEP[0] - y * _STEP[1], x * _STEP[1] + y * _STEP[0]
    return x, y


@dataclass(frozen=True)
class Anomaly:
    """One unknown object; ``size`` is half its height in metres, ``lift`` its distance from the ground."""

    x: float
    z: float
    size: float
    stretch: float
    lift: float
    shape: str
    texture: str
    first: Colour
    second: Colour
    turn: int
    offset: int
    fineness: float

    @property
    def footprint(self) -> Footprint:
        """The ground under it."""
        half = self.size * self.stretch
        return Footprint(self.x, self.z, half * 0.9, half * 0.6, self.size * 2.0)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint its shape with its texture, rounded by light from above and from the sun's side."""
        half = self.size * self.stretch
        face = canvas.card(self.x, self.z, (-half * 1.1, self.lift), (half * 1.1, self.lift + self.size * 2.1))
        if face is None:
            return
        a = face.a * (1.0 / half)
        y = (face.y - self.lift) * (1.0 / self.size) - 1.0
        mask = self._mask(a, y)
        cos, sin = _direction(self.turn)
        along, across = a * cos * self.stretch + y * sin, y * cos - a * sin * self.stretch
        part = self._pattern(along * self.fineness, across * self.fineness)[:, :, None]
        first, second = np.asarray(self.first, np.float32), np.asarray(self.second, np.float32)
        sun = -1.0 if light.slant > 0.0 else 1.0
        grain = noise("grain", face.a * 40.0, face.y * 40.0, self.offset)
        relief = (0.92 + 0.20 * y + 0.12 * sun * a + 0.08 * grain) * light.front
        colour = (first + part * (second - first)) * relief[:, :, None]
        canvas.put(face, mask, colour, ANOMALY)

    def _mask(self, a: Floats, y: Floats) -> Mask:
        shape = self.shape
        if shape == "blob":
            bulge = noise("cloud", a * 24.0, y * 24.0, self.offset)
            return ellipse(a, y, (0.0, 0.0), (0.92, 0.95)) + 0.45 * bulge < 0.9
        if shape == "star":
            radius = np.full(np.broadcast_shapes(a.shape, y.shape), -9.0, np.float32)
            for tip in range(5):
                cos, sin = _direction(self.turn + tip * 5)
                near = a * cos + y * sin
                aside = np.abs(y * cos - a * sin)
                radius = np.maximum(radius, np.where(near > 0.0, 0.95 - near - 2.2 * aside, np.float32(-9.0)))
            star: Mask = (radius > 0.0) | (a * a + y * y < 0.12)
            return star
        if shape == "shard":
            mask = np.ones(np.broadcast_shapes(a.shape, y.shape), np.bool_)
            for number, steps in enumerate((0, 5, 9, 14, 19)):
                cos, sin = _direction(steps + self.turn)
                mask &= a * cos + y * sin < 0.55 + 0.09 * ((self.offset >> number) & 3)
            return mask & (y > -1.0)
        if shape == "spiral":
            mask = np.zeros(np.broadcast_shapes(a.shape, y.shape), np.bool_)
            for number in range(34):
                cos, sin = _direction(number + self.turn)
                reach = 0.10 + 0.024 * number
                mask |= ellipse(a, y, (cos * reach, sin * reach), (0.13, 0.13)) < 1.0
            return mask
        if shape == "beast":
            mask = ellipse(a, y, (0.0, 0.05), (0.66, 0.36)) < 1.0
            mask |= ellipse(a, y, (0.66, 0.52), (0.26, 0.24)) < 1.0
            mask |= near_segment(a, y, (0.45, 0.15), (0.62, 0.45), 0.15)
            mask |= near_segment(a, y, (0.58, 0.7), (0.5, 0.95), 0.06)
            mask |= near_segment(a, y, (-0.6, 0.15), (-0.92, 0.5), 0.06)
            for foot in (-0.5, -0.28, 0.26, 0.5):
                mask |= near_segment(a, y, (foot * 0.9, -0.1), (foot, -0.95), 0.085)
            return mask
        if shape == "crate":
            return (np.abs(a) < 0.9) & inside(y, -1.0, 0.9)
        if shape == "ring":
            distance = ellipse(a, y, (0.0, 0.0), (0.95, 0.98))
            return inside(distance, 0.22, 1.0)
        waist = 0.30 + 0.5 * np.clip(-y, 0.0, 1.0) - when(inside(y, 0.1, 0.45), 0.15)
        return (np.abs(a) < waist) & inside(y, -1.0, 0.5) | (ellipse(a, y, (0.0, 0.62), (0.36, 0.34)) < 1.0)

    def _pattern(self, s: Floats, t: Floats) -> Floats:
        """(h, w) share of the second colour."""
        kind = self.texture
        if kind == "chequers":
            odd = fraction((np.floor(s * 1.6) + np.floor(t * 1.6)) * 0.5) > 0.25
            return odd.astype(np.float32)
        if kind == "stripes":
            return ((fraction(s * 1.4) < 0.5) & (t > -99.0)).astype(np.float32)
        if kind == "rings":
            return (fraction((s * s + t * t) * 1.1) < 0.5).astype(np.float32)
        if kind == "dots":
            ds, dt = fraction(s * 1.7) - 0.5, fraction(t * 1.7) - 0.5
            return (ds * ds + dt * dt < 0.09).astype(np.float32)
        if kind == "zigzag":
            return (fraction(t * 1.5 + np.abs(fraction(s * 1.2) - 0.5)) < 0.5).astype(np.float32)
        if kind == "marble":
            vein = noise("cloud", s * 22.0, t * 22.0, self.offset)
            return (np.abs(vein) < 0.22).astype(np.float32)
        crossed: Mask = (fraction(t * 1.5) < 0.16) | (np.abs(s - t) < 0.12)
        return crossed.astype(np.float32)


def add_anomalies(scene: Scene, draw: Draw) -> None:
    """Put one to four unknown objects into the scene, where nothing stands in front of them."""
    for number in range(draw.integer(1, 4)):
        # the first two alternate between road and roadside, so that pictures of both kinds abound
        scene.things.append(drawn_anomaly(scene, draw, on_road=(number == 0) == draw.chance(0.6)))


def drawn_anomaly(scene: Scene, draw: Draw, *, on_road: bool) -> Anomaly:
    """One unknown object on or off the road, between 6 and 40 pixels tall in a picture 128 pixels high."""
    camera, street = scene.camera, scene.street
    scale = camera.rows / 128.0
    # what stands nearer than this has its foot below the picture
    nearest = max(camera.focal * camera.height / (camera.rows * 0.97 - camera.horizon), 4.5)
    best: Anomaly | None = None
    for _ in range(12):
        tall = 6.0 * scale * (1.0 + 5.7 * draw.unit() * draw.unit())
        size = draw.between(0.2, 0.95)
        z = min(max(2.0 * size * camera.focal / tall, nearest), 38.0)
        size = min(max(0.5 * tall * z / camera.focal, 0.1), 1.5)
        if on_road:
            x = street.middle(z) + draw.between(-0.9, 0.9) * street.half
        else:
            side = draw.integer(0, 1)
            x = street.x(side, street.half + 0.4 + draw.between(0.0, street.front(side) - street.half - 0.4), z)
        lift = draw.between(0.4, 3.0) if not on_road and draw.chance(0.3) else 0.0
        best = Anomaly(
            x=x,
            z=z,
            size=size,
            stretch=draw.between(0.75, 1.4),
            lift=lift,
            shape=draw.choice(SHAPES),
            texture=draw.choice(TEXTURES),
            first=draw.colour(_COLOURS, 0.04),
            second=draw.colour(_COLOURS, 0.04),
            turn=draw.integer(0, 23),
            offset=draw.integer(0, 255),
            fineness=draw.between(0.9, 1.8),
        )
        column = camera.column(x, z)
        if 0.04 * camera.columns < column < 0.96 * camera.columns and not _hidden(scene, best):
            return best
    assert best is not None
    return best


def _hidden(scene: Scene, anomaly: Anomaly) -> bool:
    """Whether something stands in the way of seeing it or in its place."""
    column = scene.camera.column(anomaly.x, anomaly.z)
    for thing in scene.things:
        foot = thing.footprint
        front = foot.z - foot.half_depth
        if front > anomaly.z + 0.5:
            continue
        reach = scene.camera.focal * (foot.half_width + 0.2) / max(front, 1.0)
        if abs(scene.camera.column(foot.x, max(front, 1.0)) - column) < reach:
            return True
    return False
