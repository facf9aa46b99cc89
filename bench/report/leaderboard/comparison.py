"""Who is best in a column, and who does not differ significantly from it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

from bench.report.leaderboard import statistics as stats
from bench.report.leaderboard.columns import Column, ColumnKey, metric
from bench.report.leaderboard.model import Cell, Row, Table
from bench.schema import side_file
from bench.scoring.described import shown

Statistics = Callable[[str, str], side_file.Arrays]
"""Statistics per image of a run id, of the names that begin with the second text."""


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


def compare(table: Table, statistics: Statistics, resamples: int) -> list[str]:
    """Compare the best row of every ranked column with the others, filling their cells.

    Args:
        table: rows and columns, already ranked.
        statistics: asked once for each run.
        resamples: bootstrap samples.

    Returns:
        Warnings.
    """
    columns = [c for c in table.columns if c.metric.better is not None and len(ranked_cells(table, c)) > 1]
    bootstrapped = [c for c in columns if c.target]
    samples = _Resampled(table.protocol, statistics, resamples)
    if bootstrapped:
        # Several rows, one for each anomaly score or reading, may come from the same runs.
        for run_ids, rows in groupby(table.rows, key=lambda row: row.run_ids):
            samples.add(list(rows), run_ids, bootstrapped)
    for column in columns:
        sign = 1 if column.metric.better == "higher" else -1
        cells = ranked_cells(table, column)
        best_row, best = max(cells, key=lambda item: sign * item[1].mean)
        others = [(row, cell) for row, cell in cells if cell is not best]
        found, differences = [], []
        first = samples.get(best_row, column)
        for row, cell in others:
            second = samples.get(row, column)
            if first is None or second is None:
                continue
            cell.difference = stats.paired_bootstrap(sign * first[1:], sign * second[1:])
            if cell.difference is not None:
                found.append(cell)
                differences.append(first - second)
        for cell, p in zip(found, stats.step_down(np.array(differences))):
            cell.p_bootstrap = p
            if p >= stats.ALPHA:
                cell.marks += "†"
        tests = [(cell, stats.wilcoxon_over_seeds(best.values, cell.values, len(others))) for _, cell in others]
        decided = [(cell, p) for cell, p in tests if p is not None]
        for (cell, _), p in zip(decided, stats.holm([p for _, p in decided])):
            cell.p_wilcoxon = p
            if p >= stats.ALPHA:
                cell.marks += "‡"
    return samples.problems


@lru_cache(maxsize=16)
def _weights(ids: tuple[str, ...], resamples: int) -> NDArray[np.float64]:
    """The same for all tables of these images."""
    # The data themselves come first: the check that statistics and record belong together.
    return np.concatenate([np.ones((1, len(ids))), stats.resampling_weights(ids, resamples)])


@lru_cache(maxsize=16)
def _sorted(ids: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Image ids in order, and the place that each has among ``ids``."""
    places = np.argsort(np.array(ids), kind="stable")
    return tuple(ids[place] for place in places), places


class _Resampled:
    """Bootstrap samples of rows and columns: the mean over the row's seeds on the same resampled images.

    Before them stands the value of the data themselves.
    """

    def __init__(self, protocol: str, statistics: Statistics, resamples: int) -> None:
        self.protocol = protocol
        self.statistics = statistics
        self.resamples = resamples
        self.problems: list[str] = []
        self._found: dict[tuple[int, ColumnKey], NDArray[np.float64]] = {}
        self._ids: dict[tuple[str, str], tuple[str, ...]] = {}

    def get(self, row: Row, column: Column) -> NDArray[np.float64] | None:
        return self._found.get((id(row), column.key))

    def add(self, rows: list[Row], run_ids: Sequence[str], columns: list[Column]) -> None:
        targets = list(dict.fromkeys((c.key[0], c.key[1]) for c in columns))
        sums: dict[tuple[int, ColumnKey], NDArray[np.float64]] = {}
        counts: Counter[tuple[int, ColumnKey]] = Counter()
        for run_id, seed in zip(run_ids, rows[0].seeds):
            arrays = self.statistics(run_id, side_file.under(self.protocol))
            for row, target in product(rows, targets):
                found = {
                    key[2]: cell.values[seed]
                    for key, cell in row.cells.items()
                    if key[:2] == target and seed in cell.values
                }
                if not found:  # it was scored on other data
                    continue
                for name, values in self._samples(run_id, arrays, found, target, row.score).items():
                    key = id(row), (*target, name)
                    sums[key] = sums[key] + values if key in sums else values
                    counts[key] += 1
        for key, total in sums.items():
            if counts[key] == len(run_ids):
                self._found[key] = total / len(run_ids)

    def _samples(
        self,
        run_id: str,
        arrays: side_file.Arrays,
        recorded: Mapping[str, float],
        target: tuple[str, str],
        score: str,
    ) -> dict[str, NDArray[np.float64]]:
        protocol = shown(self.protocol)
        found = side_file.of(arrays, protocol.kinds, self.protocol, target[0], score)
        if not found or len(found) < len(protocol.kinds):
            return {}
        images = len(next(iter(found.values())))
        ids = side_file.of(arrays, [side_file.IDS], self.protocol, target[0]).get(side_file.IDS)
        names = tuple(map(str, ids.tolist())) if ids is not None else tuple(f"{i:09d}" for i in range(images))
        if len(names) != images or len(set(names)) != len(names):
            self.problems.append(f"{run_id}: image ids and statistics of {target[0]} do not match; not compared")
            return {}
        in_order, in_turn = _sorted(names)
        reference = self._ids.setdefault(target, in_order)
        if in_order != reference:
            self.problems.append(f"{run_id}: scored on other images of {target[0]} than the rest; not compared")
            return {}
        if len(names) < stats.MIN_IMAGES:
            self.problems.append(
                f"{target[0]} has {len(names)} images: too few for a bootstrap (at least {stats.MIN_IMAGES})"
            )
            return {}
        weights = _weights(reference, self.resamples)
        shared = side_file.of(arrays, protocol.constants, self.protocol, target[0], score)
        try:
            counts = protocol.condensed({kind: array[in_turn] for kind, array in found.items()})
            samples = stats.in_parts(protocol.metrics, stats.resampled(counts, weights), shared)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self.problems.append(
                f"{self.protocol} cannot be resampled ({type(error).__name__}: {error}); its rows are not compared"
            )
            return {}
        if protocol.rows == "Score":
            return samples  # exact in the record, binned in the side file
        for name, values in samples.items():
            if name in recorded and not math.isclose(values[0], recorded[name], abs_tol=1e-6):
                label = metric(name, self.protocol).label
                self.problems.append(
                    f"{run_id}: statistics of {target[0]} give {label} {values[0]:.4f}, the record says "
                    f"{recorded[name]:.4f}; they are not of the same evaluation, not compared"
                )
                return {}
        return samples
