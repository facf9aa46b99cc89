"""The kinds of supervision by name: ``points``, ``scribbles``, ``clicks-20``, ``coarse``, ``fraction-0.01``, ..."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from datasets.errors import DataError

PLAIN = ("dense", "points", "scribbles", "coarse", "none")
"""Kinds without a number."""
LEAST_SHARE = 1e-6
"""Of the pixels of an image: one of a million."""
EXAMPLES = ("dense", "points", "scribbles", "clicks-20", "clicks-50", "clicks-100", "coarse", "fraction-0.01", "none")
"""What a user may have meant by an unknown name."""


@dataclass(frozen=True)
class Kind:
    """Which labels training may see; ``str(kind)`` is its one canonical name."""

    family: str
    """One of ``PLAIN``, ``clicks`` or ``fraction``."""
    amount: float | None = None
    """Clicks in an image, or the share of its valid pixels; None for the families without a number."""

    def __str__(self) -> str:
        return self.family if self.amount is None else f"{self.family}-{self.amount:.12g}"


def parse(text: str) -> Kind:
    """The kind of that name.

    Numbers are brought to one form, so that ``fraction-0.010`` and ``fraction-0.01`` are the same kind. Raises
    DataError with near matches for an unknown name.
    """
    if text in PLAIN:
        return Kind(text)
    clicks = re.fullmatch(r"clicks-(\d{1,9})", text, re.ASCII)
    if clicks and int(clicks[1]) > 0:
        return Kind("clicks", int(clicks[1]))
    fraction = re.fullmatch(r"fraction-(\d*\.?\d+(?:e-?\d{1,2})?)", text, re.ASCII)
    if fraction and LEAST_SHARE <= float(fraction[1]) <= 1:
        return Kind("fraction", float(fraction[1]))
    near = difflib.get_close_matches(text, EXAMPLES, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}; " if near else ""
    raise DataError(
        f"unknown supervision {text!r}: {hint}there is {', '.join(PLAIN)}, clicks-N with N clicks an image "
        f"(clicks-20) and fraction-F with a share F of the pixels, from {LEAST_SHARE} to 1 (fraction-0.01)"
    )
