"""Poles with what hangs on them, fences, and the people who walk between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.toyscapes.canvas import Canvas, Patch
from datasets.toyscapes.classes import FENCE, PERSON, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN
from datasets.toyscapes.draws import Colour, Draw, Floats, Mask
from datasets.toyscapes.textures import ellipse, fraction, inside, near_segment, noise, when
from datasets.toyscapes.things import Footprint, Lamp, Light, shade
from datasets.toyscapes.towns import Town

_WHITE = (0.84, 0.84, 0.82)
_RED = (0.70, 0.10, 0.10)
_BLUE = (0.10, 0.24, 0.58)
_BLACK = (0.08, 0.08, 0.08)
_YELLOW = (0.84, 0.66, 0.12)
_GREEN = (0.10, 0.40, 0.24)

_LAMP_COLOURS: tuple[Colour, Colour, Colour] = ((0.92, 0.16, 0.10), (0.94, 0.66, 0.14), (0.20, 0.86, 0.46))


@dataclass(frozen=True)
class Pole:
    """A bare pole: lamp post with an arm, mast, or bollard."""

    x: float
    z: float
    height: float
    width: float
    arm: float
    """Reach of the lamp's arm in metres, signed; 0 for none."""
    colour: Colour

    @property
    def footprint(self) -> Footprint:
        """The ground under the pole."""
        return Footprint(self.x, self.z, 0.18, 0.18, self.height)

    def lamp(self) -> Lamp | None:
        """The lamp that it carries."""
        return Lamp(self.x + self.arm, self.height, self.z) if self.arm else None

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint shaft, arm and lamp."""
        reach = abs(self.arm) + 0.5
        face = canvas.card(self.x, self.z, (-reach, 0.0), (reach, self.height + 0.3))
        if face is None:
            return
        half = max(self.width, canvas.camera.metres(2.0, self.z)) * 0.5
        shaft = _shaft(face, half, self.height, self.colour, light)
        canvas.put(face, *shaft, POLE)
        if self.arm:
            a, y = face.a, face.y
            bar = near_segment(a, y, (0.0, self.height - 0.4), (self.arm, self.height), half * 0.7)
            canvas.put(face, bar, shade(self.colour, light.front), POLE)
            head = ellipse(a, y, (self.arm, self.height), (0.42, max(0.14, half))) < 1.0
            canvas.put(face, head, (0.98, 0.86, 0.60) if light.lit else (0.66, 0.66, 0.62), POLE, float(light.lit))


@dataclass(frozen=True)
class Sign:
    """A traffic sign on its pole."""

    x: float
    z: float
    height: float
    """Of the sign's middle."""
    size: float
    design: str
    faded: float
    colour: Colour
    """Of the pole."""

    @property
    def footprint(self) -> Footprint:
        """The ground under the pole."""
        return Footprint(self.x, self.z, 0.15, 0.15, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint the pole and the sign before it."""
        reach = self.size * 1.3 + 0.2
        face = canvas.card(self.x, self.z, (-reach, 0.0), (reach, self.height + reach))
        if face is None:
            return
        half = max(0.16, canvas.camera.metres(1.6, self.z)) * 0.5
        canvas.put(face, *_shaft(face, half, self.height + self.size * 0.3, self.colour, light), POLE)
        near = face._replace(depth=face.depth - 0.03)
        shape, colour = _sign_face(face.a * (1.0 / self.size), (face.y - self.height) * (1.0 / self.size), self.design)
        grey = np.asarray((0.5, 0.5, 0.5), np.float32)
        colour = (colour + self.faded * (grey - colour)) * light.front
        canvas.put(near, shape, colour, TRAFFIC_SIGN, 0.10 if light.lit else 0.0)


@dataclass(frozen=True)
class TrafficLight:
    """A signal on a pole, at its top or at the end of an arm over the road."""

    x: float
    z: float
    height: float
    arm: float
    phase: int
    """0 red, 1 amber, 2 green, 3 seen from behind."""
    housing: Colour
    colour: Colour

    @property
    def footprint(self) -> Footprint:
        """The ground under the pole."""
        return Footprint(self.x, self.z, 0.18, 0.18, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint the pole and the signals."""
        reach = abs(self.arm) + 0.6
        face = canvas.card(self.x, self.z, (-reach, 0.0), (reach, self.height + 1.0))
        if face is None:
            return
        half = max(0.22, canvas.camera.metres(2.0, self.z)) * 0.5
        canvas.put(face, *_shaft(face, half, self.height, self.colour, light), POLE)
        near = face._replace(depth=face.depth - 0.05)
        places = [(0.0, min(self.height, 2.9))]
        if self.arm:
            bar = near_segment(face.a, face.y, (0.0, self.height), (self.arm, self.height), half * 0.8)
            canvas.put(face, bar, shade(self.colour, light.front), POLE)
            places.append((self.arm, self.height - 0.3))
        for a, y in places:
            self._paint_signal(canvas, near, (a, y), light)

    def _paint_signal(self, canvas: Canvas, face: Patch, centre: tuple[float, float], light: Light) -> None:
        a, y = face.a - centre[0], face.y - centre[1]
        box = (np.abs(a) < 0.30) & (np.abs(y) < 0.74)
        colour = np.empty((*box.shape, 3), np.float32)
        colour[:] = shade(self.housing, light.front)
        rim = (np.abs(a) > 0.24) | (np.abs(y) > 0.68)
        np.copyto(colour, np.asarray(shade(_WHITE, light.front), np.float32), where=rim[:, :, None])
        glow = np.zeros(box.shape, np.float32)
        if self.phase < 3:
            for number, height in enumerate((0.46, 0.0, -0.46)):
                lens = ellipse(a, y, (0.0, height), (0.21, 0.21)) < 1.0
                on = number == self.phase
                bright = _LAMP_COLOURS[number] if on else shade(_LAMP_COLOURS[number], 0.22)
                np.copyto(colour, np.asarray(bright, np.float32), where=lens[:, :, None])
                if on:
                    np.copyto(glow, np.float32(1.0), where=lens)
        canvas.put(face, box, colour, TRAFFIC_LIGHT, glow)


@dataclass(frozen=True)
class Fence:
    """A fence along the street; one sees through some kinds, but its holes count as fence."""

    near: tuple[float, float]
    far: tuple[float, float]
    height: float
    kind: str
    colour: Colour
    offset: int

    @property
    def footprint(self) -> Footprint:
        """Where it meets the ground."""
        z = (self.near[1] + self.far[1]) * 0.5
        return Footprint(self.near[0], z, 0.2, (self.far[1] - self.near[1]) * 0.5, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint the side towards the street."""
        face = canvas.wall(self.near, self.far, self.height)
        if face is None:
            return
        s, y = face.a, face.y
        mask = inside(s, 0.0, self.far[1] - self.near[1]) & inside(y, 0.0, self.height)
        factor = light.right if self.near[0] < 0.0 else light.left
        grain = noise("grain", s * 22.0, y * 8.0, self.offset)
        value = (1.0 + 0.14 * grain) * factor
        if self.kind == "pickets":
            solid = (fraction(s * 2.6) < 0.55) | inside(y, self.height * 0.25, self.height * 0.38)
        elif self.kind == "railing":
            solid = (fraction(s * 3.2) < 0.36) | (y > self.height - 0.14) | inside(y, 0.1, 0.22)
        elif self.kind == "mesh":
            solid = (fraction((s + y) * 2.0) < 0.26) | (fraction((s - y) * 2.0) < 0.26) | (y > self.height - 0.1)
            solid = solid | (fraction(s * 0.4) < 0.06)
        elif self.kind == "stones":
            row = np.floor(y * 3.2)
            value = value + 0.24 * factor * noise("cell", np.floor(s * 1.8 + 0.5 * row), row, self.offset)
            solid = mask
        else:
            value = value - when(fraction(s * 3.0) < 0.12, 0.26 * factor)
            value = value + 0.12 * factor * noise("cell", np.floor(s * 3.0), y * 0.0, self.offset)
            solid = mask
        paint = value[:, :, None] * np.asarray(self.colour, np.float32)
        colour = np.where(
            np.broadcast_to(solid, mask.shape)[:, :, None], paint, 0.55 * canvas.behind(face) + 0.35 * paint
        )
        canvas.put(face, mask, colour, FENCE)


@dataclass(frozen=True)
class Person:
    """Somebody who stands or walks."""

    x: float
    z: float
    height: float
    stride: float
    skirt: bool
    bag: float
    """-1 or 1 for the hand that carries one, 0 for none."""
    top: Colour
    legs: Colour
    skin: Colour
    hair: Colour

    @property
    def footprint(self) -> Footprint:
        """The ground under the feet."""
        return Footprint(self.x, self.z, 0.3, 0.25, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint legs, body, arms and head."""
        face = canvas.card(self.x, self.z, (-0.65, 0.0), (0.65, self.height * 1.03))
        if face is None:
            return
        a, y = face.a * (1.0 / self.height), face.y * (1.0 / self.height)
        step = self.stride
        legs = near_segment(a, y, (0.035, 0.5), (0.04 + step, 0.03), 0.045)
        legs |= near_segment(a, y, (-0.035, 0.5), (-0.04 - step, 0.03), 0.045)
        if self.skirt:
            legs |= inside(y, 0.26, 0.52) & (np.abs(a) < 0.17 - 0.20 * (y - 0.26))
        body = inside(y, 0.46, 0.84) & (np.abs(a) < 0.095 + 0.07 * (y - 0.46))
        arms = near_segment(a, y, (0.11, 0.79), (0.15 + 0.4 * step, 0.50), 0.032)
        arms |= near_segment(a, y, (-0.11, 0.79), (-0.15 - 0.4 * step, 0.50), 0.032)
        head = ellipse(a, y, (0.0, 0.925), (0.062, 0.078)) < 1.0
        hair = head & (y > 0.945)
        factor = light.front
        fold = (0.94 + 0.5 * a + 0.10 * noise("leaf", a * 90.0, y * 60.0, int(self.height * 97.0))) * factor
        colour = fold[:, :, None] * np.asarray(self.top, np.float32)
        mask = legs | body | arms | head
        for part, value in ((legs & ~body, self.legs), (head, self.skin), (hair, self.hair)):
            np.copyto(colour, fold[:, :, None] * np.asarray(value, np.float32), where=part[:, :, None])
        if self.bag:
            bag = inside(a * self.bag, 0.12, 0.24) & inside(y, 0.34, 0.50)
            np.copyto(colour, fold[:, :, None] * np.asarray(self.hair, np.float32), where=bag[:, :, None])
            mask = mask | bag
        canvas.put(face, mask, colour, PERSON)


def drawn_person(draw: Draw, town: Town, x: float, z: float) -> Person:
    """Somebody in the town's clothes."""
    return Person(
        x=x,
        z=z,
        height=draw.between(1.5, 1.92) if draw.chance(0.88) else draw.between(1.0, 1.3),
        stride=draw.between(0.0, 0.12),
        skirt=draw.chance(0.25),
        bag=draw.side() if draw.chance(0.3) else 0.0,
        top=draw.colour(town.clothes, 0.04),
        legs=draw.colour(((0.12, 0.14, 0.22), (0.10, 0.10, 0.11), (0.40, 0.36, 0.28), (0.24, 0.26, 0.30)), 0.03),
        skin=draw.choice(((0.80, 0.62, 0.52), (0.62, 0.44, 0.34), (0.36, 0.24, 0.18))),
        hair=draw.colour(((0.10, 0.08, 0.07), (0.36, 0.24, 0.14), (0.58, 0.48, 0.32), (0.5, 0.5, 0.5)), 0.02),
    )


def drawn_fence(draw: Draw, town: Town, near: tuple[float, float], far: tuple[float, float]) -> Fence:
    """One of the town's fences."""
    kind = draw.choice(town.fences)
    return Fence(near, far, draw.between(1.3, 2.3), kind, draw.colour(town.fence_colours, 0.03), draw.integer(0, 255))


def drawn_sign(draw: Draw, town: Town, x: float, z: float) -> Sign:
    """One of the town's traffic signs."""
    return Sign(
        x=x,
        z=z,
        height=draw.between(2.1, 3.0),
        size=draw.between(0.42, 0.68),
        design=draw.choice(town.signs),
        faded=draw.between(0.0, 0.3),
        colour=draw.colour(town.poles, 0.03),
    )


def drawn_light(draw: Draw, town: Town, x: float, z: float, arm: float) -> TrafficLight:
    """A traffic light; with an arm it stands taller."""
    height = draw.between(4.6, 5.6) if arm else draw.between(2.7, 3.3)
    phase = draw.integer(0, 3)
    return TrafficLight(x, z, height, arm, phase, draw.colour(town.lights, 0.02), draw.colour(town.poles, 0.03))


def _shaft(face: Patch, half: float, height: float, colour: Colour, light: Light) -> tuple[np.ndarray, Floats]:
    a, y = face.a, face.y
    mask = (np.abs(a) < half) & inside(y, 0.0, height)
    value = (1.0 + 0.5 * a * (1.0 / half)) * light.front + 0.0 * y
    return mask, value[:, :, None] * np.asarray(colour, np.float32)


def _sign_face(a: Floats, y: Floats, design: str) -> tuple[np.ndarray, Floats]:
    """Shape and colours of a sign of half size 1."""
    r2 = a * a + y * y
    square = np.maximum(np.abs(a), np.abs(y))
    kite = np.abs(a) + np.abs(y)
    layers: tuple[tuple[Mask, Colour], ...]
    if design == "ring":
        shape, layers = (
            r2 < 1.0,
            ((r2 < 9.0, _RED), (r2 < 0.52, _WHITE), ((np.abs(a) < 0.35) & (np.abs(y) < 0.3), _BLACK)),
        )
    elif design == "blue disc":
        shape, layers = r2 < 1.0, ((r2 < 9.0, _BLUE), ((np.abs(a) < 0.16) & (np.abs(y) < 0.6), _WHITE))
    elif design == "warning":
        up = (np.abs(a) * 1.6 + y * 0.92) < 0.85
        inner = (np.abs(a) * 1.6 + y * 0.92) < 0.34
        shape = up & (y > -0.85)
        layers = (
            (r2 < 9.0, _RED),
            (inner & (y > -0.60), _WHITE),
            ((np.abs(a) < 0.12) & (np.abs(y + 0.2) < 0.3), _BLACK),
        )
    elif design == "stop":
        shape = (square < 0.95) & (kite < 1.34)
        layers = ((r2 < 9.0, _RED), ((np.abs(a) < 0.68) & (np.abs(y) < 0.22), _WHITE))
    elif design == "blue square":
        shape, layers = square < 0.9, ((r2 < 9.0, _BLUE), ((square < 0.5) & (a + y < 0.3), _WHITE))
    elif design == "arrow board":
        shape = (np.abs(a) < 1.2) & (np.abs(y) < 0.55)
        layers = ((r2 < 9.0, _WHITE), ((np.abs(a) < 0.8) & (np.abs(y) < 0.14), _BLACK))
    elif design == "diamond":
        shape, layers = kite < 1.2, ((r2 < 9.0, _YELLOW), ((np.abs(a) < 0.2) & (np.abs(y) < 0.5), _BLACK))
    elif design == "green board":
        shape = (np.abs(a) < 1.2) & (np.abs(y) < 0.6)
        layers = ((r2 < 9.0, _GREEN), ((np.abs(a) < 0.9) & (np.abs(y) < 0.16), _WHITE))
    else:
        shape, layers = square < 0.85, ((r2 < 9.0, _WHITE), ((np.abs(a) < 0.5) & (np.abs(y) < 0.5), _BLACK))
    colour = np.zeros((*shape.shape, 3), np.float32)
    for mask, value in layers:
        np.copyto(colour, np.asarray(value, np.float32), where=np.broadcast_to(mask, shape.shape)[:, :, None])
    return shape, colour
