"""What papers claim, as the head of the page says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.report.comparing.claims import Claim, Line, Tested, Verdict, claimed, line

ICONS: dict[Verdict, str] = {"holds": "✓", "contradicted": "✗", "undecided": "?", "not tested": "–"}
"""Beside the words, never in place of them."""


class Row(NamedTuple):
    """A claim on a target."""

    claim: Claim
    line: Line
    above: str
    """More than this is claimed."""
    verdict: Verdict


def rows(tested: Sequence[Tested]) -> Iterator[Row]:
    """Of the table."""
    for row in tested:
        yield Row(row.claim, line(row), claimed(row.claim), row.verdict)


def count(tested: Sequence[Tested]) -> str:
    """For example ``✓ 2 hold, ✗ 1 contradicted``."""
    counts = Counter(row.verdict for row in tested)
    texts = {verdict: "hold" if verdict == "holds" and counts[verdict] != 1 else verdict for verdict in ICONS}
    return ", ".join(f"{ICONS[verdict]} {counts[verdict]} {texts[verdict]}" for verdict in ICONS if counts[verdict])
