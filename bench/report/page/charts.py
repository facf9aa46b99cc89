"""Charts of the page, as SVG that takes its text's colour from the page; what they show is in the tables too."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.common.errors import UserError
from bench.common.text import drawn, visible
from bench.records.ledger import TRAINING, parts
from bench.report.leaderboard import curves
from bench.report.leaderboard.columns import Column, metric
from bench.report.leaderboard.comparison import Statistics
from bench.report.leaderboard.figures import per_class_svg, svg
from bench.report.leaderboard.model import Cell, Row, Table
from bench.report.leaderboard.views import OVERVIEW, title
from bench.report.palette import style
from bench.schema import side_file
from bench.scoring.described import primary, shown

_MOST = 8
"""Columns of a figure of seeds, and lines of a figure of curves."""
_FIELD = 200
"""Pixels of a column of a figure of seeds, across."""
_GROUPS = 4
"""Groups of which speed is drawn against quality."""


class Chart(NamedTuple):
    """A figure and what it is called."""

    title: str
    figure: Markup
    notes: tuple[str, ...] = ()


class HeatMap(NamedTuple):
    """Numbers of networks (rows) by how their features are read (columns), the method itself first."""

    title: str
    read_outs: list[str]
    rows: list[tuple[str, list[tuple[str, int]]]]
    """Of each network the number as text, and how good it is among all, 0 to 100."""


def of_table(table: Table, statistics: Statistics | None) -> Iterator[Chart]:
    """What the runs of a table's rows look like, seed by seed, class by class, bin by bin."""
    if any(cell.n for row in table.rows for cell in row.cells.values()):
        yield Chart("Seeds, means and deviations", seeds(table))
    if table.protocol != OVERVIEW and (figure := per_class_svg(table)):
        yield Chart("IoU of each class", Markup(figure))
    target = next((column.target for column in table.columns if column.target), None)
    if statistics is None or target is None or table.protocol == OVERVIEW:
        return
    kinds = shown(table.protocol).kinds
    for kind, name in (("bins", "Reliability"), ("histogram", "Precision and recall")):
        if kind in kinds and (counts := [*_counts(table, target, kind, statistics)]):
            yield Chart(f"{name} on {target}", _over_bins(table.slug, kind, counts))


# Seeds


def seeds(table: Table) -> Markup:
    """A dot for each seed, a line at the mean, a bar of one deviation to each side; a field for each column.

    What lies far behind the rest, as trivial baselines do, is a ring at the end of its field.
    """
    columns = [column for column in table.shown if column.metric.better][:_MOST]
    rows = [row for row in table.rows if any(column.key in row.cells for column in columns)]
    left = 12 + max((round(7.5 * len(_label(row))) for row in rows), default=0)
    width, height = left + _FIELD * len(columns), 56 + 20 * len(rows)
    names = "".join(
        f'<text x="{left - 8}" y="{60 + 20 * i}" text-anchor="end">{html.escape(_label(row))}</text>'
        for i, row in enumerate(rows)
    )
    fields = "".join(_field(column, rows, left + _FIELD * i) for i, column in enumerate(columns))
    return Markup(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-size="12">'
        f"<title>{html.escape(visible(table.title))}</title>{names}{fields}</svg>"
    )


