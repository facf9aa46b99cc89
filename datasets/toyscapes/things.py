"""What everything that stands in a scene has in common: its light, its place and its shadow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from datasets.toyscapes.canvas import Canvas
from datasets.toyscapes.draws import Colour


@dataclass(frozen=True)
class Lamp:
    """A street lamp's head."""

    x: float
    y: float
    z: float


@dataclass
class Light:
    """How a scene is lit."""

    left: float
    """Factor on surfaces that look to the left; likewise the next two."""
    right: float
    front: float
    shadow: float
    """Factor on the ground where the sun does not reach; near 1 under an overcast sky."""
    slant: float
    """Metres that a shadow falls to the right per metre of height."""
    lit: bool = False
    """Whether lamps, windows and headlights are on."""
    lamps: list[Lamp] = field(default_factory=list)


@dataclass(frozen=True)
class Footprint:
    """The ellipse of ground that a thing stands on, and how tall it is, for its shadow."""

    x: float
    z: float
    half_width: float
    half_depth: float
    height: float


class Thing(Protocol):
    """Anything upright."""

    @property
    def footprint(self) -> Footprint:
        """Where it stands."""
        ...

    def paint(self, canvas: Canvas, light: Light) -> None:
        """Put it on the canvas."""
        ...


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker or brighter."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """``part`` of the second colour in the first."""
    rest = 1.0 - part
    return (
        first[0] * rest + second[0] * part,
        first[1] * rest + second[1] * part,
        first[2] * rest + second[2] * part,
    )
