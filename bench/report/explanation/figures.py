"""The figures of an explanation, for a page of 7 inches: every text is readable at that size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.common.text import drawn
from bench.report.explanation.bank import Layout
from bench.report.explanation.query import Query
from bench.report.explanation.retrieval import Retrieved
from bench.report.explanation.tiles import ASPECT, Tile
from bench.report.pictures import overlay
from datasets.base import ClassSet

WIDTH = 7.2
"""Of every figure, in inches."""
TEXT, SMALL = 7.0, 6.2
"""Font sizes in points."""
GREY = "#57606a"
MARKS = {None: ("", "black"), True: ("✓ ", "#1a7f37"), False: ("✗ ", "#cf222e")}
"""What is put before a class that is right or wrong, and its colour."""
PALE = 0.2
"""How far what is around a segment fades into white."""
NAME = 15
"""Characters of a class name beside a colour."""
CHARACTER = 0.6 * SMALL / 72
"""Inches that a character under a tile takes, generously."""
GAP = 0.07
"""Inches between tiles."""
CAPTION = 0.115
"""Inches for a line under a tile."""
LINE, PER_LINE = 0.17, 7
"""Inches for a line of the legend, and the classes in it."""
VISIBLE = 0.03
"""Share of a bar from which a class's colour can be seen in it."""
MOST_NAMED = 4 * PER_LINE
"""Classes that the colours of a legend can tell apart at most."""
SEGMENTS_ACROSS = 1024
"""Pixels across an image on which the borders of segments are drawn, so that they stay thin."""


@dataclass
class Piece:
    """A tile and what is known of its segment."""

    label: int
    """Its class, which gives the frame's colour."""
    tile: Tile | None
    """None: there is no picture of it."""
    cosine: float | None = None
    """Its similarity to the segment of the image, if it was retrieved."""
    right: bool | None = None
    """Whether the class is the true one; None if that is not known."""

    def caption(self, classes: ClassSet, width: float) -> str:
        """Mark, class and cosine in ``width`` inches: in two lines, and the class shortened, where they must be."""
        parts = [MARKS[self.right][0] + classes.names[self.label]]
        if self.cosine is not None:
            parts.append(f"{self.cosine:.2f}")
        characters = int(width / CHARACTER)
        line = " ".join(parts)
        return line if len(line) <= characters else "\n".join([shortened(parts[0], characters), *parts[1:]])


@dataclass
class Row:
    """A segment of the image and what it retrieved."""

    heading: str
    lines: Sequence[str]
    query: Piece
    retrieved: Sequence[Piece]


def shortened(name: str, characters: int = NAME) -> str:
    """``name`` in at most so many ``characters``."""
    return name if len(name) <= characters else name[: max(characters - 1, 1)].rstrip() + "…"


def segments_figure(query: Query, found: Retrieved, shown: Sequence[int], classes: ClassSet) -> Figure:
    """The image with its segments, those ``shown`` numbered from 1, their classes, and the truth if it is known."""
    sample, labelled, segments, predicted = query.sample, query.labelled, found.segments, found.predicted
    titles = ["image and segments", "predicted classes", *(["ground truth"] if labelled else [])]
    image = sample.image.permute(1, 2, 0).numpy()
    pictures = [image, overlay(sample.image, torch.from_numpy(predicted[segments]), classes)]
    if labelled:
        pictures.append(overlay(sample.image, sample.label, classes))
    height, width = segments.shape
    columns = len(pictures)
    tile = (WIDTH - GAP * (columns + 1)) / columns
    labels = np.unique(predicted[segments])
    if labelled:
        labels = np.union1d(labels, sample.label.unique().numpy())
    labels = labels[labels < len(classes)]
    page = Page(tile * height / width + 0.25 + legend_height(len(labels)))
    borders = _borders(segments)
    for column, (title, picture) in enumerate(zip(titles, pictures)):
        left = GAP + column * (tile + GAP)
        axes = page.axes(left, 0.22, tile, tile * height / width)
        axes.imshow(picture, extent=(0, width, height, 0), interpolation="bilinear")
        axes.set_title(title, fontsize=TEXT, pad=3)
        axes.axis("off")
        if column == 0:
            axes.imshow(borders, extent=(0, width, height, 0), interpolation="bilinear")
            axes.set_xlim(0, width)
            axes.set_ylim(height, 0)
            for number, segment in enumerate(shown, 1):
                x, y = _middle(segments == segment)
                box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black", "linewidth": 0.5}
                axes.text(x, y, str(number), fontsize=5.5, ha="center", va="center", bbox=box)
    page.legend(labels, classes)
    return page.figure


