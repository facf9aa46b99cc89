"""What papers claim, as the head of the page says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.report.comparing.claims import HEADINGS, Tested, Verdict, cells

ICONS: dict[Verdict, str] = {"holds": "✓", "contradicted": "✗", "undecided": "?", "not tested": "–"}
"""Beside the words, never in place of them."""


class Claimed(NamedTuple):
    """A claim on a target."""

    paper: str
    statement: str
    texts: dict[str, str]
    """What a row of ``bench claims`` says, by its headings, but for the verdict and the runs."""
    verdict: Verdict
    why: str
    runs: tuple[str, ...]
    """Pairs of run ids, one for each seed."""


def claimed(tested: Sequence[Tested]) -> Iterator[Claimed]:
    """The rows of the table."""
    for row in tested:
        texts = dict(zip(HEADINGS, cells(row, {})))
        for name in ("Verdict", "Runs"):
            del texts[name]
        runs = () if row.found is None else tuple(f"{runs.a} and {runs.b}" for runs in row.found.runs)
        yield Claimed(row.claim.paper, row.claim.statement, texts, row.verdict, row.why, runs)


def count(tested: Sequence[Tested]) -> str:
    """For example ``✓ 2 hold, ✗ 1 contradicted``."""
    counts = Counter(row.verdict for row in tested)
    texts = {verdict: "hold" if verdict == "holds" and counts[verdict] != 1 else verdict for verdict in ICONS}
    return ", ".join(f"{ICONS[verdict]} {counts[verdict]} {texts[verdict]}" for verdict in ICONS if counts[verdict])
