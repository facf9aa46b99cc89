"""Heat maps: numbers in a table, the better the stronger their colour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.records.ledger import parts
from bench.records.naming import short
from bench.report.leaderboard.model import Table
from bench.report.leaderboard.views import title
from bench.report.page.fields import Floats, label
from bench.scoring.described import primary
from bench.scoring.metrics.catalogue import Metric, metric


class HeatMap(NamedTuple):
    """Numbers of one metric."""

    title: str
    corner: str
    """What the rows are."""
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, int]]]]
    """Of each its name, and its numbers as text with how good each is, 0 to 100."""

    @classmethod
    def of(
        cls, title: str, corner: str, columns: Sequence[str], names: Sequence[str], table: Floats, told: Metric
    ) -> HeatMap:
        """Of a ``table`` (rows, columns); NaN where there is no number."""
        good = np.nan_to_num(100 * goodness(table, told.better == "higher")).round().astype(int)
        texts = [["–" if np.isnan(value) else told.text(value) for value in row] for row in table]
        return cls(title, corner, columns, [(n, [*zip(t, g)]) for n, t, g in zip(names, texts, good.tolist())])


def goodness(table: Floats, higher: bool) -> Floats:
    """Where each number is between the worst, 0, and the best, 1; NaN where there is none."""
    low, high = np.nanmin(table), np.nanmax(table)
    return np.asarray((table - low if higher else high - table) / (high - low or 1.0))


# Classes


def of_classes(table: Table) -> Iterator[HeatMap]:
    """IoU of each class (rows: there may be many) on each target, means over seeds; of tables of one protocol."""
    told = metric("iou", table.protocol)
    for target in dict.fromkeys(column.target for column in table.columns if column.target):
        rows = [row for row in table.rows if target in row.per_class]
        classes = list(dict.fromkeys(name for row in rows for name in row.per_class[target]))
        means = [
            [cell.mean if (cell := row.per_class[target].get(name)) and cell.n else np.nan for row in rows]
            for name in classes
        ]
        if np.isfinite(means).any():
            yield HeatMap.of(f"IoU (%) on {target}", "Class", [*map(label, rows)], classes, np.array(means), told)


# Features by read-outs


def of_read_outs(frame: pd.DataFrame) -> Iterator[HeatMap]:
    """Of each group in which features were read out: by what each protocol is judged on, the best of several scores."""
    frame = frame[(frame["run_status"] == "complete") & (frame["part"] == "") & frame["value"].notna()]
    frame = frame[(frame["direction"] != "") & (frame["target"] != "")]
    frame = frame.assign(features=[variant.features for variant in frame["variant"]])
    for _, group in parts(frame, "group"):
        networks = [name for name in dict.fromkeys(group["features"]) if name]
        for protocol, of_protocol in parts(group[group["features"] != ""], "protocol", sort=True):
            for key in primary(str(protocol))[:1]:
                judged = group[(group["protocol"] == protocol) & (group["metric"] == key)]
                targets = judged.loc[judged["headline"], "target"] if judged["headline"].any() else judged["target"]
                if targets.empty or of_protocol.empty:
                    continue
                yield _of_group(judged[judged["target"] == targets.iloc[0]], networks, str(protocol), key)


def _of_group(numbers: pd.DataFrame, networks: Sequence[str], protocol: str, key: str) -> HeatMap:
    told = metric(key, protocol)
    read_outs = sorted({*numbers.loc[numbers["features"] != "", "method"]})
    name = f"{title(numbers['config'].iloc[0])}: {told.heading} on {numbers['target'].iloc[0]}"
    table = by_read_out(numbers, networks, read_outs, told.better == "higher")
    brief = [*map(short, networks)]
    names = [full if brief.count(called) > 1 else called for full, called in zip(networks, brief)]
    return HeatMap.of(name, "Features of", ["own", *read_outs], names, table, told)


def by_read_out(numbers: pd.DataFrame, networks: Sequence[str], read_outs: Sequence[str], higher: bool) -> Floats:
    """Means over seeds (networks, 1 + read-outs), the method itself first; the best where there are several scores.

    ``numbers``: rows of the ledger, of one metric on one target, with the name of what was read out as ``features``.
    """
    means: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (features, method, configuration, _), found in parts(
        numbers, ["features", "method", "configuration", "reading"]
    ):
        means[(features, method) if features else (configuration, "")].append(fmean(found["value"]))
    best = max if higher else min
    return np.array([[best(means[n, r], default=np.nan) for r in ("", *read_outs)] for n in networks])
