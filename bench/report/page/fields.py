"""Lines and dots in fields beside each other, over one legend: SVG that takes its text's colour from the page.

By hand, since a page has a hundred of them: matplotlib takes fifty milliseconds and five times the bytes for each.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bench.common.text import visible
from bench.report.leaderboard.model import Row
from bench.report.palette import style

Floats = NDArray[np.float64]

_SIDE, _LEFT, _RIGHT, _TOP, _LOW = 250, 46, 14, 24, 42
"""Pixels of a field at least, and of what is around it."""
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
_NEARLY = 1e-9
"""A number so near to a multiple of a step, in steps, is the multiple."""
_DASHES = ("", "6 3", "2 2", "6 2 2 2")
"""Of the lines of one method, which have one colour and one mark."""
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
    places: tuple[str, ...] = ()
    """Names of 0, 1, ... in place of round numbers."""

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """Texts from one end to the other, and how far along each is."""
        found = np.arange(len(self.places), dtype=float) if self.places else _round_numbers(self.low, self.high)
        texts = self.places or [f"{tick:.6g}" for tick in found]
        return [(text, share) for text, share in zip(texts, self.shares(found)) if -1e-9 <= share <= 1 + 1e-9]

    def shares(self, values: Floats) -> Floats:
        """How far along the axis each of ``values`` is, 0 to 1."""
        return (np.asarray(values, float) - self.low) / (self.high - self.low or 1.0)


def around(name: str, values: Floats) -> Axis:
    """An axis with room for all ``values``, from one round number to another."""
    low, *_, high = _round_numbers(values.min(), values.max())
    return Axis(name, low, high)


def _round_numbers(low: float, high: float) -> Floats:
    """Multiples of the smallest round step that takes at most five to go from below ``low`` to above ``high``."""
    span = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 5))
    for step in (unit * factor for factor in (1, 2, 2.5, 5, 10, 20)):
        first, last = math.floor(low / step + _NEARLY), math.ceil(high / step - _NEARLY)
        if last - first <= 5:
            break
    return np.arange(first, max(last, first + 1) + 1, dtype=np.float64) * step


class Line(NamedTuple):
    """Points of a method."""

    label: str
    method: str
    x: Floats
    y: Floats
    spans: tuple[Floats, Floats] | None = None
    """Low and high ends of bars through the points."""


class Field(NamedTuple):
    """Lines over two axes."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    dotted: tuple[float, float] | None = None
    """Where what the lines are compared with is at both ends."""
    joined: bool = True
    """Whether points are a line; else each is a mark."""

    @property
    def width(self) -> int:
        """In pixels: names of places have room, and stand at equal distances."""
        return max(_SIDE, len(self.x.places) * max((7 * len(name) + 16 for name in self.x.places), default=0))


def drawing(title: str, fields: Sequence[Field]) -> Markup:
    """``fields`` side by side; a line of one label is the same in all."""
    methods = {line.label: line.method for field in fields for line in field.lines}
    named = list(methods.items())
    earlier = {name: [method for _, method in named[:i]].count(method) for i, (name, method) in enumerate(named)}
    dashes = {name: _DASHES[count % len(_DASHES)] for name, count in earlier.items()}
    joined = any(field.joined for field in fields)
    lefts = [_LEFT + sum(_LEFT + one.width + _RIGHT for one in fields[:i]) for i in range(len(fields) + 1)]
    below = _TOP + _SIDE + _LOW
    width, height = lefts[-1] - _LEFT, below + 20 * len(methods)
    drawn = [part for field, left in zip(fields, lefts) for part in _field(field, left, dashes)]
    for i, (label, method) in enumerate(named):
        y = below + 8 + 20 * i
        if joined:
            line = _stroke(method, dashes[label])
            drawn.append(f'<path d="M{_LEFT} {y}h24" {line} stroke-width="2"/>')
        drawn.append(_marks([_LEFT + 12], [y], method) + f'<text x="{_LEFT + 32}" y="{y + 4}">{_escaped(label)}</text>')
    return Markup(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-size="12">'
        f"<title>{_escaped(title)}</title>{''.join(drawn)}</svg>"
    )


def _field(field: Field, left: int, dashes: Mapping[str, str]) -> Iterator[str]:
    width, bottom, grid = field.width, _TOP + _SIDE, ""
    for text, share in field.x.ticks:
        across = round(left + width * share)
        grid += f"M{across} {bottom}v-{_SIDE}"
        yield f'<text x="{across}" y="{bottom + 15}" text-anchor="middle">{_escaped(text)}</text>'
    for text, share in field.y.ticks:
        down = round(bottom - _SIDE * share)
        grid += f"M{left} {down}h{width}"
        yield f'<text x="{left - 5}" y="{down + 4}" text-anchor="end">{text}</text>'
    yield f'<path d="{grid}" stroke="currentColor" opacity=".15"/>'
    yield f'<text x="{left}" y="13">{_escaped(field.y.name)}</text>'
    yield f'<text x="{left + width / 2:.0f}" y="{bottom + 31}" text-anchor="middle">{_escaped(field.x.name)}</text>'
    if field.dotted:
        first, last = (bottom - _SIDE * field.y.shares(np.array(end)) for end in field.dotted)
        yield f'<path d="M{left} {first:.1f}L{left + width} {last:.1f}" stroke="currentColor" stroke-dasharray="2 3"/>'
    for i, line in enumerate(field.lines):
        x, y = left + width * field.x.shares(line.x), bottom - _SIDE * field.y.shares(line.y)
        colour = style(line.method).colour
        if line.spans is not None:
            low, high = (bottom - _SIDE * field.y.shares(ends).clip(0, 1) for ends in line.spans)
            bars = "".join(f"M{a:.0f} {b:.1f}V{c:.1f}" for a, b, c in zip(x, low, high))
            yield f'<path d="{bars}" stroke="{colour}" stroke-width="2" opacity=".6"/>'
        if field.joined:
            yield _path(x, y, _stroke(line.method, dashes[line.label]))
            shift = (i + 0.5) / len(field.lines)  # lines do not have their marks at one place
            places = np.unique(((np.arange(_ON_A_LINE) + shift) * len(x) / _ON_A_LINE).astype(int))
            x, y = x[places], y[places]
        yield _marks(x, y, line.method)


def _stroke(method: str, dashes: str) -> str:
    return f'stroke="{style(method).colour}"' + f' stroke-dasharray="{dashes}"' * bool(dashes)


def _path(x: Floats, y: Floats, stroke: str) -> str:
    """A line in tenths of a pixel, from each point to the next: half as long as with decimals."""
    points = np.round(10 * np.stack([x, y], axis=1)).astype(int)
    steps = np.diff(points, axis=0)
    steps = steps[steps.any(axis=1)]
    numbers = " ".join(map(str, [*points[0].tolist(), *steps.ravel().tolist()])).replace(" -", "-")
    return (
        f'<path d="m{numbers}" transform="scale(.1)" fill="none" {stroke} stroke-width="1.8" '
        'stroke-linejoin="round" vector-effect="non-scaling-stroke"/>'
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
