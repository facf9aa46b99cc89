"""A comparison on a terminal, and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.common.console import styled
from bench.report.comparing.all_pairs import Family
from bench.report.comparing.bootstrap import Estimate
from bench.report.comparing.differences import Difference
from bench.report.comparing.rank_changes import RankChanges
from bench.report.comparing.ranks import METRIC, PROTOCOL, Ranks
from bench.report.comparing.sides import Pair
from bench.scoring.metrics.catalogue import Metric, metric

RULE = (
    "Difference: the first less the second, mean over common seeds; shares in per cent. Interval and p (5 %) cover the "
    "choice of images, resampled for both sides and all seeds alike, and, where there are two seeds, that of training "
    "runs, by Student's t; p is not corrected for the number of rows. In brackets: undecided, as the interval holds "
    "zero or does not cover both; what is needed assumes that the difference and the spreads stay as they are."
)

_DIFFERENCE = "Difference\n95 % interval"
_OF_FIGURES = (_DIFFERENCE, "p", "p (Holm)", "Seeds")


def show(pair: Pair, found: Sequence[Difference], console: Console) -> None:
    """Print one comparison, a table for each protocol, target and reading."""
    console.print()
    console.print(styled(pair.title, "bold"), soft_wrap=True)
    for (protocol, target, (a, b)), rows in groupby(found, key=lambda row: (row.protocol, row.target, row.readings)):
        readings = f": {a or 'own prediction'} against {b or 'own prediction'}" if a or b else ""
        console.print(styled(f"{protocol}, {target}{readings}"))
        grid = _grid("Metric", "First", "Second", _DIFFERENCE, "p", "Won", "Better")
        for row in rows:
            _add(grid, *_cells(row))
        console.print(grid)
    console.print(styled(RULE, "dim"))


def _grid(*headings: str) -> Table:
    """An empty table in which every column folds: rich cuts off what may not and does not fit."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings:
        grid.add_column(heading, justify="right" if heading in _OF_FIGURES else "left", overflow="fold")
    return grid


def _add(grid: Table, *cells: str | Text) -> None:
    grid.add_row(*(styled(cell) if isinstance(cell, str) else cell for cell in cells))


def _difference(row: Difference) -> Text:
    """With its interval below: side by side they leave too little of 80 columns to the rest."""
    return Text(f"{signed(row.metric, row.estimate.value)}\n{interval(row.metric, row.estimate)}".rstrip())


def _cells(row: Difference) -> tuple[str | Text, ...]:
    won = {"seeds": row.seeds_won, "classes": row.classes_won, "targets": row.targets_won}
    counted = [f"{wins.won}/{wins.of} {what}" for what, wins in won.items() if wins.of > (what == "targets")]
    undecided = f"({row.estimate.why_undecided()})"
    return (
        row.metric.heading,
        row.metric.text(row.a),
        row.metric.text(row.b),
        _difference(row),
        p_text(row.estimate.p()),
        ", ".join(counted),
        {"a": "first", "b": "second", "": undecided}[row.better],
    )


HOLM_RULE = (
    "Every configuration with every other on the seeds that both have, by what each protocol is judged on. p is "
    "corrected for the number of these pairs (Holm); a pair with one seed has none. Intervals are of single pairs."
)


def show_family(family: Family, console: Console) -> None:
    """Print all pairs by one metric."""
    console.print()
    console.print(styled(family.title, "bold"), soft_wrap=True)
    grid = _grid("First", "Second", _DIFFERENCE, "p (Holm)", "Seeds", "Better")
    for row in family.rows:
        _add(
            grid,
            row.pair.a.text,
            row.pair.b.text,
            _difference(row.found),
            "" if row.p is None else p_text(row.p),
            str(row.found.estimate.seeds),
            {"a": "first", "b": "second", "": ""}[row.better],
        )
    console.print(grid)


def ranks_text(found: Ranks) -> str:
    """Mean ranks over data sets, in one paragraph."""
    ordered = ", ".join(f"{name} {rank:.1f}" for name, rank in found.mean.items())
    return (
        f"Mean ranks by {PROTOCOL} {metric(METRIC, PROTOCOL).label} over {len(found.datasets)} data sets "
        f"({', '.join(found.datasets)}): {ordered}. Friedman's p that all rank alike: {p_text(found.p)}. Ranks that "
        f"differ by more than {found.critical:.2f} differ significantly (Nemenyi, 5 %)."
    )


RANKS_RULE = (
    "Rank of each method by what each protocol is judged on, 1 for the best; equal where printed numbers are. Tau: "
    "Kendall's tau-b of a protocol's order with the first one's; 1 is the same order, -1 the opposite."
)


def show_changes(found: RankChanges, console: Console) -> None:
    """Print the ranks of the methods of a group, a column for each protocol."""
    console.print()
    console.print(styled(found.title, "bold"), soft_wrap=True)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("Method", overflow="fold")
    for name in found.ranks:
        grid.add_column(Text("\n").join(map(styled, name.split(", "))), justify="right", overflow="fold")
    for method, *ranks in zip(found.methods, *found.ranks.values()):
        grid.add_row(styled(method), *map(str, ranks))
    grid.add_section()
    grid.add_row("tau", *("" if value is None else f"{value:.2f}" for value in found.tau.values()))
    console.print(grid)


def signed(of: Metric, value: float) -> str:
    """``value`` as the metric is printed, with its sign."""
    text = of.text(value)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def interval(of: Metric, estimate: Estimate) -> str:
    """The interval as the metric is printed; empty where nothing is known of any spread."""
    if not estimate.half_width():
        return ""
    return f"[{signed(of, estimate.low)}, {signed(of, estimate.high)}]"


def p_text(p: float) -> str:
    """With two digits, down to a ten-thousandth."""
    return f"{p:.2g}" if p >= 0.0001 else "< 0.0001"


def as_json(pair: Pair, found: Sequence[Difference]) -> dict[str, Any]:
    """Everything of a comparison, in the metrics' own units, for programs."""
    return {
        "a": pair.a.text,
        "b": pair.b.text,
        "group": dict(pair.group),
        "differences": [number(row) for row in found],
    }


def number(row: Difference) -> dict[str, Any]:
    """A row with all digits."""
    estimate = row.estimate
    return {
        "protocol": row.protocol,
        "version": row.version,
        "targets": list(row.targets),
        "metric": row.metric.key,
        "direction": row.metric.better,
        "reading_a": row.readings[0],
        "reading_b": row.readings[1],
        "mean_a": row.a,
        "mean_b": row.b,
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p(),
        "standard_error_seeds": estimate.error_seeds,
        "standard_error_images": estimate.error_images,
        "seeds": estimate.seeds,
        "images": estimate.images,
        "seeds_won": row.seeds_won.won,
        "classes_won": row.classes_won.won,
        "classes": row.classes_won.of,
        "targets_won": row.targets_won.won,
        "p_wilcoxon": row.p_wilcoxon,
        "better": row.better or None,
        "undecided": estimate.why_undecided() or None,
        "runs": [list(runs) for runs in row.runs],
    }


def family_as_json(family: Family) -> dict[str, Any]:
    """All pairs by one metric, with all digits."""
    return {
        "family": family.title,
        "pairs": [
            {
                "a": row.pair.a.text,
                "b": row.pair.b.text,
                "p_holm": row.p,
                **number(row.found),
                "better": row.better or None,
            }
            for row in family.rows
        ],
    }
