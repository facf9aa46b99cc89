"""Tables as files: Markdown, CSV, JSON, LaTeX (``latex.py``) and HTML (``bench.report.page``)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import TextWrapper

import pandas as pd

from bench.common import files
from bench.common.errors import UserError, near
from bench.common.text import cell as csv_cell
from bench.common.text import in_markdown
from bench.report.leaderboard import layout
from bench.report.leaderboard.latex import PREAMBLE, latex
from bench.report.leaderboard.model import Cell, Column, Incomplete, Row, Table

FILES: dict[str, str] = {
    "md": "leaderboard.md",
    "csv": "leaderboard.csv",
    "json": "leaderboard.json",
    "tex": "leaderboard.tex",
    "html": "report.html",
}
"""The file that ``write`` makes for each format."""

_SHARED = (
    "data_set", "training_data", "supervision", "labels", "network", "encoder_weights", "recipe", "ranks", "inference",
    "protocol",
)  # fmt: skip
"""Facts of a table, as its lines name them."""
CSV_COLUMNS = (
    "table", "kind", *_SHARED, "method", "method_version", "variant", "score", "target", "target_data", "metric",
    "mean", "std", "n", "seeds", "values", "place", "behind_best_low", "behind_best_high", "p_bootstrap_adjusted",
    "p_wilcoxon_holm", "runs", "note",
)  # fmt: skip
"""One line a number, so that files of several leaderboards can be put together; shares, not per cent."""


def render(table: Table, format: str) -> str:
    """``table`` in ``format`` (md, csv, json, tex or html; HTML is a section without a page around it)."""
    _require(format)
    of_one: dict[str, Callable[[Table], str]] = {
        "md": _markdown,
        "csv": lambda one: _csv([one]),
        "json": lambda one: _json([one]),
        "tex": latex,
        "html": _section,
    }
    return of_one[format](table)


def write(
    tables: Sequence[Table],
    formats: Iterable[str],
    out_dir: Path,
    page: Callable[[Sequence[Table]], str] | None = None,
    head: str = "",
) -> list[Path]:
    """Write all tables into one file for each format under ``out_dir``; returns the files.

    ``page`` writes the HTML: by default `bench.report.page`, with nothing beside the tables; ``head`` is Markdown that
    stands above them.
    """
    formats = list(dict.fromkeys(formats))
    for name in formats:
        _require(name)
    whole: dict[str, Callable[[Sequence[Table]], str]] = {
        "md": lambda tables: "\n".join(["# Leaderboard\n", *([f"{head}\n"] if head else []), *map(_markdown, tables)]),
        "csv": _csv,
        "json": _json,
        "tex": lambda tables: PREAMBLE + "\n".join(map(latex, tables)),
        "html": page or _page,
    }
    paths = [Path(out_dir) / FILES[name] for name in formats]
    for name, path in zip(formats, paths):
        text = whole[name](tables)
        try:
            files.write(path, text)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}); choose another folder") from None
    return paths


def _require(format: str) -> None:
    if format not in FILES:
        raise UserError(f"unknown format {format!r}: {near(format, FILES)}")


# Markdown

_PAGE = 120
"""Characters of a table across, as it is read."""


class _Wrapper(TextWrapper):
    """Lines of headings end after a slash, too, and none begins with an arrow."""

    wordsep_simple_re = re.compile(r"(\s+(?![↑↓])|(?<=/))")


_WRAPPED = _Wrapper(14, break_long_words=False, break_on_hyphens=False)
"""A line is as wide as a number with its deviation and a mark."""
_FIGURE = _Wrapper(18, break_long_words=False, break_on_hyphens=False)
"""Six such cells of a published figure fit a page."""


def _markdown(table: Table) -> str:
    table = layout.condensed(table)
    blocks = [f"## {in_markdown(table.title)}"]
    if table.facts:
        blocks.append(in_markdown(table.caption[:1].upper() + table.caption[1:]) + ".")
    if table.rows or table.incomplete:
        blocks += _md_numbers(table)
    remarks = [f"- {in_markdown(rule)}" for rule in table.rules] + [
        f"- **Note:** {in_markdown(note)}" for note in table.notes
    ]
    if remarks:
        blocks.append("\n".join(remarks))
    if table.published:
        blocks += _md_published(table)
    return "\n\n".join(blocks) + "\n"


def _md_published(table: Table) -> Iterator[str]:
    """Published figures, with their sources below: they are wider than a page beside the numbers."""
    sources: dict[str, int] = {}
    rows = []
    for *figure, source, evidence in layout.published_rows(table):
        number = sources.setdefault(f"{source} ({evidence})", len(sources) + 1)
        rows.append(["<br>".join(map(in_markdown, _FIGURE.wrap(text))) for text in (*figure, str(number))])
    headings = [*layout.PUBLISHED_HEADINGS[:-2], "Source"]
    yield f"### {layout.PUBLISHED_TITLE}"
    yield _md_table(headings, rows, 0, len(headings) - 2)
    yield "\n".join(f"{number}. {in_markdown(source)}" for source, number in sources.items())


def _md_numbers(table: Table) -> list[str]:
    """A grid, or several of a page's width one below the other."""
    names = [layout.identity_headings(table), *(layout.identity(table, row) for row in table.rows)]
    room = _PAGE - sum(3 + max(map(len, texts)) for texts in zip(*names))
    return [
        _md_part(table, columns, table.incomplete * (not place))
        for place, columns in enumerate(layout.parts(table.shown, room, lambda column: _md_width(table, column)))
    ]