def _borders(segments: np.ndarray) -> np.ndarray:
    """White RGBA lines between segments, on a grid of about ``SEGMENTS_ACROSS`` pixels."""
    from skimage.segmentation import find_boundaries

    factor = max(round(SEGMENTS_ACROSS / segments.shape[1]), 1)
    fine = segments.repeat(factor, axis=0).repeat(factor, axis=1)
    lines = np.zeros((*fine.shape, 4), np.uint8)
    lines[find_boundaries(fine, mode="thick")] = (255, 255, 255, 120)
    return lines


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """x and y of the pixel of ``mask`` that is farthest from its border."""
    from scipy.ndimage import distance_transform_edt

    inner = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(inner.argmax(), inner.shape)
    return float(x) + 0.5, float(y) + 0.5


def retrieval_figure(rows: Sequence[Row], classes: ClassSet) -> Figure:
    """A row for each segment: the segment, and the training segments that it retrieved, framed by class."""
    heading = 1.25
    columns = max(len(row.retrieved) for row in rows)
    apart = 0.16  # between the segment and what it retrieved
    tile = min((WIDTH - heading - apart - GAP * (columns + 1)) / (columns + 1), 1.3)
    height = tile / ASPECT
    pieces = [piece for row in rows for piece in (row.query, *row.retrieved)]
    lines = max(1 + piece.caption(classes, tile).count("\n") for piece in pieces)
    top, pitch = 0.24, height + CAPTION * lines + 0.15
    present = sorted({piece.label for piece in pieces})
    page = Page(top + pitch * len(rows) + legend_height(len(present)))
    first = heading + tile + GAP + apart
    page.text(heading + tile / 2, 0.12, "segment of the image", ha="center", va="center")
    across = columns * (tile + GAP) - GAP
    what = "training segments it retrieves, the most similar first (cosine)"
    page.text(first + across / 2, 0.12, what if columns > 2 else "training segments", ha="center", va="center")
    for number, row in enumerate(rows):
        y = top + pitch * number
        page.text(0.04, y + 0.02, row.heading, va="top", weight="bold", size=TEXT)
        page.text(0.04, y + 0.17, "\n".join(row.lines), va="top", size=SMALL, linespacing=1.35)
        page.piece(row.query, heading, y, tile, height, classes)
        page.caption(row.query, heading, y + height, tile, classes)
        for column, piece in enumerate(row.retrieved):
            x = first + column * (tile + GAP)
            page.piece(piece, x, y, tile, height, classes)
            page.caption(piece, x, y + height, tile, classes)
    page.legend(present, classes)
    return page.figure


