"""Figures of a table, as SVG text that stands in an HTML page without files beside it."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.common import files
from bench.common.errors import UserError, near
from bench.common.text import visible
from bench.report.leaderboard.model import Table
from bench.report.palette import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCALE = 480
"""Pixels from 0 to 100 %."""


def per_class_svg(table: Table) -> Markup:
    """IoU of each class and row on the table's first target that has it: bars are means, points are seeds.

    Empty text if no row has IoU by class.
    """
    target = next((c.target for c in table.columns if any(c.target in row.per_class for row in table.rows)), None)
    rows = [row for row in table.rows if target is not None and target in row.per_class]
    if target is None or not rows:
        return Markup()
    classes = list(dict.fromkeys(name for row in rows for name in row.per_class[target]))
    left, step = 12 + max(round(7.5 * len(visible(name))) for name in classes), 5 * len(rows) + 10
    height = max(24 + step * len(classes), 30 + 18 * len(rows)) + 8
    width = left + _SCALE + 40 + max(round(7.5 * len(visible(row.label))) for row in rows)
    parts = [
        f'<text x="{left + _SCALE * tick / 100:.0f}" y="12" text-anchor="middle">{tick}</text>'
        f'<path d="M{left + _SCALE * tick / 100:.0f} 18V{height}" stroke="currentColor" opacity=".2"/>'
        for tick in range(0, 101, 20)
    ]
    parts.append(f'<text x="{left - 16}" y="12" text-anchor="end">IoU (%)</text>')
    for j, name in enumerate(classes):
        middle = 24 + step * j + step / 2
        parts.append(f'<text x="{left - 8}" y="{middle + 4:.0f}" text-anchor="end">{_escaped(name)}</text>')
    of_method: Counter[str] = Counter()
    for i, row in enumerate(rows):
        # Rows of one method are ever paler.
        fill = f'fill="{style(row.method).colour}" opacity="{0.9 * 0.8 ** of_method[row.method]:.2f}"'
        of_method[row.method] += 1
        y = 30 + 18 * i
        parts.append(f'<rect x="{left + _SCALE + 16}" y="{y - 10}" width="12" height="12" {fill}/>')
        parts.append(f'<text x="{left + _SCALE + 34}" y="{y}">{_escaped(row.label)}</text>')
        for j, name in enumerate(classes):
            values = row.per_class[target][name].values.values() if name in row.per_class[target] else ()
            top = 29 + step * j + 5 * i
            if values:
                parts.append(f'<rect x="{left}" y="{top}" width="{_SCALE * fmean(values):.1f}" height="4" {fill}/>')
            parts += [
                f'<circle cx="{left + _SCALE * v:.1f}" cy="{top + 2}" r="1.5" fill="currentColor"/>' for v in values
            ]
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-size="12"><title>{_escaped(f"IoU on {target} (%)")}</title>{"".join(parts)}</svg>'
    )


def _escaped(text: str) -> str:
    return html.escape(visible(text))


def write(figure: Figure, path: Path) -> None:
    """Write ``figure`` in the format of the path's suffix, always the same bytes.

    Raises UserError for a format that matplotlib cannot write, or a folder that cannot be written.
    """
    from matplotlib import rc_context

    kinds = sorted(figure.canvas.get_supported_filetypes())
    kind = path.suffix.removeprefix(".").lower()
    if kind not in kinds:
        raise UserError(f"{path} cannot be drawn, its ending names no format: {near(kind, kinds)}")
    picture = io.BytesIO()
    date = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else None
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(picture, format=kind, metadata=date)
    with writing(path):
        files.write(path, picture.getbuffer())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises UserError where ``path`` cannot be written."""
    try:
        yield
    except OSError as error:
        sentence = f"{error.filename or path} cannot be written ({error.strerror}); choose another file with --out"
        raise UserError(sentence) from None


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