def _md_part(table: Table, columns: list[Column], incomplete: Sequence[Incomplete]) -> str:
    identity = layout.identity_headings(table)
    headings = ["<br>".join(_md_heading(column)) for column in columns] or ["Status"]
    rows = [
        [*map(in_markdown, layout.identity(table, row)), *map(_md_cell, layout.cells(columns, row))]
        for row in table.rows
    ]
    for item in incomplete:
        blank = [""] * (len(headings) - 1)
        rows.append([*map(in_markdown, layout.incomplete_identity(table, item)), in_markdown(item.text), *blank])
    return _md_table([*identity, *headings], rows, 1, len(identity) - 1)


def _md_heading(column: Column) -> list[str]:
    """In lines: what is wider than its numbers takes the width of a page from other columns."""
    above, below = _WRAPPED.wrap(column.group), _WRAPPED.wrap(column.metric.heading)
    return [*map(in_markdown, above), *(in_markdown(line, stars=True) for line in below)]


def _md_width(table: Table, column: Column) -> int:
    """Characters of a column as it is read, with what stands between it and the next."""
    numbers = [next(layout.cells([column], row)) for row in table.rows]
    return 3 + max(map(len, [*_md_heading(column), *(f"{one.text} {one.marks}".strip() for one in numbers)]))


def _md_table(headings: list[str], rows: list[list[str]], start: int, end: int) -> str:
    """All columns but those from ``start`` to ``end`` are numbers, and stand on the right."""
    alignment = ["---" if start <= i < end else "---:" for i in range(len(headings))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, alignment, *rows))


def _md_cell(cell: layout.Styled) -> str:
    marks = f" {cell.marks}" if cell.marks else ""
    return {"best": f"**{cell.text}**", "second": f"<u>{cell.text}</u>", "plain": cell.text}[cell.style] + marks


# CSV and JSON


def _csv(tables: Iterable[Table]) -> str:
    lines = ({key: csv_cell(value) for key, value in line.items()} for table in tables for line in _lines(table))
    return pd.DataFrame(lines, columns=CSV_COLUMNS, dtype=object).to_csv(index=False, lineterminator="\n")


def _json(tables: Iterable[Table]) -> str:
    """The lines of the CSV file as objects, without what is empty; numbers are numbers."""
    lines = [{key: value for key, value in line.items() if value != ""} for one in tables for line in _lines(one)]
    return json.dumps(lines, indent=1) + "\n"


def _lines(table: Table) -> Iterator[dict[str, str | int | float]]:
    shared = {"table": table.title} | {name: table.facts.get(name.replace("_", " "), "") for name in _SHARED}
    shared["ranks"] = shared["ranks"] or ("1" if table.facts else "")
    for row in table.rows:
        for column in table.columns:
            if (cell := row.cells.get(column.key)) is not None:
                yield {**shared, **_number(row, cell), **_column(column)}
        for target, classes in row.per_class.items():
            for name, cell in classes.items():
                yield {**shared, **_number(row, cell), "target": target, "metric": f"iou/{name}"}
    for item in table.incomplete:
        yield {
            **shared,
            "kind": item.status,
            "variant": item.label,
            "seeds": " ".join(map(str, item.seeds)),
            "note": item.reason,
        }
    for entry in table.published:
        yield {
            "table": table.title,
            "kind": "published",
            "data_set": entry.trained_on,
            "supervision": entry.supervision,
            "network": entry.network,
            "protocol": entry.protocol,
            "method": entry.method,
            "target": entry.target,
            "metric": entry.metric,
            "mean": round(float(entry.value) / 100, 6),
            "note": "; ".join(filter(None, (entry.source, entry.evidence, entry.note))),
        }


def _number(row: Row, cell: Cell) -> dict[str, str | int | float]:
    optional = {
        "mean": cell.mean if cell.n else None,
        "std": cell.std if cell.n else None,
        "place": cell.place,
        "behind_best_low": cell.difference.low if cell.difference else None,
        "behind_best_high": cell.difference.high if cell.difference else None,
        "p_bootstrap_adjusted": cell.p_bootstrap,
        "p_wilcoxon_holm": cell.p_wilcoxon,
    }
    return {
        "kind": "measured",
        "method": row.method,
        "method_version": row.version,
        "variant": row.label,
        "score": row.score,
        "n": cell.n,
        "seeds": " ".join(map(str, row.seeds)),
        "values": " ".join(f"{seed}={value!r}" for seed, value in cell.values.items()),
        "runs": " ".join(row.run_ids),
        "note": f"undefined for seed {' '.join(map(str, cell.undefined))}" if cell.undefined else "",
        **{key: value for key, value in optional.items() if value is not None},
    }


def _column(column: Column) -> dict[str, str]:
    data = column.key[1] if column.target else ""
    line = {"target": column.target, "target_data": data, "metric": column.metric.key}
    if column.labels is not None:
        line |= {"supervision": column.labels.kind, "labels": column.labels.text}
    return line


# HTML: its templates are loaded for it alone


def _page(tables: Sequence[Table]) -> str:
    from bench.report.page import page

    return page(tables)


def _section(table: Table) -> str:
    from bench.report.page import section

    return section(table)
