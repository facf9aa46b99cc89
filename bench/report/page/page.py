"""The leaderboard as one self-contained HTML page, that asks no other for anything.

It is whole without its script, and in print: every view one after the other, and a table that is wider than paper in
parts. The script (``page.js``) shows one view at a time, sorts, filters and keeps all that in the address. It is plain
JavaScript: a library for tables would be thirty times its size, and none that we know sorts several tables by what
their numbers mean (best first), leaves them as they are without a script, and finds its state in a link. The page's
content policy lets the browser run that one script, by its hash, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from itertools import accumulate

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from bench.common.text import in_html, visible
from bench.records.ledger import ledger
from bench.report.comparing.claims import Tested
from bench.report.leaderboard import layout
from bench.report.leaderboard.comparison import Statistics
from bench.report.leaderboard.model import Column, Row, Table, slug
from bench.report.leaderboard.supervision import PROTOCOL as BY_SUPERVISION
from bench.report.leaderboard.views import OVERVIEW
from bench.report.page import charts, claims, heat
from bench.report.page.details import details
from bench.report.page.fields import Chart
from bench.report.page.heat import HeatMap
from bench.report.panels import Panels
from bench.schema.record import Record
from bench.scoring.described import shown

_RULES = "rules"
_NAMES = {
    OVERVIEW: "Overview",
    BY_SUPERVISION: "By supervision",
    "published": "Published",
    _RULES: "How to read",
    "none": "Without scores",
}
"""Views that are of no protocol."""
_OF_A_GROUP = (
    "data set", "supervision", "network", "encoder weights", "recipe", "inference", "training data", "ranks"
)  # fmt: skip
_PAPER = 150
"""Characters of the smallest print that fit on a page across."""
_PICTURES = 2_500_000
"""Characters of all pictures: with them the page stays below 5 MB."""


@dataclass
class View:
    """What the page shows at a time."""

    id: str
    title: str
    tables: list[tuple[str, Table, list[Chart], list[HeatMap]]] = field(default_factory=list)
    """Each with its anchor, its charts and the numbers of its classes."""
    charts: list[Chart] = field(default_factory=list)
    """Over several of the tables."""

    @property
    def has_numbers(self) -> bool:
        """Whether a table has rows, and so marks."""
        return any(table.rows for _, table, *_ in self.tables)


def page(
    tables: Sequence[Table],
    records: Sequence[Record] = (),
    statistics: Statistics | None = None,
    tested: Sequence[Tested] = (),
    panels: Sequence[Panels] = (),
    numbers: pd.DataFrame | None = None,
) -> str:
    """A self-contained page of all ``tables``, a view for each protocol, with charts.

    Args:
        tables: as ``leaderboard.build`` gives them.
        records: of the runs of the tables: the page says how they were made, and draws what needs several of them.
        statistics: of the runs' images, as ``leaderboard.build`` takes them: for diagrams over bins.
        tested: claims and what became of them, at the head of the page.
        panels: of images, as many as there is room for.
        numbers: the ledger of the records, if it is at hand.
    """
    runs = ledger(records) if numbers is None else numbers
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            claims=[*claims.rows(tested)],
            count=claims.count(tested),
            icons=claims.ICONS,
            views=_views(tables, statistics, runs),
            explained=any(table.protocol == _RULES for table in tables),
            charts=[*charts.of_runs(runs)],
            heat_maps=[*heat.of_read_outs(runs)],
            panels=(fitting := _fitting(panels)),
            without_room=[one for one in panels if one not in fitting],
            details=details((row for table in tables for row in table.rows), records),
            data_sets=list(dict.fromkeys(filter(None, (table.facts.get("data set") for table in tables)))),
            style=Markup(_asset("page.css")),
            script=Markup(script),
            digest=digest,
        )
    )


def section(table: Table) -> str:
    """``table`` as a part of the page."""
    source = '{% from "table.html.j2" import section %}{{ section(table, table.slug, [], [], {}, false) }}'
    return _environment().from_string(source).render(table=layout.condensed(table))


def _fitting(panels: Sequence[Panels]) -> list[Panels]:
    """The first panels, until there is no more room."""
    ends = accumulate(one.size for one in panels)
    return [one for one, end in zip(panels, ends) if end <= _PICTURES]


def _views(tables: Sequence[Table], statistics: Statistics | None, runs: pd.DataFrame) -> list[View]:
    """The tables by what they are of: runs in the order of the overviews in all, and what explains them last, once."""
    found: dict[str, View] = {}
    taken: Counter[str] = Counter()
    for table in [*(table for table in tables if table.protocol != _RULES), *_rules(tables)]:
        name = table.protocol
        if name not in found:
            found[name] = View(_anchor(f"view-{slug(name)}", taken), _NAMES.get(name) or shown(name).title)
        anchor = _anchor(table.slug or "table", taken)
        classes = [*heat.of_classes(table)] if name != OVERVIEW else []
        found[name].tables.append((anchor, layout.condensed(table), [*charts.of_table(table, statistics)], classes))
    places = {_group(table): place for place, table in enumerate(tables) if table.protocol == OVERVIEW}
    for view in found.values():
        view.tables.sort(key=lambda entry: places.get(_group(entry[1]), len(places)))
    if OVERVIEW in found:
        found[OVERVIEW].charts += charts.over_data_sets(runs)
    return [*found.values()]


def _group(table: Table) -> tuple[str | None, ...]:
    """What the runs of a table share with those that may stand beside them."""
    return tuple(map(table.facts.get, _OF_A_GROUP))


def _rules(tables: Sequence[Table]) -> list[Table]:
    """The tables that explain others, as one."""
    explaining = [table for table in tables if table.protocol == _RULES]
    rules = dict.fromkeys(rule for table in explaining for rule in table.rules)
    return [replace(explaining[0], rules=[*rules])] if explaining else []


def _anchor(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return f"{name}-{taken[name]}" if taken[name] > 1 else name


def _paper_parts(table: Table) -> list[list[Column]]:
    """The columns in parts that fit on paper; none if all do."""
    texts = {column.key: [column.metric.heading] for column in table.shown}
    for row in table.rows:
        for column, cell in zip(table.shown, layout.cells(table.shown, row)):
            texts[column.key].append(f"{cell.text} {cell.marks}")
    widths = {key: 2 + max(map(len, found)) for key, found in texts.items()}
    room = _PAPER - max((min(len(row.label), 40) for row in table.rows), default=0) - 12
    found = layout.parts(table.shown, room, lambda column: widths[column.key])
    return found if len(found) > 1 else []


def _rows(table: Table) -> Iterator[tuple[list[str], Row]]:
    for row in table.rows:
        yield layout.identity(table, row), row


@cache
def _asset(name: str) -> str:
    return resources.files("bench.report.page").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.report.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=in_html,
    )
    environment.filters |= {"number": _number, "lines": _lines}
    environment.globals |= {"layout": layout, "paper_parts": _paper_parts, "rows": _rows}
    return environment


def _number(cell: layout.Styled) -> Markup:
    text = html.escape(cell.text)
    tagged = {"best": f"<strong>{text}</strong>", "second": f"<u>{text}</u>", "plain": text}[cell.style]
    return Markup(tagged + (f"<sup>{html.escape(cell.marks)}</sup>" if cell.marks else ""))


def _lines(text: str) -> Markup:
    """``text`` of several lines, each as it is."""
    return Markup("\n").join(map(visible, text.split("\n")))
