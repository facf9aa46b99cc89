"""Buildings: a facade along the street, a gable towards the camera, and the skyline far behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.toyscapes.canvas import Canvas, Patch
from datasets.toyscapes.classes import BUILDING, VEGETATION
from datasets.toyscapes.draws import Colour, Draw, Floats, Mask
from datasets.toyscapes.textures import fraction, inside, noise, when
from datasets.toyscapes.things import Footprint, Light, mix, shade
from datasets.toyscapes.towns import Town

_WINDOWS = {
    "plaster": (0.28, 0.72, 0.22, 0.76),
    "brick": (0.30, 0.70, 0.18, 0.80),
    "glass": (0.05, 0.95, 0.06, 0.84),
    "bands": (0.00, 1.00, 0.34, 0.80),
    "timber": (0.32, 0.62, 0.30, 0.70),
    "arches": (0.30, 0.70, 0.10, 0.84),
    "slats": (0.16, 0.80, 0.40, 0.66),
    "shingles": (0.36, 0.64, 0.26, 0.74),
}
"""Left, right, lower and upper edge of a window as parts of its bay and storey."""


@dataclass(frozen=True)
class Facade:
    """What one building's walls look like."""

    style: str
    colour: Colour
    trim: Colour
    glass: Colour
    bay: float
    storey: float
    base: float
    """Height of the ground floor in metres."""
    shop: Colour | None
    """Colour of the awning of a shop on the ground floor."""
    height: float
    roof: Colour
    roof_height: float
    lit: float
    """Part of the windows with light behind at night."""
    offset: int

    @classmethod
    def drawn(cls, draw: Draw, town: Town) -> Facade:
        """A facade in one of the town's styles."""
        style = draw.choice(town.facades)
        storeys = draw.integer(*town.storeys)
        if style in ("glass", "bands"):
            storeys += draw.integer(0, 3)
        storey = draw.between(2.8, 3.5)
        base = draw.between(3.0, 4.2)
        colour = draw.colour(town.facade_colours[style], 0.04)
        pitched = style in ("plaster", "brick", "timber", "slats", "shingles") and draw.chance(0.6)
        return cls(
            style=style,
            colour=colour,
            trim=mix(colour, draw.choice(((0.86, 0.85, 0.82), (0.24, 0.22, 0.20))), 0.65),
            glass=draw.colour(((0.20, 0.24, 0.28), (0.30, 0.34, 0.38), (0.14, 0.15, 0.16)), 0.02),
            bay=draw.between(1.9, 3.4),
            storey=storey,
            base=base,
            shop=draw.colour(town.clothes, 0.03) if draw.chance(0.35) else None,
            height=base + storeys * storey + draw.between(0.4, 1.2),
            roof=draw.colour(((0.42, 0.24, 0.18), (0.28, 0.27, 0.28), (0.36, 0.30, 0.24)), 0.03),
            roof_height=draw.between(0.8, 2.2) if pitched else 0.0,
            lit=draw.between(0.1, 0.45),
            offset=draw.integer(0, 255),
        )

    def surface(self, s: Floats, y: Floats, lit: bool) -> tuple[Floats, Floats]:
        """Colours (h, w, 3) and glow (h, w) at ``s`` metres along and ``y`` metres up the wall."""
        wall = self._wall(s, y)
        colour = wall[:, :, None] * np.asarray(self.colour, np.float32)
        glow = np.zeros(wall.shape, np.float32)

        up = (y - self.base) * (1.0 / self.storey)
        along = s * (1.0 / self.bay)
        column, row = np.floor(along), np.floor(up)
        fx, fy = along - column, up - row
        upper = (y > self.base) & (y < self.height - 0.35)
        window, frame = self._window(fx, fy)
        chance = noise("cell", column * 7.0, row * 11.0, self.offset)
        pane = 1.0 + 0.45 * chance + 0.35 * fy
        np.copyto(colour, np.asarray(self.trim, np.float32), where=(frame & upper)[:, :, None])
        self._fill(colour, glow, window & upper, pane, chance, lit)

        ground = y <= self.base
        if self.shop is None:
            door = ground & (y < 2.3) & inside(fraction(along * 0.5), 0.36, 0.62)
            np.copyto(colour, np.asarray(shade(self.trim, 0.6), np.float32), where=door[:, :, None])
        else:
            part = fraction(along * 0.5)
            display = ground & inside(y, 0.5, self.base - 1.1) & inside(part, 0.07, 0.93)
            shown = noise("patch", s * 14.0, y * 14.0, self.offset)
            self._fill(colour, glow, display, 1.1 + 0.6 * shown, shown * 0.0 - 1.0, lit)
            awning = inside(y, self.base - 1.1, self.base - 0.25)
            stripes = 1.0 - when(fraction(s * 1.2) < 0.5, 0.25)
            np.copyto(
                colour,
                (stripes + 0.0 * y)[:, :, None] * np.asarray(self.shop, np.float32),
                where=awning[:, :, None],
            )
        return colour, glow

    def _fill(self, colour: Floats, glow: Floats, window: Mask, pane: Floats, chance: Floats, lit: bool) -> None:
        np.copyto(colour, pane[:, :, None] * np.asarray(self.glass, np.float32), where=window[:, :, None])
        if lit:
            bright = window & (chance < self.lit * 2.0 - 1.0)
            warm = np.asarray((0.95, 0.78, 0.45), np.float32) * (0.75 + 0.25 * pane)[:, :, None]
            np.copyto(colour, warm, where=bright[:, :, None])
            np.copyto(glow, np.float32(0.75), where=bright)

    def _wall(self, s: Floats, y: Floats) -> Floats:
        stain = noise("cloud", s * 5.0, y * 5.0, self.offset)
        value = 1.0 + 0.11 * stain + 0.07 * noise("grain", s * 20.0, y * 20.0, self.offset)
        if self.style == "brick":
            row = np.floor(y * 3.2)
            brick = noise("cell", np.floor(s * 1.7 + 0.5 * row), row, self.offset)
            value = value + 0.17 * brick
        elif self.style == "glass":
            value = value - when(fraction(s * (1.0 / self.bay)) < 0.06, 0.25)
        elif self.style == "bands":
            value = value - when(fraction(y * (1.0 / self.storey)) < 0.1, 0.18)
        elif self.style == "timber":
            post = fraction(s * (1.0 / self.bay)) < 0.12
            beam = fraction((y - self.base) * (1.0 / self.storey)) < 0.12
            brace = np.abs(fraction((s + 0.7 * y) * (1.0 / self.bay)) - 0.5) < 0.06
            value = value - when(post | beam | brace, 0.62)
        elif self.style == "arches":
            block = noise("cell", np.floor(s * 1.1), np.floor(y * 1.6), self.offset)
            value = value + 0.14 * block - when(fraction(y * 1.6) < 0.12, 0.18)
        elif self.style == "slats":
            value = value - when(fraction(s * 2.6) < 0.35, 0.30) + 0.0 * y
        elif self.style == "shingles":
            row = np.floor(y * 2.2)
            stagger = np.floor(s * 2.0)
            value = value - when(fraction(y * 2.2) < 0.3, 0.30) + 0.12 * noise("cell", stagger, row, 3)
        return value

    def _window(self, fx: Floats, fy: Floats) -> tuple[Mask, Mask]:
        left, right, low, high = _WINDOWS[self.style]
        window = inside(fx, left, right) & inside(fy, low, high)
        if self.style == "arches":
            ax, ay = (fx - 0.5) * 5.0, (fy - 0.64) * 5.0
            window = inside(fx, left, right) & inside(fy, low, 0.64) | (ax * ax + ay * ay < 1.0)
        if self.style == "plaster":
            window &= np.abs(fx - 0.5) > 0.02
        frame = inside(fx, left - 0.06, right + 0.06) & inside(fy, low - 0.07, high + 0.05)
        return window, frame