def projection_figure(layout: Layout, labels: np.ndarray, classes: ClassSet) -> Figure:
    """The t-SNE projection in the colours of the classes; ``labels`` (P,) are those of all the evidence."""
    totals = np.bincount(labels, minlength=len(classes))
    points, labels = layout.points, labels[layout.sample]
    present = [int(c) for c in np.argsort(-totals, kind="stable") if totals[c]]
    side, column, characters = 5.4, WIDTH - 5.5, NAME
    if len(present) > (side - 0.3) // LINE:  # two columns; more are not worth the room
        side, column, characters = 4.2, (WIDTH - 4.3) / 2, NAME - 3
    per_column = int((side - 0.3) // LINE)
    page = Page(side)
    axes = page.axes(0.05, 0.05, side - 0.1, side - 0.1)
    order = np.argsort(-totals[labels], kind="stable")  # rare classes on top
    colours = np.array(classes.colours)[labels[order]] / 255
    axes.scatter(*points[order].T, s=9, c=colours, edgecolors="black", linewidths=0.15)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=GREY, linewidth=0.5)
    page.text(side + 0.1, 0.15, "class: shown of all", va="center", weight="bold")
    shown = np.bincount(labels, minlength=len(classes))
    listed = present if len(present) <= 2 * per_column else present[: 2 * per_column - 1]
    for place, label in enumerate(listed):
        x, y = side + 0.1 + column * (place // per_column), 0.36 + LINE * (place % per_column)
        page.swatch(x, y, classes.colours[label])
        name = shortened(classes.names[label], characters)
        page.text(x + 0.16, y, f"{name}: {shown[label]} of {totals[label]}", va="center")
    if len(listed) < len(present):
        x, y = side + 0.1 + column, 0.36 + LINE * (per_column - 1)
        page.text(x, y, f"and {len(present) - len(listed)} more", va="center", colour=GREY)
    return page.figure


def grouping_figure(
    layout: Layout, labels: np.ndarray, members: Sequence[Sequence[Piece]], classes: ClassSet
) -> Figure:
    """The dendrogram; and in line with each leaf its group's classes and its representative training segments.

    ``labels`` (P,) are those of all the evidence, ``members`` the representatives of each group.
    """
    count = len(layout.groups)
    tree, bar = 1.15, 1.45
    columns = max(len(pieces) for pieces in members)
    left = 0.06 + tree + 0.1 + bar + 0.12
    tile = min((WIDTH - left - GAP * (columns - 1) - 0.04) / columns, 0.95)
    height = tile / ASPECT
    top, pitch = 0.26, max(height + 0.1, 0.52)
    shares = np.stack([np.bincount(labels[g.members], minlength=len(classes)) / len(g.members) for g in layout.groups])
    ranked = np.argsort(-shares, axis=1, kind="stable")
    framed = {piece.label for pieces in members for piece in pieces}
    present = legend_classes(shares, framed)
    page = Page(top + pitch * count + legend_height(len(present)))
    axes = page.axes(0.06, top, tree, pitch * count)
    for along, merged in zip(layout.dendrogram["icoord"], layout.dendrogram["dcoord"]):
        axes.plot([-d for d in merged], along, color="black", linewidth=0.8, solid_capstyle="round")
    highest = max((max(d) for d in layout.dendrogram["dcoord"]), default=1.0) or 1.0
    axes.set(xlim=(-1.04 * highest, 0), ylim=(10 * count, 0))
    axes.axis("off")
    page.text(0.06, 0.12, "Ward's hierarchy", va="center")
    page.text(0.16 + tree, 0.12, "classes of the group", va="center")
    page.text(left, 0.12, "representative training segments", va="center")
    for number, (group, pieces) in enumerate(zip(layout.groups, members)):
        y = top + pitch * number
        order = [int(c) for c in ranked[number] if shares[number, c]]
        page.text(
            0.16 + tree, y + 0.08, f"group {number + 1}: {len(group.members)} segments", va="center", weight="bold"
        )
        start = 0.16 + tree
        for label in order:
            page.rectangle(start, y + 0.15, bar * shares[number, label], 0.09, classes.colours[label])
            start += bar * shares[number, label]
        lines = [f"{shortened(classes.names[c])} {100 * shares[number, c]:.0f} %" for c in order[:2]]
        page.text(0.16 + tree, y + 0.27, "\n".join(lines), va="top", size=SMALL, linespacing=1.2)
        for column, piece in enumerate(pieces):
            page.piece(piece, left + column * (tile + GAP), y, tile, height, classes)
    page.legend(present, classes)
    return page.figure


def legend_classes(shares: np.ndarray, framed: Iterable[int]) -> list[int]:
    """The classes that a legend names beside bars of ``shares`` (G, C): the ``framed`` and all that can be seen.

    Where these are too many for anyone to tell their colours apart, as slivers of 150 classes are, only the two largest
    of each bar.
    """
    seen = {*framed, *np.flatnonzero((shares >= VISIBLE).any(axis=0)).tolist()}
    if len(seen) > MOST_NAMED:
        largest = np.argsort(-shares, axis=1, kind="stable")[:, :2]
        seen = {*framed, *(c for row, own in zip(largest.tolist(), shares) for c in row if own[c])}
    return sorted(seen)


def legend_height(entries: int) -> float:
    """Inches that ``Page.legend`` needs at the bottom."""
    return 0.1 + LINE * -(-entries // PER_LINE)


class Page:
    """A figure on which places are inches from its upper left corner."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height))
        self.height = height

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes with this upper left corner and size."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height), label=f"{left} {top}"
        )

    def text(
        self, left: float, top: float, text: str, *, colour: str = "black", size: float = SMALL, **how: Any
    ) -> None:
        """Text at a place."""
        shown = "\n".join(map(drawn, text.split("\n")))
        self.figure.text(left / WIDTH, 1 - top / self.height, shown, color=colour, fontsize=size, **how)

    def rectangle(self, left: float, top: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        """A filled rectangle with this upper left corner and size."""
        corner = (left / WIDTH, 1 - (top + height) / self.height)
        self.figure.add_artist(
            Rectangle(corner, width / WIDTH, height / self.height, facecolor=_rgb(colour), edgecolor="none")
        )

    def swatch(self, left: float, middle: float, colour: tuple[int, int, int]) -> None:
        """A class's colour beside its name."""
        self.rectangle(left, middle - 0.05, 0.1, 0.1, colour)

    def legend(self, labels: Iterable[int], classes: ClassSet) -> None:
        """Names and colours of the classes ``labels``, in lines at the bottom."""
        entries = list(labels)
        lines = -(-len(entries) // PER_LINE)
        for place, label in enumerate(entries):
            x = 0.06 + (WIDTH - 0.06) / PER_LINE * (place % PER_LINE)
            y = self.height - LINE * (lines - place // PER_LINE) + 0.06
            self.swatch(x, y, classes.colours[label])
            self.text(x + 0.14, y, shortened(classes.names[label]), va="center")

    def piece(self, piece: Piece, left: float, top: float, width: float, height: float, classes: ClassSet) -> None:
        """A tile in the frame of its class."""
        axes = self.axes(left, top, width, height)
        colour = _rgb(classes.colours[piece.label])
        if piece.tile is None:
            name = shortened(classes.names[piece.label], int(width / CHARACTER) - 1)
            axes.text(0.5, 0.5, f"{drawn(name)}\n(no picture)", fontsize=SMALL, color=GREY, ha="center", va="center")
        else:
            _draw_tile(axes, piece.tile, colour)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=2.2)

    def caption(self, piece: Piece, left: float, top: float, width: float, classes: ClassSet) -> None:
        """What is to be said of a tile, centred below it, in the colour of its mark."""
        text, colour = piece.caption(classes, width), MARKS[piece.right][1]
        self.text(left + width / 2, top + 0.045, text, colour=colour, ha="center", va="top", linespacing=1.15)


def _draw_tile(axes: Any, tile: Tile, colour: tuple[float, ...]) -> None:
    height, width = tile.mask.shape
    faded = tile.pixels + PALE * (255.0 - tile.pixels) * ~tile.mask[..., None]
    axes.imshow(faded.astype(np.uint8), extent=(0, width, height, 0), interpolation="bilinear")
    padded = np.pad(tile.mask, 1).astype(float)
    x, y = np.arange(-1, width + 1) + 0.5, np.arange(-1, height + 1) + 0.5
    for line, width_of in (("white", 1.8), (colour, 0.9)):
        axes.contour(x, y, padded, levels=[0.5], colors=[line], linewidths=[width_of])
    axes.set(xlim=(0, width), ylim=(height, 0))


def _rgb(colour: tuple[int, int, int]) -> tuple[float, ...]:
    return tuple(channel / 255 for channel in colour)
