"""Features x read-outs as a picture: ``python -m results.heat_map`` draws ``readouts.png`` from the records.

A row is the network of a method's runs, a column the way its features are read; "own" is the method itself.
``python -m results.heat_map 450`` draws ``readouts-450.png``, of the runs of 450 steps in place of 3,600.
"""

from __future__ import annotations

import sys
from statistics import fmean
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bench.records.store import Store
from bench.report.page.heat import goodness
from results.summary import LONG, READ_OUTS, ROOT, TRAINED, Row, Select, fitted, selector, values

ANOMALIES = "toyscapes/anomaly"
STEPS = LONG


class Panel(NamedTuple):
    """A number of a run, and which way is better."""

    title: str
    protocol: str
    target: str
    metric: str
    highest: bool


PANELS = (
    Panel("mIoU ↑", "closed-set", "test", "miou", True),
    Panel("anomalies, AUROC ↑", "anomaly", ANOMALIES, "auroc", True),
    Panel("anomalies, AP ↑", "anomaly", ANOMALIES, "ap", True),
    Panel("anomalies, FPR95 ↓", "anomaly", ANOMALIES, "fpr95", False),
    Panel("ECE ↓", "calibration", "test", "ece", False),
)


def number(select: Select, row: Row, steps: int, panel: Panel) -> float:
    """Mean over seeds in per cent, of anomalies by the best of the scores; NaN where nothing was measured."""
    runs = select("toyscapes", row, steps=steps)
    anomalies = panel.protocol == "anomaly"
    readings = {*runs.loc[runs["protocol"] == "anomaly", "reading"]} if anomalies else {""}
    found = [values(runs, panel.protocol, panel.target, panel.metric, reading) for reading in readings]
    means = [100 * fmean(seeds) for seeds in found if seeds]
    return (max if panel.highest else min)(means, default=float("nan"))


def draw(select: Select, steps: int = STEPS) -> Figure:
    """One panel for each metric, of what has been fitted after so many ``steps``; darker is better in all of them."""
    groups = [[trained, *fitted(select, trained, steps)] for trained in TRAINED]
    groups = [rows for rows in groups if len(rows) > 1]
    ways = ["own", *(name for name in READ_OUTS if any(row.method == name for rows in groups for row in rows[1:]))]
    panels = []
    for panel in PANELS:
        table = np.full((len(groups), len(ways)), np.nan)
        for i, (own, *others) in enumerate(groups):
            table[i, 0] = number(select, own, steps, panel)
            for row in others:
                table[i, ways.index(row.method)] = number(select, row, steps, panel)
        if not np.isnan(table).all():
            panels.append((panel, table))
    figure = Figure(figsize=(13, 1.2 + 0.6 * len(groups)), layout="constrained")
    for axes, (panel, table) in zip(figure.subplots(1, len(panels), sharey=True), panels):
        # No darker than black text can be read on.
        axes.imshow(goodness(table, panel.highest), cmap="Blues", aspect="auto", vmax=1.4)
        for (i, j), value in np.ndenumerate(table):
            axes.text(j, i, "" if np.isnan(value) else f"{value:.1f}", ha="center", va="center", color="black")
        axes.set_title(panel.title, fontsize=10)
        axes.set_xticks(range(len(ways)), ways, rotation=35, ha="right")
        axes.set_yticks(range(len(groups)), [rows[0].title for rows in groups])
    return figure


if __name__ == "__main__":
    steps = int(sys.argv[1]) if sys.argv[1:] else STEPS
    figure = draw(selector(Store(ROOT / "results").records()), steps)
    name = "readouts.png" if steps == STEPS else f"readouts-{steps}.png"
    figure.savefig(ROOT / "results" / name, dpi=90, metadata={"Software": None})
