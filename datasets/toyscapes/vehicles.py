"""Cars, trucks and bicycles. A motor vehicle shows an end and, off the axis, the side along the street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.toyscapes.canvas import Canvas, Patch
from datasets.toyscapes.classes import BICYCLE, CAR, TRUCK
from datasets.toyscapes.draws import Colour, Draw, Floats, Mask
from datasets.toyscapes.textures import ellipse, fraction, inside, near_segment, noise, when
from datasets.toyscapes.things import Footprint, Light, shade
from datasets.toyscapes.towns import Town

_TYRE = (0.07, 0.07, 0.08)
_GLASS = (0.16, 0.19, 0.22)

_SHAPES = {
    "hatchback": (3.9, 1.72, 1.46, (0.02, 0.12, 0.52, 0.72)),
    "saloon": (4.6, 1.78, 1.42, (0.16, 0.28, 0.56, 0.74)),
    "estate": (4.6, 1.78, 1.52, (0.00, 0.06, 0.54, 0.74)),
    "van": (4.9, 1.92, 1.98, (0.00, 0.02, 0.74, 0.90)),
    "pickup": (5.1, 1.88, 1.76, (0.42, 0.46, 0.62, 0.74)),
}
"""Length, width, height, and how far along lie the cabin's foot, its roof, roof end and windscreen foot."""


