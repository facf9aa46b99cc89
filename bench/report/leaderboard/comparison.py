"""Who is best in a column, and who does not differ significantly from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import groupby, product
from typing import NamedTuple

import numpy as np

from bench.report.leaderboard import statistics as stats
from bench.report.leaderboard.model import Cell, Column, ColumnKey, Row, Table
from bench.report.leaderboard.resampling import in_order, resampled
from bench.report.leaderboard.statistics import Floats
from bench.schema import side_file
from bench.scoring.described import shown
from bench.scoring.metrics.catalogue import metric

Statistics = Callable[[str, str], side_file.Arrays]
"""Statistics per image of a run id, of the names that begin with the second text."""

WIDE = 0.2
"""Where a difference of this share of the larger number is not excluded, there are too few images to tell."""


def rank(table: Table) -> None:
    """Mark the best and the second of every column that has a better side and two competitors."""
    for column in table.columns:
        if column.metric.better is not None and len(found := _placed(table, column)) > 1:
            for _, cell, place in found:
                cell.place = place if place <= 2 else None


def sort_rows(table: Table, primary: Sequence[Column]) -> None:
    """Give rows their places and order by the sum of their ranks in the ``primary`` columns; others go last."""
    ranks: dict[int, list[int]] = defaultdict(list)
    for column in primary:
        for row, _, place in _placed(table, column):
            ranks[id(row)].append(place)
    totals = {row: sum(places) for row, places in ranks.items() if len(places) == len(primary)}
    for row in table.rows:
        if id(row) in totals:
            row.place = 1 + sum(other < totals[id(row)] for other in totals.values())
    table.rows.sort(key=lambda row: (totals.get(id(row), math.inf), row.label, row.score))


def _placed(table: Table, column: Column) -> list[tuple[Row, Cell, int]]:
    """The competitors of a column with their places."""
    found = ranked_cells(table, column)
    sign = -1 if column.metric.better == "higher" else 1
    # Numbers that print alike rank alike: a difference that is not shown is no reason.
    printed = [sign * float(column.metric.text(cell.mean)) for _, cell in found]
    return [(*item, 1 + sum(other < value for other in printed)) for item, value in zip(found, printed)]


def ranked_cells(table: Table, column: Column) -> list[tuple[Row, Cell]]:
    """The cells of a column that compete: those defined for every complete run of their row."""
    return [
        (row, row.cells[column.key])
        for row in table.rows
        if column.key in row.cells and row.cells[column.key].n and not row.cells[column.key].undefined
    ]


def compare(table: Table, bootstraps: Bootstraps) -> list[str]:
    """Compare the best row of every ranked column with the others, filling their cells.

    Args:
        table: rows and columns, already ranked.
        bootstraps: of the table's runs.

    Returns:
        Warnings.
    """
    columns = [c for c in table.columns if c.metric.better is not None and len(ranked_cells(table, c)) > 1]
    samples = _Resampled(table.protocol, bootstraps)
    if bootstrapped := [column for column in columns if column.target]:
        # Several rows, one for each anomaly score or reading, may come from the same runs.
        for run_ids, rows in groupby(table.rows, key=lambda row: row.run_ids):
            samples.add(list(rows), run_ids, bootstrapped)
    for column in columns:
        sign = 1 if column.metric.better == "higher" else -1
        cells = ranked_cells(table, column)
        best_row, best = max(cells, key=lambda item: sign * item[1].mean)
        others = [(row, cell) for row, cell in cells if cell is not best]
        samples.describe(column, cells)
        _compare_over_images(others, samples.of(column), (best_row, best), sign)
        _compare_over_seeds([cell for _, cell in others], best)
        for _, cell in others:
            if cell.values == best.values:
                cell.marks = "="
            elif column.target in samples.few:
                cell.marks = "§"
    return samples.problems


def _compare_over_images(
    others: list[tuple[Row, Cell]], samples: Mapping[int, Floats], best: tuple[Row, Cell], sign: int
) -> None:
    """``samples``: of the rows that have any, by id."""
    if id(best[0]) not in samples:
        return
    first = samples[id(best[0])]
    compared = []
    for row, cell in others:
        if id(row) in samples:
            second = samples[id(row)]
            cell.difference = stats.paired_bootstrap(sign * first[1:], sign * second[1:])
            if cell.difference is not None:
                compared.append((cell, first - second))
    for (cell, _), p in zip(compared, stats.step_down(np.array([difference for _, difference in compared]))):
        cell.p_bootstrap = p
        if p >= stats.ALPHA and cell.difference is not None:
            most = max(map(abs, cell.difference))
            cell.marks += "§" if most >= WIDE * max(abs(cell.mean), abs(best[1].mean)) else "†"


def _compare_over_seeds(others: list[Cell], best: Cell) -> None:
    tests = [(cell, stats.wilcoxon_over_seeds(best.values, cell.values, len(others))) for cell in others]
    decided = [(cell, p) for cell, p in tests if p is not None]
    for (cell, _), p in zip(decided, stats.holm([p for _, p in decided])):
        cell.p_wilcoxon = p
        if p >= stats.ALPHA:
            cell.marks += "‡"


class _NotCompared(Exception):
    """Why the statistics of a run are of no use for a target."""


class _Drawn(NamedTuple):
    """The bootstrap samples of a run on a target."""

    ids: tuple[str, ...]
    """Of the images, sorted."""
    metrics: Mapping[str, Floats]
    """(1 + B,) each, the value of the data themselves first; none where there are too few images."""


class Bootstraps:
    """Bootstrap samples of runs, drawn when they are asked for and kept: several tables may show a run."""

    def __init__(self, statistics: Statistics, resamples: int) -> None:
        self.statistics, self.resamples = statistics, resamples
        self._drawn: dict[tuple[str, str, str, str], _Drawn | None] = {}

    def of(self, run_id: str, protocol: str) -> Callable[[str, str], _Drawn | None]:
        """By target and reading; None where there are no statistics. What it gives raises _NotCompared.

        The side file is read once, where one of them was not drawn yet.
        """
        arrays = cache(lambda: self.statistics(run_id, side_file.under(protocol)))

        def drawn(target: str, reading: str) -> _Drawn | None:
            key = run_id, protocol, target, reading
            if key not in self._drawn:
                self._drawn[key] = self._draw(arrays(), *key)
            return self._drawn[key]

        return drawn

    def _draw(self, arrays: side_file.Arrays, run_id: str, protocol: str, target: str, reading: str) -> _Drawn | None:
        described = shown(protocol)
        found = described.kept(arrays, target, reading)
        if not found:
            return None
        images = len(next(iter(found.values())))
        ids = side_file.of(arrays, [side_file.IDS], protocol, target).get(side_file.IDS)
        if ids is None:
            ids = np.array([f"{i:09d}" for i in range(images)])
        if len(ids) != images or len({*ids.tolist()}) != images:
            raise _NotCompared(f"{run_id}: image ids and statistics of {target} do not match; not compared")
        names = tuple(sorted(ids.tolist()))
        if images < stats.MIN_IMAGES:
            return _Drawn(names, {})
        shared = side_file.of(arrays, described.constants, protocol, target, reading)
        try:
            return _Drawn(names, resampled(described, in_order(ids, found, shared, described), self.resamples))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            raise _NotCompared(
                f"{protocol} cannot be resampled ({type(error).__name__}: {error}); its rows are not compared"
            ) from None


class _Resampled:
    """Bootstrap samples of rows and columns: the mean over the row's seeds on the same resampled images.

    Before them stands the value of the data themselves.
    """

    def __init__(self, protocol: str, bootstraps: Bootstraps) -> None:
        self.protocol = protocol
        self.bootstraps = bootstraps
        self.problems: list[str] = []
        self.few: set[str] = set()
        """Targets with too few images for a bootstrap."""
        self._found: dict[ColumnKey, dict[int, Floats]] = defaultdict(dict)
        self._ids: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(self, column: Column) -> Mapping[int, Floats]:
        """By the id of the row."""
        return self._found.get(column.key, {})

    def describe(self, column: Column, cells: Sequence[tuple[Row, Cell]]) -> None:
        """Say in the ``cells`` of a column how far the choice of images moves them."""
        drawn = self.of(column)
        for row, cell in cells:
            if id(row) in drawn:
                images = len(self._ids[column.key[:2]])
                error = stats.error_over_images(drawn[id(row)][1:], images)
                if error is not None:
                    cell.images, cell.error_images = images, error

    def add(self, rows: list[Row], run_ids: Sequence[str], columns: list[Column]) -> None:
        """Draw those of ``rows`` that are of the same runs."""
        targets = dict.fromkeys(column.key[:2] for column in columns)
        found: dict[tuple[ColumnKey, int], list[Floats]] = defaultdict(list)
        for run_id, seed in zip(run_ids, rows[0].seeds):
            drawn = self.bootstraps.of(run_id, self.protocol)
            for row, target in product(rows, targets):
                cells = {key[2]: cell.values for key, cell in row.cells.items() if key[:2] == target}
                recorded = {name: values[seed] for name, values in cells.items() if seed in values}
                if not recorded:  # it was scored on other data
                    continue
                try:
                    if (one := drawn(target[0], row.score)) is not None:
                        self._require(one, run_id, recorded, target)
                        for name, values in one.metrics.items():
                            found[(*target, name), id(row)].append(values)
                except _NotCompared as why:
                    self.problems.append(str(why))
        for (key, row_id), of_seeds in found.items():
            if len(of_seeds) == len(run_ids):
                self._found[key][row_id] = np.sum(of_seeds, axis=0) / len(of_seeds)

    def _require(self, drawn: _Drawn, run_id: str, recorded: Mapping[str, float], target: tuple[str, str]) -> None:
        """Raise _NotCompared where samples are of no use beside those of the other runs, or of the record."""
        name, images = target[0], len(drawn.ids)
        if drawn.ids != self._ids.setdefault(target, drawn.ids):
            raise _NotCompared(f"{run_id}: scored on other images of {name} than the rest; not compared")
        if images < stats.MIN_IMAGES:
            self.few.add(name)
            raise _NotCompared(f"{name} has {images} images: too few for a bootstrap (at least {stats.MIN_IMAGES})")
        # Scores are exact in the record and binned in the side file.
        for key, values in drawn.metrics.items() if shown(self.protocol).rows != "Score" else ():
            if key in recorded and not math.isclose(values[0], recorded[key], abs_tol=1e-6):
                label = metric(key, self.protocol).label
                raise _NotCompared(
                    f"{run_id}: statistics of {name} give {label} {values[0]:.4f}, the record says "
                    f"{recorded[key]:.4f}; they are not of the same evaluation, not compared"
                )
