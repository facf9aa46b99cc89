"""A table as rows of styled text: what all formats but CSV and JSON have in common."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from bench.report.leaderboard.model import Cell, Column, Incomplete, Row, Table
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


def condensed(table: Table) -> Table:
    """``table`` as it is shown: rows that are the same as one, and without columns that tell nothing.

    Rows are the same that have the same weights and the same numbers. A column tells nothing that no row has; that is
    the same for all methods, unless it ranks them, for then it says that all are equally good; and that must be of all
    rows but is not (``Metric.of_all_rows``). Rules say what was left out.
    """
    there = [column for column in table.shown if any(column.key in row.cells for row in table.rows)]
    of_few = [c for c in there if c.metric.of_all_rows and not all(c.key in row.cells for row in table.rows)]
    columns = [column for column in there if column not in of_few]
    rows = _joined(_joined(table.rows, columns, "score"), columns, "label")
    same = {column: text for column in columns if column.metric.better is None and (text := _only(column, rows))}
    said: dict[str, list[str]] = defaultdict(list)
    for column, text in same.items():
        said[f"{column.metric.label} {text}"].append(column.target)
    named = (f"{what} ({', '.join(targets)})" if any(targets) else what for what, targets in said.items())
    rules = [f"The same in all rows: {'; '.join(named)}."] * bool(same)
    if of_few:
        left_out = "; ".join(f"{column.metric.label} ({column.target})" for column in of_few)
        rules.append(f"Not of all rows, so in CSV and JSON alone: {left_out}.")
    return replace(table, columns=[c for c in columns if c not in same], rows=rows, rules=[*table.rules, *rules])


def _joined(rows: Sequence[Row], columns: Sequence[Column], part: Literal["label", "score"]) -> list[Row]:
    """``rows`` in which those that differ in this ``part`` of their names alone are one, with both names."""
    found: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        numbers = tuple((c.key, *sorted(row.cells[c.key].values.items())) for c in columns if c.key in row.cells)
        other = row.score if part == "label" else row.label
        known = row.weights and all(row.weights)
        found[(other, row.seeds, row.weights, numbers) if known else id(row)].append(row)
    return [same[0] if len(same) == 1 else _one(same, part) for same in found.values()]


def _one(same: Sequence[Row], part: Literal["label", "score"]) -> Row:
    if part == "score":
        return replace(same[0], score=" = ".join(row.score or "own prediction" for row in same))
    return replace(same[0], label=" = ".join(row.label for row in same))


def _only(column: Column, rows: Sequence[Row]) -> str:
    """What a column says of several configurations alike; empty if they differ, or there is but one.

    No spread over seeds says as much as one seed.
    """
    texts = {re.sub(r" ± 0(\.0+)?$", "", cell.text) for row in rows for cell in cells([column], row)}
    return texts.pop() if len(texts) == 1 and len({row.label for row in rows}) > 1 else ""


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