@dataclass(frozen=True)
class Car:
    """A car parallel to the street, or across it."""

    x: float
    z: float
    """Depth of the end that the camera sees."""
    slope: float
    """Metres to the right per metre ahead, the street's direction."""
    shape: str
    colour: Colour
    oncoming: bool
    across: float
    """0 along the street; -1 or 1 for a car seen from the side, heading left or right."""
    offset: int

    @property
    def footprint(self) -> Footprint:
        """The ground under the car."""
        length, width, height, _ = _SHAPES[self.shape]
        if self.across:
            return Footprint(self.x, self.z, length * 0.52, width * 0.5, height)
        middle = length * 0.5
        return Footprint(self.x + self.slope * middle, self.z + middle, width * 0.55, middle, height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint the side, then the end in front of it."""
        length, width, height, _ = _SHAPES[self.shape]
        if self.across:
            face = canvas.card(self.x, self.z, (-length * 0.5, 0.0), (length * 0.5, height))
            if face is not None:
                s = face.a * self.across + length * 0.5
                self._paint_side(canvas, face._replace(a=s), light, light.front)
            return
        end_x = self.x + self.slope * length
        edge = -width * 0.5 if self.x > 0.0 else width * 0.5
        face = canvas.wall((self.x + edge, self.z + 0.02), (end_x + edge, self.z + length), height)
        if face is not None:
            s = length - face.a if self.oncoming else face.a
            self._paint_side(canvas, face._replace(a=s), light, light.left if self.x > 0.0 else light.right)
        face = canvas.card(self.x, self.z, (-width * 0.54, 0.0), (width * 0.54, height))
        if face is not None:
            self._paint_end(canvas, face, light)

    def _paint_side(self, canvas: Canvas, face: Patch, light: Light, factor: float) -> None:
        length, _, height, (foot, roof, roof_end, screen) = _SHAPES[self.shape]
        belt = height * 0.58
        s, y = face.a * (1.0 / length), face.y
        cabin, window = _cabin(s, y, (foot, roof, roof_end, screen), belt, height)
        body = inside(s, 0.0, 1.0) & inside(y, 0.24, belt) & ~((s > 0.93) & (y > belt * 0.86))
        colour = _paintwork(self.colour, s * length, y, height, self.offset, factor)
        post = np.abs(s - (roof + roof_end) * 0.5) < 0.014
        _fill(colour, window & ~post, shade(_GLASS, factor))
        _fill(colour, body & (y < 0.36), shade(self.colour, 0.45 * factor))
        glow = np.zeros(colour.shape[:2], np.float32)
        wheels = np.zeros(colour.shape[:2], np.bool_)
        for place in (0.19, 0.80):
            distance = ellipse(s * length, y, (place * length, 0.32), (0.33, 0.33))
            wheels |= distance < 1.0
            _fill(colour, distance < 1.0, _TYRE)
            _fill(colour, distance < 0.3, shade((0.56, 0.57, 0.58), factor))
        canvas.put(face, cabin | body | wheels, colour, CAR, glow)

    def _paint_end(self, canvas: Canvas, face: Patch, light: Light) -> None:
        _, width, height, _ = _SHAPES[self.shape]
        belt = height * 0.58
        a, y = np.abs(face.a) * (2.0 / width), face.y
        taper = 0.94 - 0.22 * np.clip((y - belt) * (1.0 / (height - belt)), 0.0, 1.0)
        cabin = (a < taper) & inside(y, belt, height)
        window = (a < taper - 0.10) & inside(y, belt + 0.05, height - 0.12)
        body = (a < 1.0) & inside(y, 0.24, belt)
        wheels = inside(a, 0.62, 0.94) & inside(y, 0.0, 0.4)
        factor = light.front
        colour = _paintwork(self.colour, face.a, y, height, self.offset, factor)
        _fill(colour, wheels, _TYRE)
        _fill(colour, window, shade(_GLASS, factor * 1.2))
        _fill(colour, body & (y < 0.42), shade(self.colour, 0.5 * factor))
        plate = (a < 0.26) & inside(y, 0.44, 0.56)
        _fill(colour, plate, shade((0.78, 0.78, 0.74), factor))
        lamps = inside(a, 0.66, 0.95) & inside(y, belt - 0.26, belt - 0.06)
        glow = np.zeros(colour.shape[:2], np.float32)
        if self.oncoming:
            _fill(colour, lamps, (0.96, 0.95, 0.88) if light.lit else shade((0.80, 0.80, 0.78), factor))
            _fill(colour, (a < 0.55) & inside(y, 0.56, belt - 0.06), shade((0.10, 0.10, 0.11), factor))
        else:
            _fill(colour, lamps, (0.92, 0.14, 0.10) if light.lit else shade((0.56, 0.08, 0.08), factor))
        if light.lit:
            np.copyto(glow, np.float32(0.9), where=lamps)
        canvas.put(face, cabin | body | wheels, colour, CAR, glow)


def drawn_car(draw: Draw, town: Town, x: float, z: float, slope: float, oncoming: bool, across: float = 0.0) -> Car:
    """A car in one of the town's shapes and colours."""
    colour = draw.colour(town.cars, 0.03)
    return Car(x, z, slope, draw.choice(town.car_shapes), colour, oncoming, across, draw.integer(0, 255))


@dataclass(frozen=True)
class Truck:
    """A lorry with a box or tank behind its cab."""

    x: float
    z: float
    slope: float
    length: float
    height: float
    box: Colour
    cab: Colour
    surface: str
    oncoming: bool
    across: float
    offset: int

    width = 2.45

    @property
    def footprint(self) -> Footprint:
        """The ground under the truck."""
        if self.across:
            return Footprint(self.x, self.z, self.length * 0.52, self.width * 0.5, self.height)
        middle = self.length * 0.5
        return Footprint(self.x + self.slope * middle, self.z + middle, self.width * 0.55, middle, self.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint the side and the end."""
        half = self.width * 0.5
        if self.across:
            face = canvas.card(self.x, self.z, (-self.length * 0.5, 0.0), (self.length * 0.5, self.height))
            if face is not None:
                s = face.a * self.across + self.length * 0.5
                self._paint_side(canvas, face._replace(a=s), light.front)
            return
        end_x = self.x + self.slope * self.length
        edge = -half if self.x > 0.0 else half
        face = canvas.wall((self.x + edge, self.z + 0.02), (end_x + edge, self.z + self.length), self.height)
        if face is not None:
            s = self.length - face.a if self.oncoming else face.a
            self._paint_side(canvas, face._replace(a=s), light.left if self.x > 0.0 else light.right)
        if self.oncoming:
            behind = self.length * 0.24
            box = canvas.card(self.x + self.slope * behind, self.z + behind, (-half, 0.0), (half, self.height))
            if box is not None:
                self._paint_box_end(canvas, box, light)
            cab = canvas.card(self.x, self.z, (-half, 0.0), (half, self.height))
            if cab is not None:
                self._paint_cab_front(canvas, cab, light)
        else:
            box = canvas.card(self.x, self.z, (-half, 0.0), (half, self.height))
            if box is not None:
                self._paint_box_end(canvas, box, light)

    def _cargo(self, s: Floats, y: Floats, factor: float) -> Floats:
        colour = _paintwork(self.box, s, y, self.height, self.offset, factor)
        if self.surface == "ribbed":
            colour *= (1.0 - when(fraction(s * 2.2) < 0.4, 0.28) + 0.0 * y)[:, :, None]
        elif self.surface == "striped":
            band = inside(y, self.height * 0.42, self.height * 0.56) & (s > -99.0)
            _fill(colour, band, shade(self.cab, factor))
        elif self.surface == "tarpaulin":
            colour *= (1.0 + 0.22 * noise("patch", s * 6.0, y * 3.0, self.offset))[:, :, None]
        elif self.surface == "tanker":
            up = np.clip((y - 0.9) * (1.0 / (self.height - 0.9)), 0.0, 1.0)
            colour *= (0.62 + 1.6 * up * (1.0 - 0.7 * up) + 0.0 * s)[:, :, None]
        return colour

    def _paint_side(self, canvas: Canvas, face: Patch, factor: float) -> None:
        s, y = face.a, face.y
        length = self.length
        box = inside(s, 0.0, length * 0.74) & inside(y, 0.75, self.height)
        if self.surface == "tanker":
            box = ellipse(s, y, (length * 0.37, (self.height + 0.75) * 0.5), (length * 0.40, self.height * 0.42)) < 1.0
            box &= s < length * 0.74
        cab_top = self.height * 0.80
        cab = inside(s, length * 0.77, length) & inside(y, 0.45, cab_top)
        cab &= (s - length) * 1.6 + (y - 1.6) < 0.45
        frame = inside(s, 0.0, length * 0.8) & inside(y, 0.5, 0.75)
        colour = self._cargo(s, y, factor)
        paint = _paintwork(self.cab, s, y, cab_top, self.offset, factor)
        np.copyto(colour, paint, where=cab[:, :, None])
        _fill(
            colour,
            cab & inside(s, length * 0.80, length * 0.95) & inside(y, 1.5, cab_top - 0.3),
            shade(_GLASS, factor),
        )
        _fill(colour, frame & ~cab, shade((0.16, 0.16, 0.17), factor))
        wheels = np.zeros(colour.shape[:2], np.bool_)
        for place in (0.14, 0.30, 0.86):
            distance = ellipse(s, y, (place * length, 0.46), (0.47, 0.47))
            wheels |= distance < 1.0
            _fill(colour, distance < 1.0, _TYRE)
            _fill(colour, distance < 0.28, shade((0.45, 0.45, 0.45), factor))
        canvas.put(face, box | cab | frame | wheels, colour, TRUCK)

    def _paint_box_end(self, canvas: Canvas, face: Patch, light: Light) -> None:
        a, y = face.a, face.y
        half, factor = self.width * 0.5, light.front
        box = (np.abs(a) < half) & inside(y, 0.75, self.height)
        if self.surface == "tanker":
            box = ellipse(a, y, (0.0, (self.height + 0.75) * 0.5), (half, (self.height - 0.75) * 0.5)) < 1.0
        colour = self._cargo(a, y, factor)
        seam = (np.abs(a) < 0.04) | (np.abs(np.abs(a) - half + 0.1) < 0.05)
        _fill(colour, box & seam, shade(self.box, 0.6 * factor))
        bar = (np.abs(a) < half) & inside(y, 0.5, 0.75)
        _fill(colour, bar, shade((0.18, 0.18, 0.19), factor))
        lamps = bar & (np.abs(a) > half * 0.7)
        _fill(colour, lamps, (0.90, 0.14, 0.10) if light.lit else shade((0.55, 0.10, 0.09), factor))
        wheels = inside(np.abs(a), half * 0.55, half * 0.95) & inside(y, 0.0, 0.55)
        _fill(colour, wheels, _TYRE)
        glow = when(lamps, 0.9 if light.lit and not self.oncoming else 0.0)
        canvas.put(face, box | bar | wheels, colour, TRUCK, glow)

    def _paint_cab_front(self, canvas: Canvas, face: Patch, light: Light) -> None:
        a, y = np.abs(face.a) * (2.0 / self.width), face.y
        factor, top = light.front, self.height * 0.80
        cab = (a < 0.97) & inside(y, 0.4, top)
        colour = _paintwork(self.cab, face.a, y, top, self.offset, factor)
        _fill(colour, (a < 0.86) & inside(y, top * 0.56, top * 0.88), shade(_GLASS, factor))
        _fill(colour, (a < 0.6) & inside(y, 0.7, top * 0.46), shade((0.13, 0.13, 0.14), factor))
        lamps = inside(a, 0.64, 0.92) & inside(y, 0.66, 0.9)
        _fill(colour, lamps, (0.96, 0.95, 0.88) if light.lit else shade((0.82, 0.82, 0.78), factor))
        wheels = inside(a, 0.6, 0.95) & inside(y, 0.0, 0.4)
        _fill(colour, wheels, _TYRE)
        canvas.put(face, cab | wheels, colour, TRUCK, when(lamps, 0.9 if light.lit else 0.0))


def drawn_truck(draw: Draw, town: Town, x: float, z: float, slope: float, oncoming: bool, across: float = 0.0) -> Truck:
    """A truck in the town's colours."""
    return Truck(
        x=x,
        z=z,
        slope=slope,
        length=draw.between(6.0, 9.0),
        height=draw.between(2.7, 3.7),
        box=draw.colour(town.trucks, 0.03),
        cab=draw.colour(town.trucks, 0.03),
        surface=draw.choice(town.truck_surfaces),
        oncoming=oncoming,
        across=across,
        offset=draw.integer(0, 255),
    )


@dataclass(frozen=True)
class Bicycle:
    """A parked bicycle, seen more or less from the side; its wheels are labelled as filled discs."""

    x: float
    z: float
    turn: float
    """Foreshortening: 1 from the side, towards 0 from behind."""
    colour: Colour
    basket: bool

    @property
    def footprint(self) -> Footprint:
        """The ground under the bicycle."""
        return Footprint(self.x, self.z, 0.85 * self.turn, 0.25, 0.6)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint wheels, frame, handlebar and saddle."""
        face = canvas.card(self.x, self.z, (-0.95 * self.turn - 0.1, 0.0), (0.95 * self.turn + 0.1, 1.15))
        if face is None:
            return
        a, y = face.a * (1.0 / self.turn), face.y
        thin = max(0.05, canvas.camera.metres(0.5, self.z))
        paint = np.asarray(shade(self.colour, light.front), np.float32)
        colour = canvas.behind(face) * 0.45
        mask = np.zeros(colour.shape[:2], np.bool_)
        for centre in (-0.54, 0.54):
            distance = ellipse(a, y, (centre, 0.35), (0.36, 0.36))
            mask |= distance < 1.0
            inner = max(0.0, 1.0 - 2.0 * thin / 0.36)
            _fill(colour, inside(distance, inner, 1.0), _TYRE)
        frame = (
            near_segment(a, y, (-0.54, 0.35), (-0.18, 0.80), thin)
            | near_segment(a, y, (-0.18, 0.80), (0.36, 0.86), thin)
            | near_segment(a, y, (-0.05, 0.33), (0.36, 0.86), thin)
            | near_segment(a, y, (0.54, 0.35), (0.36, 0.98), thin)
            | near_segment(a, y, (-0.54, 0.35), (-0.05, 0.33), thin)
        )
        np.copyto(colour, paint, where=frame[:, :, None])
        black = near_segment(a, y, (-0.30, 0.92), (-0.06, 0.92), thin) | near_segment(
            a, y, (0.24, 1.02), (0.44, 1.04), thin
        )
        if self.basket:
            black |= inside(a, 0.38, 0.72) & inside(y, 0.74, 0.98)
        _fill(colour, black, _TYRE)
        canvas.put(face, mask | frame | black, colour, BICYCLE)


def drawn_bicycle(draw: Draw, town: Town, x: float, z: float) -> Bicycle:
    """A bicycle in the colours of clothes and cars."""
    colour = draw.colour(town.clothes + town.cars, 0.04)
    return Bicycle(x, z, draw.between(0.5, 1.0), colour, draw.chance(0.3))


def _cabin(
    s: Floats, y: Floats, places: tuple[float, float, float, float], belt: float, height: float
) -> tuple[Mask, Mask]:
    foot, roof, roof_end, screen = places
    up = np.clip((y - belt) * (1.0 / (height - belt)), 0.0, 1.0)
    start = foot + (roof - foot) * up
    end = screen + (roof_end - screen) * up
    cabin = (s > start) & (s < end) & inside(y, belt - 0.01, height)
    window = (s > start + 0.035) & (s < end - 0.035) & inside(y, belt + 0.04, height - 0.11)
    return cabin, window


def _paintwork(colour: Colour, s: Floats, y: Floats, height: float, offset: int, factor: float) -> Floats:
    sheen = 0.86 + 0.30 * np.clip(y * (1.0 / height), 0.0, 1.0)
    value = (sheen + 0.08 * noise("patch", s * 12.0, y * 12.0, offset)) * factor
    return value[:, :, None] * np.asarray(colour, np.float32)


def _fill(colour: Floats, mask: Mask, value: Colour) -> None:
    np.copyto(colour, np.asarray(value, np.float32), where=mask[:, :, None])
