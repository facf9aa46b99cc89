"""Curves that counts in bins give, of every target of a protocol: calibration, abstention, anomaly scores.

Nothing is kept for them: the counts are those that the bootstrap of the tables draws from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench.report.leaderboard.comparison import Statistics
from bench.report.leaderboard.model import Row, Table
from bench.report.page.fields import Axis, Chart, Field, Floats, Line, around, drawing, label
from bench.schema import side_file
from bench.scoring.described import shown

_MOST = 8
"""Lines of a figure."""
_POINTS = 65
"""Of a line, at most."""


def of_table(table: Table, statistics: Statistics) -> Iterator[Chart]:
    """Of each target of the table; nothing where its protocol counts otherwise or side files are missing."""
    for kind in filter(_CURVES.get, shown(table.protocol).kinds):
        name, of_rows = _CURVES[kind]
        for target in dict.fromkeys(column.target for column in table.shown if column.target):
            if counts := [*_counts(table, target, kind, statistics)]:
                fields, note = of_rows(counts)
                title = f"{name} on {target}"
                if fields:
                    yield Chart(title, drawing(f"{title}: {table.title}", fields), (note,))


_Counts = Sequence[tuple[Row, Sequence[Floats]]]
"""Of each row what was counted in each of its runs, summed over images."""


def _counts(table: Table, target: str, kind: str, statistics: Statistics) -> Iterator[tuple[Row, list[Floats]]]:
    for row in table.rows[:_MOST]:
        found: list[Floats] = []
        for run in row.run_ids:
            arrays = statistics(run, side_file.under(table.protocol, target, row.score))
            counts = side_file.of(arrays, [kind], table.protocol, target, row.score)
            found += (array.sum(0, dtype=np.float64) for array in counts.values())
        if found and len(found) == len(row.run_ids) and all(array.any() for array in found):
            yield row, found


def _lines(counts: _Counts, points: Callable[[Sequence[Floats]], tuple[Floats, Floats]]) -> list[Line]:
    return [Line(label(row), row.method, *points(of_runs)) for row, of_runs in counts]


def _of_bins(counts: _Counts) -> tuple[list[Field], str]:
    """``counts`` (bins, 3): pixels, right ones and summed confidences by confidence."""
    covered = _lines(counts, lambda bins: _risk_coverage(*_doubts(np.sum(bins, axis=0))))
    found = [
        Field(Axis("confidence"), Axis("accuracy"), _lines(counts, _reliability), dotted=(0.0, 1.0)),
        _of_coverage(covered),
    ]
    number = len(counts[0][1][0])
    return found, f"From {number} bins of confidence, the pixels of all runs of a row together. Dotted: calibrated."


def _of_doubts(counts: _Counts) -> tuple[list[Field], str]:
    """``counts`` (bins, 2): pixels and wrong ones from the surest to the least sure."""
    covered = _lines(counts, lambda doubts: _risk_coverage(*np.sum(doubts, axis=0).T))
    return [_of_coverage(covered)], f"From {len(counts[0][1][0])} bins, the pixels of all runs of a row together."


def _of_histograms(counts: _Counts) -> tuple[list[Field], str]:
    """``counts`` (2, bins): negatives and positives by score."""
    counts = [(row, of_runs) for row, of_runs in counts if all(one.sum(1).all() for one in of_runs)]
    if not counts:
        return [], ""
    negatives, positives = counts[0][1][0].sum(1)
    prevalence = positives / (negatives + positives)
    most = max(histogram.shape[1] for _, of_runs in counts for histogram in of_runs)
    precision = _lines(counts, _precision_recall)
    found = [
        Field(Axis("recall"), _from_zero("precision", precision), precision, dotted=(prevalence, prevalence)),
        Field(Axis("false positive rate"), Axis("true positive rate"), _lines(counts, _roc), dotted=(0.0, 1.0)),
    ]
    return found, f"From at most {most} bins of the score a run, means over the runs of a row. Dotted: chance."


def _of_coverage(lines: Sequence[Line]) -> Field:
    """Without those of one confidence: there is none to abstain by."""
    several = [line for line in lines if len(line.x) > 1]
    return Field(Axis("coverage: the surest pixels"), _from_zero("risk: share of wrong ones", several), several)


def _from_zero(name: str, lines: Sequence[Line]) -> Axis:
    return around(name, np.concatenate([[0.0], *(line.y for line in lines)]))


def _reliability(bins: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Mean confidence and accuracy of each bin with pixels, of all runs together; ``bins`` (bins, 3) each."""
    pixels, right, confidence = np.sum(bins, axis=0).T
    there = pixels > 0
    return confidence[there] / pixels[there], right[there] / pixels[there]


def _doubts(bins: Floats) -> tuple[Floats, Floats]:
    """Pixels and wrong ones, the surest first, of ``bins`` (bins, 3) from the lowest confidence up."""
    pixels, right, _ = bins[::-1].T
    return pixels, pixels - right


def _risk_coverage(pixels: Floats, wrong: Floats) -> tuple[Floats, Floats]:
    """Coverage and risk at the ends of bins, at most one for each of so many steps of the coverage."""
    covered, errors = pixels.cumsum(), wrong.cumsum()
    ends = np.unique(np.searchsorted(covered, np.linspace(0, 1, _POINTS)[1:] * covered[-1]))
    return covered[ends] / covered[-1], errors[ends] / covered[ends]


def _precision_recall(histograms: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Precision at equal steps of recall, its mean over runs; ``histograms`` (2, bins) each, negatives first."""
    recalls = np.linspace(0, 1, _POINTS)[1:]
    precisions = []
    for histogram in histograms:
        false, true = histogram[:, ::-1].cumsum(1)
        found = true > 0
        precisions.append(np.interp(recalls, true[found] / true[-1], true[found] / (true + false)[found]))
    return recalls, np.mean(precisions, axis=0)


def _roc(histograms: Sequence[Floats]) -> tuple[Floats, Floats]:
    """The share of positives above a score by that of negatives, its mean over runs: denser where the curve rises."""
    rates = np.linspace(0, 1, _POINTS) ** 2
    found = []
    for histogram in histograms:
        false, true = (np.concatenate([[0], row]) / row[-1] for row in histogram[:, ::-1].cumsum(1))
        found.append(np.interp(rates, false, true))
    return rates, np.mean(found, axis=0)


_CURVES = {
    "bins": ("Reliability and risk over coverage", _of_bins),
    "doubts": ("Risk over coverage", _of_doubts),
    "histogram": ("Precision over recall and ROC", _of_histograms),
}
"""By the kind of counts that they are drawn from."""
