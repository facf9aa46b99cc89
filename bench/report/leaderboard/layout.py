"""A table as rows of styled text: what all formats but CSV have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from bench.report.leaderboard.columns import Column
from bench.report.leaderboard.model import Cell, Incomplete, Row, Table
from bench.scoring.described import shown

NOTHING = "–"
PUBLISHED_TITLE = "Published (other networks and schedules, not comparable)"
PUBLISHED_HEADINGS = ("Method", "Network", "Trained on", "Evaluated on", "Metric", "Value", "Source", "Evidence")


@dataclass(frozen=True)
class Styled:
    """A cell's number and the marks after it."""

    text: str
    style: Literal["plain", "best", "second"] = "plain"
    marks: str = ""


def identity_headings(table: Table) -> list[str]:
    """Headings of the columns before the metrics."""
    return ["#", "Method", *([shown(table.protocol).rows] if table.has_scores else []), "n"]


def identity(table: Table, row: Row) -> list[str]:
    """What goes under ``identity_headings``."""
    place = NOTHING if row.place is None else f"({row.place})" if table.on_one_seed(row) else str(row.place)
    return [place, row.label, *([row.score or NOTHING] if table.has_scores else []), str(len(row.seeds))]


def incomplete_identity(table: Table, item: Incomplete) -> list[str]:
    """The same for runs that are not averaged."""
    return [NOTHING, item.label, *([NOTHING] if table.has_scores else []), NOTHING]


def spans(columns: list[Column]) -> list[tuple[str, int]]:
    """The headings over the columns, each with the number of columns under it."""
    return [(group, len(list(members))) for group, members in groupby(columns, key=lambda c: c.group)]


def parts(columns: Sequence[Column], room: float, width: Callable[[Column], float]) -> list[list[Column]]:
    """The columns in parts no wider than ``room``, never splitting a target unless it is too wide alone."""
    found: list[list[Column]] = [[]]
    for _, members in groupby(columns, key=lambda column: column.group):
        group = list(members)
        if sum(map(width, found[-1] + group)) > room:
            found.append([])
        for column in group:
            if sum(map(width, [*found[-1], column])) > room:
                found.append([])
            found[-1].append(column)
    return [part for part in found if part] or [[]]


def cells(columns: list[Column], row: Row) -> Iterator[Styled]:
    """The numbers of a row."""
    for column in columns:
        cell = row.cells.get(column.key)
        yield Styled(NOTHING) if cell is None else styled(column, cell, len(row.seeds))


def styled(column: Column, cell: Cell, n: int) -> Styled:
    """``71.23 ± 0.41``, with its own n where that is not ``n``, the row's, and nothing beside it says so."""
    if not cell.n:
        return Styled("undefined")
    text = column.metric.text(cell.mean)
    if cell.std is not None and (cell.std > 0 or column.metric.better is not None):
        text += f" ± {column.metric.text(cell.std)}"
    if cell.undefined or (cell.n != n and column.metric.better is not None):
        text += f" (n={cell.n})"
    return Styled(text, "best" if cell.place == 1 else "second" if cell.place == 2 else "plain", cell.marks)


def published_rows(table: Table) -> list[list[str]]:
    """What goes under ``PUBLISHED_HEADINGS``."""
    return [
        [
            entry.method,
            entry.network,
            entry.trained_on + ("" if entry.supervision == "dense" else f" ({entry.supervision})"),
            entry.target,
            entry.metric,
            entry.value,
            entry.source + (f"; {entry.note}" if entry.note else ""),
            entry.evidence,
        ]
        for entry in table.published
    ]
