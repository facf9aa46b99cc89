"""Lines and dots in fields beside each other, over one legend: SVG that takes its text's colour from the page.

By hand, since a page has a hundred of them: matplotlib takes fifty milliseconds and five times the bytes for each.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bench.common.text import visible
from bench.report.leaderboard.model import Row
from bench.report.palette import style

Floats = NDArray[np.float64]

_SIDE, _LEFT, _TOP, _LOW = 250, 46, 24, 42
"""Pixels of a field, and of what is around it."""
_MARKS = {
    "o": "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "s": "m-3-3h6v6h-6z",
    "^": "m0-4 4 7h-8z",
    "D": "m0-4 4 4-4 4-4-4z",
    "v": "m0 4 4-7h-8z",
    "<": "m-4 0 7-4v8z",
    ">": "m4 0-7-4v8z",
    "p": "m0-4 4 3-1.5 4.5h-5l-1.5-4.5z",
    "P": "m-1-4h2v3h3v2h-3v3h-2v-3h-3v-2h3z",
    "X": "m0-1.5 2.5-2.5 1.5 1.5-2.5 2.5 2.5 2.5-1.5 1.5-2.5-2.5-2.5 2.5-1.5-1.5 2.5-2.5-2.5-2.5 1.5-1.5z",
}
"""Paths of the palette's marks, from their middle."""
_ON_A_LINE = 5
"""Marks of a line."""


class Chart(NamedTuple):
    """A figure and what it is called."""

    title: str
    figure: Markup
    notes: tuple[str, ...] = ()


class Axis(NamedTuple):
    """What is along a side of a field."""

    name: str
    low: float = 0.0
    high: float = 1.0

    @property
    def ticks(self) -> list[tuple[float, float]]:
        """Round numbers from one end to the other, and how far along each is."""
        found = _round_numbers(self.low, self.high)
        return [(tick, share) for tick, share in zip(found, self.shares(found)) if -1e-9 <= share <= 1 + 1e-9]

    def shares(self, values: Floats) -> Floats:
        """How far along the axis each of ``values`` is, 0 to 1."""
        return (np.asarray(values, float) - self.low) / (self.high - self.low or 1.0)


def around(name: str, values: Floats) -> Axis:
    """An axis with room for all ``values``, from one round number to another."""
    low, *_, high = _round_numbers(values.min(), values.max())
    return Axis(name, low, high)


def _round_numbers(low: float, high: float) -> Floats:
    return np.asarray(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high), float)


class Line(NamedTuple):
    """Points of a method."""

    label: str
    method: str
    x: Floats
    y: Floats


class Field(NamedTuple):
    """Lines over two axes."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    dotted: tuple[float, float] | None = None
    """Where what the lines are compared with is at both ends."""
    joined: bool = True
    """Whether points are a line; else each is a mark."""


def drawing(title: str, fields: Sequence[Field]) -> Markup:
    """``fields`` side by side; a line of one label is the same in all."""
    methods = {line.label: line.method for field in fields for line in field.lines}
    below = _TOP + _SIDE + _LOW
    width, height = (_LEFT + _SIDE + 14) * len(fields), below + 20 * len(methods)
    drawn = [part for i, field in enumerate(fields) for part in _field(field, _LEFT + (_LEFT + _SIDE + 14) * i)]
    for i, (label, method) in enumerate(methods.items()):
        y = below + 8 + 20 * i
        drawn.append(f'<path d="M{_LEFT} {y}h24" stroke="{style(method).colour}" stroke-width="2"/>')
        drawn.append(_marks([_LEFT + 12], [y], method) + f'<text x="{_LEFT + 32}" y="{y + 4}">{_escaped(label)}</text>')
    return Markup(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-size="12">'
        f"<title>{_escaped(title)}</title>{''.join(drawn)}</svg>"
    )


def _field(field: Field, left: int) -> Iterator[str]:
    bottom, grid = _TOP + _SIDE, ""
    for tick, share in field.x.ticks:
        across = round(left + _SIDE * share)
        grid += f"M{across} {bottom}v-{_SIDE}"
        yield f'<text x="{across}" y="{bottom + 15}" text-anchor="middle">{tick:.6g}</text>'
    for tick, share in field.y.ticks:
        down = round(bottom - _SIDE * share)
        grid += f"M{left} {down}h{_SIDE}"
        yield f'<text x="{left - 5}" y="{down + 4}" text-anchor="end">{tick:.6g}</text>'
    yield f'<path d="{grid}" stroke="currentColor" opacity=".15"/>'
    yield f'<text x="{left}" y="13">{_escaped(field.y.name)}</text>'
    yield f'<text x="{left + _SIDE / 2:.0f}" y="{bottom + 31}" text-anchor="middle">{_escaped(field.x.name)}</text>'
    if field.dotted:
        first, last = (bottom - _SIDE * field.y.shares(np.array(end)) for end in field.dotted)
        yield f'<path d="M{left} {first:.1f}L{left + _SIDE} {last:.1f}" stroke="currentColor" stroke-dasharray="2 3"/>'
    for i, line in enumerate(field.lines):
        x, y = left + _SIDE * field.x.shares(line.x), bottom - _SIDE * field.y.shares(line.y)
        if field.joined:
            yield _path(x, y, style(line.method).colour)
            shift = (i + 0.5) / len(field.lines)  # lines do not have their marks at one place
            places = np.unique(((np.arange(_ON_A_LINE) + shift) * len(x) / _ON_A_LINE).astype(int))
            x, y = x[places], y[places]
        yield _marks(x, y, line.method)


def _path(x: Floats, y: Floats, colour: str) -> str:
    """A line in tenths of a pixel, from each point to the next: half as long as with decimals."""
    points = np.round(10 * np.stack([x, y], axis=1)).astype(int)
    steps = np.diff(points, axis=0)
    steps = steps[steps.any(axis=1)]
    numbers = " ".join(map(str, [*points[0].tolist(), *steps.ravel().tolist()])).replace(" -", "-")
    return (
        f'<path d="m{numbers}" transform="scale(.1)" fill="none" stroke="{colour}" stroke-width="18" '
        'stroke-linejoin="round"/>'
    )


def _marks(x: Sequence[float] | Floats, y: Sequence[float] | Floats, method: str) -> str:
    colour, mark = style(method)
    places = "".join(f"M{a:.0f} {b:.0f}{_MARKS[mark]}" for a, b in zip(x, y))
    return f'<path d="{places}" fill="{colour}"/>'


def _escaped(text: str) -> str:
    return html.escape(visible(text))


def label(row: Row) -> str:
    """What a row is called in figures."""
    return shortened(visible(f"{row.label} {row.score}".strip()), 45)


def shortened(text: str, most: int) -> str:
    """``text``, or as much of it as ``most`` letters hold."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
