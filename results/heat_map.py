"""Features x read-outs as a picture: ``python -m results.heat_map`` draws ``readouts.png`` from the records.

A row is the network of a method's runs, a column the way its features are read; "own" is the method itself.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from bench.records.store import Store
from results.summary import GMMSEG_ROW, ROOT, SOFTMAX_ROW, Row, Select, selector, values

READ_OUTS = ("linear", "gaussian", "mixture", "neighbours")
TRAINED = (SOFTMAX_ROW, GMMSEG_ROW)
ANOMALIES = "toyscapes/anomaly"


def rows(trained: Row) -> list[Row]:
    """The method itself, and each read-out of its features."""
    return [trained, *(Row(name, name, {}, features=trained.method) for name in READ_OUTS)]


def number(select: Select, row: Row, protocol: str, target: str, metric: str, highest: bool) -> float:
    """Mean over seeds in per cent, of anomalies by the best of the scores; NaN where nothing was measured."""
    runs = select("toyscapes", row, name="settled", steps=3600)
    readings = {*runs.loc[runs["protocol"] == protocol, "reading"]} if protocol == "anomaly" else {""}
    found = [values(runs, protocol, target, metric, reading) for reading in readings]
    means = [100 * fmean(seeds) for seeds in found if seeds]
    return (max if highest else min)(means, default=float("nan"))


PANELS = (
    ("mIoU ↑", "closed-set", "test", "miou", True),
    ("anomalies, AUROC ↑", "anomaly", ANOMALIES, "auroc", True),
    ("anomalies, AP ↑", "anomaly", ANOMALIES, "ap", True),
    ("anomalies, FPR95 ↓", "anomaly", ANOMALIES, "fpr95", False),
    ("ECE ↓", "calibration", "test", "ece", False),
)


def draw(select: Select) -> Figure:
    """One panel for each metric; darker is better in all of them."""
    figure = Figure(figsize=(13, 2.4), layout="constrained")
    for axes, (title, protocol, target, metric, highest) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS):
        table = np.array([[number(select, r, protocol, target, metric, highest) for r in rows(t)] for t in TRAINED])
        worst, best = (np.nanmin, np.nanmax)[:: 1 if highest else -1]
        goodness = (table - worst(table)) / (best(table) - worst(table))
        axes.imshow(goodness, cmap="Blues", aspect="auto", vmax=1.4)  # no darker than black text can be read on
        for (i, j), value in np.ndenumerate(table):
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", color="black")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(1 + len(READ_OUTS)), ["own", *READ_OUTS], rotation=35, ha="right")
        axes.set_yticks(range(len(TRAINED)), [row.title for row in TRAINED])
    return figure


if __name__ == "__main__":
    figure = draw(selector(Store(ROOT / "results").records()))
    figure.savefig(ROOT / "results" / "readouts.png", dpi=90, metadata={"Software": None})
