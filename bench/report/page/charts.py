"""Charts of the page, as SVG that takes its text's colour from the page; what they show is in the tables too."""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
from markupsafe import Markup

from bench.common.errors import UserError
from bench.common.text import visible
from bench.records.ledger import TRAINING, parts
from bench.report.comparing.bootstrap import Estimate
from bench.report.comparing.diagrams import critical_difference
from bench.report.comparing.rank_changes import RankChanges, rank_changes
from bench.report.comparing.ranks import MIN_DATA_SETS, PROTOCOL, ranks
from bench.report.comparing.results import Results
from bench.report.comparing.show import ranks_text
from bench.report.leaderboard import curves
from bench.report.leaderboard.comparison import Statistics
from bench.report.leaderboard.figures import per_class_svg, svg
from bench.report.leaderboard.model import Cell, Column, Row, Table
from bench.report.leaderboard.statistics import Floats
from bench.report.leaderboard.views import OVERVIEW, title
from bench.report.page import over_bins
from bench.report.page.fields import Axis, Chart, Field, Line, around, drawing, label, shortened
from bench.report.palette import style
from bench.scoring.metrics.catalogue import Metric

_MOST = 8
"""Columns of a figure of seeds."""
_SEEDS = (
    "A dot is a seed, the line across is their mean, and the bar its 95 % interval over seeds and images, as bench "
    "compare has it. A bar without an end goes on beyond its field; a ring stands for what lies far beyond it."
)
_INTERVALS = "Marks are means, bars their 95 % intervals over seeds and images, as bench compare has them."
_SPREAD = "Marks are means, bars their standard deviation over seeds."
_FIELD = 200
"""Pixels of a column of a figure of seeds, across."""
_GROUPS = 4
"""Groups of which speed is drawn against quality."""


def of_table(table: Table, statistics: Statistics | None) -> Iterator[Chart]:
    """What the runs of a table's rows look like, seed by seed, class by class, bin by bin."""
    if any(cell.n for row in table.rows for cell in row.cells.values()):
        yield Chart("Seeds, means and intervals", seeds(table), (_SEEDS,))
    if table.protocol != OVERVIEW and (figure := per_class_svg(table)):
        yield Chart("IoU of each class", Markup(figure))
    for found in rank_changes([table]):
        yield over_protocols(found)
    if figure := over_targets(table):
        yield Chart("Each target", figure, (_INTERVALS,))
    if statistics is not None and table.protocol != OVERVIEW:
        yield from over_bins.of_table(table, statistics)


# Seeds


def seeds(table: Table) -> Markup:
    """A dot for each seed, a line at the mean, a bar over its interval; a field for each column.

    A bar without an end goes on beyond its field. What lies far behind the rest, as trivial baselines do, is a ring at
    the end of its field.
    """
    columns = [column for column in table.shown if column.metric.better][:_MOST]
    rows = [row for row in table.rows if any(column.key in row.cells for column in columns)]
    left = 12 + max((round(7.5 * len(label(row))) for row in rows), default=0)
    heads = [[*column.group.partition(" (")[0].split(", "), column.metric.heading] for column in columns]
    top = 26 + 15 * max(map(len, heads), default=0)
    width, height = left + _FIELD * len(columns), top + 20 * len(rows)
    names = "".join(
        f'<text x="{left - 8}" y="{top + 4 + 20 * i}" text-anchor="end">{html.escape(label(row))}</text>'
        for i, row in enumerate(rows)
    )
    fields = "".join(
        _field(column, head, rows, left + _FIELD * i, top) for i, (column, head) in enumerate(zip(columns, heads))
    )
    return Markup(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-size="12">'
        f"<title>{html.escape(visible(table.title))}</title>{names}{fields}</svg>"
    )