@dataclass(frozen=True)
class Building:
    """A house with a facade from ground point ``near`` to ``far``; it reaches ``outward`` in x."""

    facade: Facade
    near: tuple[float, float]
    far: tuple[float, float]
    outward: float
    """Metres that the house extends away from the street, signed."""

    @property
    def footprint(self) -> Footprint:
        """A building's shadow is painted by the ground, in strips; this is its outline."""
        z = (self.near[1] + self.far[1]) * 0.5
        return Footprint(self.near[0] + self.outward * 0.5, z, abs(self.outward) * 0.5, z, self.facade.height)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint facade, gable and roof."""
        facade = self.facade
        along = canvas.wall(self.near, self.far, facade.height + facade.roof_height)
        side = light.right if self.outward < 0.0 else light.left
        if along is not None:
            length = self.far[1] - self.near[1]
            self._paint_face(canvas, along, length, side, light.lit, gable=False)
        start, end = (0.0, self.outward) if self.outward > 0.0 else (self.outward, 0.0)
        top = facade.height + facade.roof_height * 1.6
        face = canvas.card(self.near[0], self.near[1], (start, 0.0), (end, top))
        if face is not None:
            moved = face._replace(a=face.a - start)
            self._paint_face(canvas, moved, end - start, light.front, light.lit, gable=True)

    def _paint_face(self, canvas: Canvas, face: Patch, length: float, factor: float, lit: bool, *, gable: bool) -> None:
        facade, s, y = self.facade, face.a, face.y
        colour, glow = facade.surface(s, y, lit)
        colour *= factor
        top: Floats = np.full(s.shape, facade.height, np.float32)
        if facade.roof_height > 0.0 and gable:
            top = top + facade.roof_height * 1.6 * (1.0 - np.abs(s * (2.0 / length) - 1.0))
        elif facade.roof_height > 0.0:
            top = top + facade.roof_height
            tiles = 1.0 - when(fraction(y * 3.0) < 0.4, 0.22) + 0.12 * noise("grain", s * 9.0, y * 9.0, facade.offset)
            roof = tiles[:, :, None] * np.asarray(shade(facade.roof, factor), np.float32)
            above = np.broadcast_to(y > facade.height, glow.shape)
            np.copyto(colour, roof, where=above[:, :, None])
            np.copyto(glow, np.float32(0.0), where=above)
        mask = inside(s, 0.0, length) & (y >= 0.0) & (y < top)
        canvas.put(face, mask, colour, BUILDING, glow)


@dataclass(frozen=True)
class Skyline:
    """Houses and tree tops far away, which close the view above the horizon."""

    z: float
    step: float
    height: float
    colour: Colour
    leaves: Colour
    wooded: float
    offset: int

    @property
    def footprint(self) -> Footprint:
        """It throws no shadow that anybody sees."""
        return Footprint(0.0, self.z, 0.0, 0.0, 0.0)

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Paint blocks of houses and clumps of trees along the whole horizon."""
        reach = 1.6 * canvas.camera.columns * self.z / canvas.camera.focal
        face = canvas.card(0.0, self.z, (-reach, -3.0), (reach, self.height * 2.0))
        if face is None:
            return
        s, y = face.a, face.y
        block = np.floor(s * (1.0 / self.step))
        still = np.zeros((1, 1), np.float32)
        tall = noise("cell", block * 5.0, still, self.offset)
        wood = noise("cell", block * 3.0, still + 40.0, self.offset) < self.wooded * 2.0 - 1.0
        ragged = noise("leaf", s * 4.0, y * 4.0, self.offset)
        house_top = self.height * (1.0 + 0.6 * tall)
        tree_top = self.height * (0.55 + 0.2 * tall) + ragged * 1.6
        windows = inside(fraction(s * 0.34), 0.3, 0.7) & inside(fraction(y * 0.32), 0.3, 0.75)
        walls = (1.0 + 0.18 * noise("cell", block * 9.0, still + 80.0, 0) - when(windows, 0.3)) * light.front
        houses = walls[:, :, None] * np.asarray(self.colour, np.float32)
        glow = np.zeros(walls.shape, np.float32)
        if light.lit:
            chance = noise("cell", np.floor(s * 0.34), np.floor(y * 0.32), self.offset)
            glow += when(windows & (chance > 0.5), 0.7)
            np.copyto(houses, np.asarray((0.9, 0.75, 0.45), np.float32), where=(glow > 0.0)[:, :, None])
        canvas.put(face, ~wood & (y < house_top), houses, BUILDING, glow)
        leaves = ((0.9 + 0.25 * ragged) * light.front)[:, :, None] * np.asarray(self.leaves, np.float32)
        canvas.put(face, wood & (y < tree_top), leaves, VEGETATION)
