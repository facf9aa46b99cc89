"""Every configuration of a group with every other, by what each protocol is judged on, corrected for their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import NamedTuple

import pandas as pd

from bench.common.errors import UserError
from bench.records.ledger import parts
from bench.records.naming import named
from bench.report.comparing.differences import Difference, differences
from bench.report.comparing.results import Results
from bench.report.comparing.sides import Pair, Side, pair_of
from bench.report.leaderboard.statistics import ALPHA, holm
from bench.scoring.described import primary


class Compared(NamedTuple):
    """Two configurations among others."""

    pair: Pair
    found: Difference
    p: float | None
    """After Holm's correction for all pairs by this metric; None where images or seeds are too few."""

    @property
    def better(self) -> str:
        """``a`` or ``b``; empty where that is undecided among so many."""
        return self.found.better if self.p is not None and self.p < ALPHA else ""


class Family(NamedTuple):
    """All pairs of a group by one metric on one target, or over several."""

    title: str
    rows: list[Compared]


def all_pairs(results: Results) -> Iterator[Family]:
    """A family for each group, protocol and reading, from the smallest p on. Raises UserError if there is no pair."""
    none = True
    for _, members in parts(results.runs, "group"):
        by_metric: dict[tuple[object, ...], list[tuple[Pair, Difference]]] = defaultdict(list)
        for pair in _pairs(members):
            wanted = {name for protocol, _ in pair.runs for name in primary(protocol)}
            for row in _judged([*differences(results, pair, metrics=wanted, judged=True)]):
                by_metric[row.protocol, row.version, row.targets, row.metric.key, row.readings].append((pair, row))
        for found in by_metric.values():
            none = False
            yield Family(_title(*found[0]), _corrected(found))
    if none:
        raise UserError("no two configurations agree in all but the method; run several methods with one command")


def _pairs(members: pd.DataFrame) -> Iterator[Pair]:
    naming = named(members["variant"])
    by_variant = sorted(parts(members, "variant"), key=lambda item: naming.label[item[0]])
    for (a, of_a), (b, of_b) in combinations(by_variant, 2):
        pair = pair_of(of_a, of_b, Side(naming.label[a]), Side(naming.label[b]))
        if isinstance(pair, Pair):  # else they share no seed
            yield pair


def _judged(rows: Sequence[Difference]) -> Iterator[Difference]:
    """Of each protocol and reading what it is judged on: its first metric, on its headline target or over all."""
    for (protocol, _, _), alike in groupby(rows, key=lambda row: (row.protocol, row.version, row.readings)):
        of_reading = [*alike]
        for name in primary(protocol):
            found = [row for row in of_reading if row.metric.key == name]
            chosen = [row for row in found if row.headline] or [row for row in found if len(row.targets) > 1] or found
            if chosen:
                yield from chosen
                break


def _corrected(found: Sequence[tuple[Pair, Difference]]) -> list[Compared]:
    tested = [row.estimate.p() for _, row in found if row.estimate.covers_both]
    adjusted = iter(holm(tested))
    rows = [Compared(pair, row, next(adjusted) if row.estimate.covers_both else None) for pair, row in found]
    return sorted(rows, key=lambda row: (row.p is None, row.found.estimate.p()))


def _title(pair: Pair, row: Difference) -> str:
    reading = f", {row.readings[0]}" if row.readings[0] else ""
    return f"{pair.where}: {row.protocol}, {row.target}, {row.metric.label}{reading}"
