"""Pictures of ranks: the critical-difference diagram over data sets, and lines of ranks from protocol to protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.common.text import drawn
from bench.report.comparing.rank_changes import RankChanges
from bench.report.comparing.ranks import Ranks
from bench.report.palette import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def critical_difference(found: Ranks) -> Figure:
    """Mean ranks on a line, the best on the left; who hangs on one bar does not differ significantly (Demšar 2006).

    Drawn here: the packages that draw it (scikit-posthocs, autorank) bring statsmodels and more for these lines.
    """
    from matplotlib.figure import Figure

    methods = [*found.mean.items()]
    bars = [*_bars([rank for _, rank in methods], found.critical)]
    most, first = len(methods), 0.6 + 0.35 * len(bars)
    half = (most + 1) // 2
    figure = Figure(figsize=(6.4, 1.2 + 0.2 * (first + half)), dpi=150, layout="constrained")
    axes = figure.subplots()
    for place, (name, rank) in enumerate(methods):
        on_the_left = place < half
        y = -first - (place if on_the_left else most - 1 - place)
        end = 0.8 if on_the_left else most + 0.2
        axes.plot([rank, rank, end], [0, y, y], color=style(name).colour, clip_on=False)
        label, shift = f"{drawn(name)} {rank:.2f}", -3 if on_the_left else 3
        _write(axes, label, (end, y), (shift, 0), ha="right" if on_the_left else "left", va="center")
    for place, (low, high) in enumerate(bars):
        axes.plot([low - 0.04, high + 0.04], [-0.35 * (place + 1)] * 2, color="black", linewidth=3)
    axes.plot([1, 1 + found.critical], [1.4, 1.4], color="black", marker="|", clip_on=False)
    _write(axes, f"critical difference {found.critical:.2f}", (1, 1.4), (0, 4))
    axes.set(xlim=(1, most), ylim=(-first - half, 2), xticks=range(1, most + 1), yticks=[])
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_position(("data", 0))
    axes.xaxis.tick_top()
    return figure


def _bars(ranks: Sequence[float], critical: float) -> Iterator[tuple[float, float]]:
    """First and last of the longest stretches of two or more ascending ``ranks`` within the critical difference."""
    reached = -1
    for place, low in enumerate(ranks):
        last = max(i for i, rank in enumerate(ranks) if rank - low <= critical)
        if last > max(reached, place):
            yield low, ranks[last]
            reached = last


def changes(found: Sequence[RankChanges]) -> Figure:
    """A panel for each group of runs: a line for each method, from protocol to protocol."""
    from matplotlib.figure import Figure

    heights = [0.9 + 0.3 * len(one.methods) for one in found]
    figure = Figure(figsize=(6.4, sum(heights)), dpi=150, layout="constrained")
    panels = figure.subplots(len(found), squeeze=False, height_ratios=heights)[:, 0]
    for axes, one in zip(panels, found):
        for place, (name, method) in enumerate(one.methods.items()):
            colour, mark = style(method)
            ranks = [of_all[place] for of_all in one.ranks.values()]
            axes.plot(ranks, color=colour, marker=mark, markersize=6)
            _write(axes, drawn(name), (len(ranks) - 1, ranks[-1]), (8, 0), color=colour, va="center")
        headings = ["\n".join(map(drawn, name.replace("/", "/, ").split(", "))) for name in one.ranks]
        axes.set_xticks(range(len(headings)), headings, fontsize=7)
        axes.set_yticks(range(1, len(one.methods) + 1))
        axes.set(ylim=(len(one.methods) + 0.5, 0.5), ylabel="rank")
        axes.set_title(drawn(one.title), fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _write(axes: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **options: Any) -> None:
    """``text`` so many points from a place, which may lie beside the axes."""
    axes.annotate(text, at, shift, textcoords="offset points", annotation_clip=False, **options)