def _field(column: Column, head: Sequence[str], rows: Sequence[Row], left: int, top: int) -> str:
    cells = {i: row.cells[column.key] for i, row in enumerate(rows) if column.key in row.cells}
    low, high = _ends([cell for cell in cells.values() if cell.n])

    def x(value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{left + 8 + (_FIELD - 26) * min(max(share, 0), 1):.1f}"

    marks = [
        f'<text x="{left + 8}" y="{12 + 15 * i}">{html.escape(shortened(visible(text), 30))}</text>'
        for i, text in enumerate(head)
    ]
    for value, anchor in ((low, "start"), (high, "end")) if high > low else ((low, "middle"),):
        text = column.metric.text(value)
        marks.append(f'<text x="{x(value)}" y="{top - 13}" text-anchor="{anchor}" opacity=".75">{text}</text>')
    for i, cell in cells.items():
        y, colour = top + 20 * i, style(rows[i].method).colour
        marks.append(f'<path d="M{left + 4} {y}h{_FIELD - 18}" stroke="currentColor" opacity=".15"/>')
        if cell.n:
            ends = (found := estimate(cell)).low, found.high
            caps = "".join(f"M{x(end)} {y - 4}v8" for end in ends if low <= end <= high)
            bar = f"M{x(ends[0])} {y}H{x(ends[1])}{caps}"
            marks.append(f'<path d="{bar}" fill="none" stroke="{colour}" stroke-width="2" opacity=".6"/>')
        for value in cell.values.values():
            inside = low <= value <= high
            filled = f'fill="{colour}"' if inside else f'fill="none" stroke="{colour}" stroke-width="2"'
            marks.append(f'<circle cx="{x(value)}" cy="{y}" r="3.5" {filled}/>')
        if cell.n and low <= cell.mean <= high:
            marks.append(f'<path d="M{x(cell.mean)} {y - 7}v14" stroke="currentColor" stroke-width="1.5"/>')
    return "".join(marks)


def estimate(cell: Cell) -> Estimate:
    """The mean with its interval over seeds and images, as `bench compare` makes it."""
    error = 0.0 if cell.std is None else cell.std / math.sqrt(cell.n)
    return Estimate(cell.mean, cell.n, cell.images, error, cell.error_images)


def _ends(cells: Sequence[Cell]) -> tuple[float, float]:
    """Of an axis: all seeds of the rows that are not far from most, in interquartile ranges of the means."""
    if not cells:
        return 0.0, 1.0
    quarter, three_quarters = np.quantile([cell.mean for cell in cells], [0.25, 0.75])
    room = 3 * (three_quarters - quarter)
    near = [cell for cell in cells if quarter - room <= cell.mean <= three_quarters + room]
    values = [value for cell in near for value in cell.values.values()]
    return min(values), max(values)


# Protocols, data sets and targets


def over_protocols(changes: RankChanges) -> Chart:
    """The rank of each method under each protocol."""
    ranks, most = np.array([*changes.ranks.values()], float), len(changes.methods)
    names = tuple(changes.ranks)
    x = Axis("", -0.5, len(names) - 0.5, names)
    y = Axis("rank", most + 0.5, 0.5, ("", *map(str, range(1, most + 1))))
    methods = enumerate(changes.methods.items())
    lines = [Line(label, method, np.arange(len(names), dtype=float), ranks[:, i]) for i, (label, method) in methods]
    known = [f"{name} {tau:.2f}" for name, tau in changes.tau.items() if tau is not None and name != names[0]]
    note = f"Kendall's tau with the order under {names[0]}: {', '.join(known)}."
    return Chart("Ranks over protocols", drawing(changes.title, [Field(x, y, lines)]), (note,) if known else ())


def over_data_sets(frame: pd.DataFrame) -> Iterator[Chart]:
    """The critical-difference diagram of ``frame``, the ledger, where there are enough data sets."""
    judged = frame[frame["protocol"] == PROTOCOL]
    if judged["dataset"].nunique() < MIN_DATA_SETS:
        return
    if (found := ranks(Results.made(judged, lambda run, under: {}))) is not None:
        yield Chart("Ranks over data sets", svg(critical_difference(found), "ranks"), (ranks_text(found),))


def over_targets(table: Table) -> Markup:
    """Of the first metric that several targets have the mean on each, with its interval; empty where there is none.

    Conditions of weather are such targets. What lies far behind is left out.
    """
    by_metric: dict[str, list[Column]] = defaultdict(list)
    for column in table.shown:
        if column.target and column.metric.better:
            by_metric[column.metric.key].append(column)
    columns = next((found for found in by_metric.values() if len(found) > 1), [])
    rows = [row for row in table.rows if any(_has(row, column) for column in columns)][:_MOST]
    if not rows:
        return Markup()
    unit, heading = _in_units(columns[0].metric)
    ends = _ends([row.cells[column.key] for column in columns for row in rows if _has(row, column)])
    y = around(heading, unit * np.array(ends))
    lines = []
    for row, aside in zip(rows, _beside(len(rows), 0.6)):
        found = [(x + aside, estimate(row.cells[c.key])) for x, c in enumerate(columns) if _has(row, c)]
        points = np.array([(x, unit * one.value, unit * one.low, unit * one.high) for x, one in found])
        x, means, low, high = points[(points[:, 1] >= y.low) & (points[:, 1] <= y.high)].T
        lines.append(Line(label(row), row.method, x, means, (low, high)))
    targets = [column.target for column in columns]
    one_dataset = len({target.partition("/")[0] for target in targets}) == 1
    names = tuple(target.partition("/")[2] or target if one_dataset else target for target in targets)
    return drawing(table.title, [Field(Axis("", -0.5, len(names) - 0.5, names), y, lines, joined=False)])


def _has(row: Row, column: Column) -> bool:
    return column.key in row.cells and row.cells[column.key].n > 0


# Over all runs


def of_runs(frame: pd.DataFrame) -> Iterator[Chart]:
    """Quality over training steps where runs differ in them alone, and speed against quality in the largest groups.

    ``frame``: the ledger. `bench curve` draws other settings and other metrics.
    """
    with suppress(UserError):  # no two runs differ in the number of steps alone
        for panel in curves.build_of(frame, "recipe.steps"):
            short = _short([line.label.partition(" (")[0] for line in panel.lines])
            lines = tuple(replace(line, label=name) for line, name in zip(panel.lines, short))
            named = tuple(f"{name}: {line.label}" for name, line in zip(short, panel.lines) if name != line.label)
            name = f"Over training steps: {panel.title}"
            yield Chart(name, _over_steps(name, replace(panel, lines=lines)), (_SPREAD, *named))
    yield from _speeds(frame)


def _over_steps(name: str, panel: curves.Panel) -> Markup:
    """Lines over numbers of steps, which stand at equal distances."""
    unit, heading = _in_units(panel.metric)
    steps = sorted({point.x for line in panel.lines for point in line.points})
    lines = []
    for line, aside in zip(panel.lines, _beside(len(panel.lines), 0.3)):
        x = np.array([steps.index(point.x) + aside for point in line.points])
        means = unit * np.array([point.cell.mean for point in line.points])
        spreads = unit * np.array([point.cell.std or 0.0 for point in line.points])
        lines.append(Line(line.label, line.method, x, means, (means - spreads, means + spreads)))
    y = around(heading, np.concatenate([line.spans or (line.y,) for line in lines], axis=None))
    places = Axis("training steps", -0.5, len(steps) - 0.5, tuple(f"{count:,}" for count in steps))
    return drawing(name, [Field(places, y, lines)])


def _in_units(known: Metric) -> tuple[int, str]:
    """By what values are multiplied for an axis, and its heading."""
    return (100, f"{known.heading} (%)") if known.percent else (1, known.heading)


def _beside(count: int, room: float) -> Floats:
    """Where the bars of ``count`` lines stand beside each other around a place."""
    return room * ((np.arange(count) + 0.5) / count - 0.5)


def _short(names: Sequence[str]) -> list[str]:
    """The short names, numbered where they are several times there."""
    return [f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _speeds(frame: pd.DataFrame) -> Iterator[Chart]:
    """Speed of training against the closed-set mIoU: runs of a group, on one machine, of a method's first variant."""
    complete = frame[frame["run_status"] == "complete"]
    speed = complete[(complete["protocol"] == TRAINING) & (complete["metric"] == "images_per_second")]
    whole = (complete["protocol"] == "closed-set") & complete["headline"] & (complete["part"] == "")
    quality = complete[whole & (complete["metric"] == "miou") & (complete["reading"] == "")]
    both = speed.merge(quality[["run", "value"]], on="run", suffixes=("", "_of_quality"))
    both = both[~both["variant"].map(lambda variant: bool(variant.features)).astype(bool)]
    groups = [found for found in parts(both, ["group", "hardware"]) if found[1]["method"].nunique() > 2]
    for (_, hardware), members in sorted(groups, key=lambda found: -len(found[1]))[:_GROUPS]:
        speeds, mious = members["value"].to_numpy(float), 100 * members["value_of_quality"].to_numpy(float)
        of_method = {name: (members["method"] == name).to_numpy() for name in sorted({*members["method"]})}
        dots = [Line(name, name, speeds[own], mious[own]) for name, own in of_method.items()]
        axes = around("images a second in training", speeds), around("mIoU (%)", mious)
        name = f"Speed and quality: {title(members['config'].iloc[0])}"
        yield Chart(name, drawing(name, [Field(*axes, dots, joined=False)]), (f"A mark is a run, on {hardware}.",))