def _field(column: Column, rows: Sequence[Row], left: int) -> str:
    cells = {i: row.cells[column.key] for i, row in enumerate(rows) if column.key in row.cells}
    low, high = _ends([cell for cell in cells.values() if cell.n])

    def x(value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{left + 8 + (_FIELD - 26) * min(max(share, 0), 1):.1f}"

    marks = [
        f'<text x="{left + 8}" y="{12 + 15 * i}">{html.escape(_cut(visible(text), 28))}</text>'
        for i, text in enumerate((column.group, column.metric.heading))
    ]
    for value, anchor in ((low, "start"), (high, "end")) if high > low else ((low, "middle"),):
        text = column.metric.text(value)
        marks.append(f'<text x="{x(value)}" y="43" text-anchor="{anchor}" opacity=".75">{text}</text>')
    for i, cell in cells.items():
        y, colour = 56 + 20 * i, style(rows[i].method).colour
        marks.append(f'<path d="M{left + 4} {y}h{_FIELD - 18}" stroke="currentColor" opacity=".15"/>')
        if cell.n and cell.std:
            ends = x(cell.mean - cell.std), x(cell.mean + cell.std)
            marks.append(f'<path d="M{ends[0]} {y}H{ends[1]}" stroke="{colour}" stroke-width="3" opacity=".5"/>')
        for value in cell.values.values():
            inside = low <= value <= high
            filled = f'fill="{colour}"' if inside else f'fill="none" stroke="{colour}" stroke-width="2"'
            marks.append(f'<circle cx="{x(value)}" cy="{y}" r="3.5" {filled}/>')
        if cell.n and low <= cell.mean <= high:
            marks.append(f'<path d="M{x(cell.mean)} {y - 7}v14" stroke="currentColor" stroke-width="1.5"/>')
    return "".join(marks)


def _ends(cells: Sequence[Cell]) -> tuple[float, float]:
    """Of an axis: all seeds of the rows that are not far from most, in interquartile ranges of the means."""
    if not cells:
        return 0.0, 1.0
    quarter, three_quarters = np.quantile([cell.mean for cell in cells], [0.25, 0.75])
    room = 3 * (three_quarters - quarter)
    near = [cell for cell in cells if quarter - room <= cell.mean <= three_quarters + room]
    values = [value for cell in near for value in cell.values.values()]
    return min(values), max(values)


def _label(row: Row) -> str:
    return _cut(visible(f"{row.label} {row.score}".strip()), 45)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# Lines over bins


def _counts(table: Table, target: str, kind: str, statistics: Statistics) -> Iterator[tuple[Row, list[np.ndarray]]]:
    """Rows with the counts of each of their runs, summed over images."""
    for row in table.rows[:_MOST]:
        found: list[np.ndarray] = []
        for run in row.run_ids:
            arrays = statistics(run, side_file.under(table.protocol, target))
            counts = side_file.of(arrays, [kind], table.protocol, target, row.score)
            found += (array.sum(0, dtype=np.float64) for array in counts.values())
        if found and len(found) == len(row.run_ids):
            yield row, found


def _over_bins(name: str, kind: str, counts: Sequence[tuple[Row, list[np.ndarray]]]) -> Markup:
    figure, axes = _beside_a_legend()
    for row, of_runs in counts:
        x, y = _reliability(of_runs) if kind == "bins" else _precision_recall(of_runs)
        colour, mark = style(row.method)
        axes.plot(
            x, y, color=colour, marker=mark, markersize=4, markevery=max(len(x) // 15, 1), label=drawn(_label(row))
        )
    if kind == "bins":
        axes.plot([0, 1], [0, 1], ":", color="black", linewidth=1, label="calibrated")
    axes.set_xlabel("confidence" if kind == "bins" else "recall")
    axes.set_ylabel("accuracy" if kind == "bins" else "precision")
    _finish(figure, axes)
    return svg(figure, name)


def _reliability(bins: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and accuracy of each bin with pixels, of all runs together; ``bins`` (bins, 3) each."""
    pixels, right, confidence = np.sum(bins, axis=0).T
    there = pixels > 0
    return confidence[there] / pixels[there], right[there] / pixels[there]


def _precision_recall(histograms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Precision at recalls from 0.01 to 1, its mean over runs; ``histograms`` (2, bins) each, negatives first."""
    recalls = np.linspace(0.01, 1, 100)
    precisions = []
    for histogram in histograms:
        false, true = histogram[:, ::-1].cumsum(1)
        found = true > 0
        precisions.append(np.interp(recalls, true[found] / max(true[-1], 1), true[found] / (true + false)[found]))
    return recalls, np.mean(precisions, axis=0)


# Over all runs


def of_runs(frame: pd.DataFrame) -> Iterator[Chart]:
    """Quality over training steps where runs differ in them alone, and speed against quality in the largest groups.

    ``frame``: the ledger. `bench curve` draws other settings and other metrics.
    """
    with suppress(UserError):  # no two runs differ in the number of steps alone
        for panel in curves.build_of(frame, "recipe.steps"):
            short = _short([line.method for line in panel.lines])
            lines = tuple(replace(line, label=name) for line, name in zip(panel.lines, short))
            named = tuple(f"{name}: {line.label}" for name, line in zip(short, panel.lines) if name != line.label)
            figure = curves.drawing([replace(panel, lines=lines)])
            yield Chart(f"Over training steps: {panel.title}", svg(figure, panel.title), named)
    yield from _speeds(frame)


def _short(methods: Sequence[str]) -> list[str]:
    """The methods, numbered where they are several times there."""
    return [
        f"{method} {methods[: i + 1].count(method)}" if methods.count(method) > 1 else method
        for i, method in enumerate(methods)
    ]


def _speeds(frame: pd.DataFrame) -> Iterator[Chart]:
    """Speed of training against the closed-set mIoU: runs of a group, on one machine, of a method's first variant."""
    complete = frame[frame["run_status"] == "complete"]
    speed = complete[(complete["protocol"] == TRAINING) & (complete["metric"] == "images_per_second")]
    whole = (complete["protocol"] == "closed-set") & complete["headline"] & (complete["part"] == "")
    quality = complete[whole & (complete["metric"] == "miou") & (complete["reading"] == "")]
    both = speed.merge(quality[["run", "value"]], on="run", suffixes=("", "_of_quality"))
    both = both[~both["variant"].map(lambda variant: bool(variant.features)).astype(bool)]
    groups = [found for found in parts(both, ["group", "hardware"]) if found[1]["method"].nunique() > 2]
    for (group, hardware), members in sorted(groups, key=lambda found: -len(found[1]))[:_GROUPS]:
        figure, axes = _beside_a_legend()
        for method, runs in parts(members, "method", sort=True):
            colour, mark = style(method)
            points = runs["value"], 100 * runs["value_of_quality"]
            axes.plot(*points, mark, color=colour, markersize=6, label=drawn(method))
        axes.set_xlabel(f"images a second in training ({drawn(hardware)})")
        axes.set_ylabel("mIoU (%)")
        _finish(figure, axes)
        yield Chart(f"Speed and quality: {title(members['config'].iloc[0])}", svg(figure, f"{group}{hardware}"))


def heat_maps(frame: pd.DataFrame) -> Iterator[HeatMap]:
    """Of each group in which features were read out: by what each protocol is judged on, the best of several scores."""
    frame = frame[(frame["run_status"] == "complete") & (frame["part"] == "") & frame["value"].notna()]
    frame = frame[(frame["direction"] != "") & (frame["target"] != "")]
    frame = frame.assign(features=[variant.features for variant in frame["variant"]])
    for _, group in parts(frame, "group"):
        networks = [name for name in dict.fromkeys(group["features"]) if name]
        for protocol, of_protocol in parts(group[group["features"] != ""], "protocol", sort=True):
            for key in primary(str(protocol))[:1]:
                judged = group[(group["protocol"] == protocol) & (group["metric"] == key)]
                targets = judged.loc[judged["headline"], "target"] if judged["headline"].any() else judged["target"]
                if targets.empty or of_protocol.empty:
                    continue
                yield _heat_map(judged[judged["target"] == targets.iloc[0]], networks, str(protocol), key)


def _heat_map(numbers: pd.DataFrame, networks: Sequence[str], protocol: str, key: str) -> HeatMap:
    told = metric(key, protocol)
    best = max if told.better == "higher" else min
    read_outs = sorted({*numbers.loc[numbers["features"] != "", "method"]})

    def mean(network: str, read_out: str) -> float:
        own = (numbers["features"] == "") & (numbers["configuration"] == network)
        runs = numbers[(numbers["features"] == network) & (numbers["method"] == read_out) if read_out else own]
        return best((fmean(found["value"]) for _, found in parts(runs, ["configuration", "reading"])), default=np.nan)

    table = np.array([[mean(network, read_out) for read_out in ("", *read_outs)] for network in networks])
    low, high = np.nanmin(table), np.nanmax(table)
    good = (table - low if told.better == "higher" else high - table) / (high - low or 1.0)
    texts = [
        [("–", 0) if np.isnan(value) else (told.text(value), round(100 * share)) for value, share in zip(*row)]
        for row in zip(table, good)
    ]
    target = numbers["target"].iloc[0]
    return HeatMap(
        f"{title(numbers['config'].iloc[0])}: {told.heading} on {target}", ["own", *read_outs], [*zip(networks, texts)]
    )


def _beside_a_legend() -> tuple[Figure, Axes]:
    """A field with room for long names beside it: to measure them would take as long as to draw it."""
    figure = Figure(figsize=(8.5, 3.4))
    return figure, figure.add_axes((0.08, 0.14, 0.45, 0.82))


def _finish(figure: Figure, axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.54, 1.0), fontsize=9)
