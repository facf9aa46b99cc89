"""Figures of a table, as SVG text that stands in an HTML page without files beside it."""

from __future__ import annotations

import io
import re
from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.common.text import drawn
from bench.report.leaderboard.model import Table
from bench.report.palette import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def per_class_svg(table: Table) -> Markup:
    """IoU of each class and row on the table's first target that has it: bars are means, points are seeds.

    Empty text if no row has IoU by class.
    """
    target = next((c.target for c in table.columns if any(c.target in row.per_class for row in table.rows)), None)
    rows = [row for row in table.rows if target is not None and target in row.per_class]
    if target is None or not rows:
        return Markup()
    from matplotlib.figure import Figure

    classes = list(dict.fromkeys(name for row in rows for name in row.per_class[target]))
    width = 0.8 / len(rows)
    figure = Figure(figsize=(max(6.0, 0.25 * len(classes) * (1 + len(rows) / 2)), 3.6), layout="constrained")
    axes = figure.add_subplot()
    drawn_before: Counter[str] = Counter()
    for i, row in enumerate(rows):
        shift = (i - (len(rows) - 1) / 2) * width
        found = {
            j + shift: [100 * v for v in row.per_class[target][name].values.values()]
            for j, name in enumerate(classes)
            if name in row.per_class[target]
        }
        means = {0.0: 0.0} | {x: fmean(values) for x, values in found.items() if values}  # one bar for the legend
        paler = 0.8 ** drawn_before[row.method]
        drawn_before[row.method] += 1
        colour = style(row.method).colour
        axes.bar(list(means), list(means.values()), width, color=colour, alpha=0.8 * paler, label=drawn(row.label))
        points = [(x, value) for x, values in found.items() for value in values]
        axes.plot([x for x, _ in points], [value for _, value in points], ".", color="black", markersize=3)
    axes.set_xticks(range(len(classes)), [drawn(name) for name in classes], rotation=45, ha="right")
    axes.set_ylabel(drawn(f"IoU on {target} (%)"))
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    # As many labels in a line as fit, about twelve characters an inch.
    per_line = int(12 * figure.get_figwidth() / (5 + max(len(row.label) for row in rows)))
    figure.legend(frameon=False, ncols=min(len(rows), max(1, per_line)), loc="outside upper left")
    return svg(figure, table.slug)


def svg(figure: Figure, name: str) -> Markup:
    """``figure`` for a page, which gives it the colour of its text; ``name`` tells its parts from other figures'."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Text as text: as outlines it makes most of a page of many figures.
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return Markup(_compact(text[text.index("<svg") :]).replace("#000000", "currentColor"))


def _compact(svg: str) -> str:
    """``svg`` without what is not seen: metadata, line breaks, and digits beyond a hundredth of a point in tags."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", svg).replace("> <", ">\n<")
    return re.sub(r"<[^<>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", tag[0]), svg)
