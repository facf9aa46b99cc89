"""Tables on a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.common.console import Output, styled
from bench.common.text import visible
from bench.report.leaderboard import layout
from bench.report.leaderboard.model import Column, Table

_STYLES = {"best": "bold", "second": "underline", "plain": ""}
_NARROWEST, _BETWEEN = 12, 3
"""Of a column of numbers, so that the names of targets fold into few lines, and what stands between two columns."""


def show(tables: Sequence[Table], console: Console | None = None) -> None:
    """Print ``tables``; one that is wider than the console comes in parts, a target or two at a time."""
    console = console or Output()
    if not tables:
        console.print("There are no runs to compare; make one with `bench run`.", markup=False)
    for table in tables:
        _show(layout.condensed(table), console)


def _show(table: Table, console: Console) -> None:
    console.print()
    console.print(styled(table.title, "bold"))
    if table.facts:
        console.print(styled(table.caption, "dim"))
    for columns in _parts(table, console.width) if table.rows else []:
        grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in layout.identity_headings(table):
            grid.add_column(styled(heading), justify="right" if heading in "#n" else "left", overflow="fold")
        above = ""
        for column in columns:
            # The target stands over its first column only, or every column would be as wide as its name.
            group = column.group if column.group != above else ""
            above = column.group
            room = _width(table, column)
            heading = "\n".join([*_folded(visible(group), room), visible(column.metric.heading)])
            grid.add_column(Text(heading), justify="right", overflow="fold", min_width=room)
        for row in table.rows:
            numbers = [
                Text.assemble((cell.text, _STYLES[cell.style]), f" {cell.marks}" if cell.marks else "")
                for cell in layout.cells(columns, row)
            ]
            grid.add_row(*map(styled, layout.identity(table, row)), *numbers)
        console.print(grid)
    for item in table.incomplete:
        console.print(Text.assemble((visible(item.label), "bold"), f" {visible(item.text)}", style="yellow"))
    for note in table.notes:
        console.print(styled(f"Note: {note}", "yellow"))
    for rule in table.rules:
        console.print(styled(rule, "dim"))
    if table.published:
        grid = RichTable(title=layout.PUBLISHED_TITLE, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        for heading in layout.PUBLISHED_HEADINGS:
            grid.add_column(heading, justify="right" if heading == "Value" else "left", overflow="fold")
        for line in layout.published_rows(table):
            grid.add_row(*map(styled, line))
        console.print(grid)


def _parts(table: Table, width: int) -> list[list[Column]]:
    """The columns in parts that fit."""
    names = zip(layout.identity_headings(table), *(layout.identity(table, row) for row in table.rows))
    used = sum(_BETWEEN + max(map(len, texts)) for texts in names)
    return layout.parts(table.shown, width - used, lambda column: _BETWEEN + _width(table, column))


def _width(table: Table, column: Column) -> int:
    """Of the longest number with its marks, or word of the heading; names of targets may fold."""
    numbers = (len(f"{cell.text} {cell.marks}".strip()) for row in table.rows for cell in layout.cells([column], row))
    return max(_NARROWEST, *numbers, *map(len, column.metric.heading.split()))


def _folded(name: str, width: int) -> list[str]:
    """The lines of a name, broken where its parts end, and not within a word as rich does."""
    lines: list[str] = []
    for part in re.findall(r"[^ /_]*[ /_]?", name):
        if lines and len(lines[-1] + part.rstrip()) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return [line.rstrip() for line in lines if line.strip()]
