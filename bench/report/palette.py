"""One colour and one mark for each method, in every picture: Okabe and Ito's, that all readers can tell apart."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

from bench.plugins.sources import sources

_COLOURS = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#AA8F00", "#808080", "#882255", "#44AA99", "#D55E00", "#CC79A7",
)  # fmt: skip
"""Okabe and Ito's, their yellow darkened and their black as grey, so that each is seen on white and on black, and two
of Tol's. Marks tell apart what printing in grey does not."""
_MARKS = "os^Dv<>pPX"


class Style(NamedTuple):
    """How a method is drawn."""

    colour: str
    mark: str
    """Of matplotlib."""


@cache
def _suite() -> tuple[str, ...]:
    return tuple(sorted(source.name for source in sources("methods")))


def style(method: str) -> Style:
    """Of a method of the suite its place in the alphabet; of any other what its name gives, always the same."""
    known = _suite()
    place = known.index(method) if method in known else hashlib.sha256(method.encode()).digest()[0]
    return Style(_COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)])
