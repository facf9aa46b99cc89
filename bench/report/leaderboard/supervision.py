"""Tables by supervision: methods x labels, with dense labels as the upper line.

Each supervision is a group, and so has its table: training from other labels is another experiment. This table puts
the closed-set mIoU of groups side by side that agree in everything else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from bench.records.ledger import GROUP, parts, rows
from bench.records.naming import Variant, flat, named
from bench.report.leaderboard.captions import facts_of, legend, rules_by_supervision
from bench.report.leaderboard.comparison import rank, ranked_cells, sort_rows
from bench.report.leaderboard.labels import BASELINE, Labels, labels_of
from bench.report.leaderboard.model import Cell, Column, ColumnKey, Row, Table
from bench.report.leaderboard.selection import headline, runs_of, select, states_of
from bench.report.leaderboard.views import schedule
from bench.scoring.metrics.catalogue import metric

PROTOCOL = "by-supervision"
"""What ``Table.protocol`` says of these tables; their numbers are of the closed-set protocol."""
_SCORED = "closed-set"
_LABELS = ["supervision", "labels"]
_FAMILY = [column for column in GROUP if column not in _LABELS]
_SHARES = ("share_of_own_dense", "share_of_upper_line")


def by_supervision(frame: pd.DataFrame) -> list[Table]:
    """One table for each family of groups that differ in supervision alone, and version of the protocol."""
    runs = runs_of(frame[frame["training_fingerprint"] != ""])
    # Runs from published labels do not say which copy of the images it was: the only known one.
    known = runs["training_content"].where(runs["training_content"] != "")
    copies = known.groupby([runs[column] for column in ("dataset", "training_images", "training_fingerprint")])
    only = copies.transform("first").where(copies.transform("nunique") == 1, "")
    numbers = frame[(frame["protocol"] == _SCORED) & (frame["part"] == "") & (frame["reading"] == "")]
    states = states_of(numbers)
    tables = []
    for _, members in parts(runs.assign(training_content=known.fillna(only)), _FAMILY, sort=True):
        scored = numbers[numbers["run"].isin(members["run"])]
        for version in sorted({*scored["version"]}):
            of_labels = [
                select(found, states, _SCORED, version).used for _, found in parts(members, _LABELS, sort=True)
            ]
            places = [used for used in of_labels if len(used)]
            if len(places) > 1:
                tables.append(_table(scored[scored["version"] == version], version, places))
    return tables


def _table(numbers: pd.DataFrame, version: str, places: Sequence[pd.DataFrame]) -> Table:
    """``places``: the runs that count of each supervision and source; ``numbers``: of the version, and theirs."""
    runs, counterparts = _join_counterparts(pd.concat(places))
    family = runs.iloc[0]
    naming = named(runs["variant"])
    runs["label"] = runs["variant"].map(naming.label)
    numbers = numbers[numbers["run"].isin(runs["run"])]
    numbers = numbers[numbers["target"] == headline(numbers)]
    mious = numbers[numbers["metric"] == "miou"]
    mious = runs[["run", "label"]].merge(mious, on="run").sort_values(["label", "seed"])
    splits = numbers[["target", "data", "fingerprint"]].drop_duplicates().sort_values("data")
    labels = _in_order([labels_of(used) for used in places])
    dense = runs[(runs["supervision"] == "dense") & (runs["method"] == BASELINE)]
    upper = _by_data(mious[mious["run"].isin(dense["run"])]) if dense["variant"].nunique() == 1 else {}
    table = Table(
        f"By supervision: {family['dataset']}, {schedule(family['config'])}",
        PROTOCOL,
        facts_of(runs.assign(supervision=""), f"{_SCORED} version {version}"),
        rows=[_row(of_row, mious[mious["label"] == label], upper) for label, of_row in parts(runs, "label", sort=True)],
    )
    table.columns = _columns(table, labels, splits)
    rank(table)
    # The supervision that most rows have orders them, the one with most labels among equals.
    ranked = [column for column in table.columns if column.metric.better is not None]
    primary = max(ranked, key=lambda column: len(ranked_cells(table, column)), default=None)
    if primary is not None:
        sort_rows(table, [primary])
    table.rules = rules_by_supervision(labels, primary, upper, numbers) + legend(runs)
    table.notes = [
        f"{naming.label[variant]} from no labels was trained with {settings} and is compared with its own counterpart "
        "that has labels and otherwise the same settings"
        for variant, settings in counterparts.items()
    ]
    table.notes += naming.notes
    return table


def _join_counterparts(runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[Variant, str]]:
    """``runs``, those without labels as the variant of the same settings with labels; these, and what differs.

    A run without labels differs from its counterpart in the settings that let it learn from images alone.
    """
    blind = runs["supervision"] == "none"
    others, own = {*runs.loc[~blind, "variant"]}, {*runs.loc[blind, "variant"]}
    joined: dict[Variant, Variant] = {}
    said: dict[Variant, str] = {}
    for variant, settings in rows(runs.loc[blind, ["variant", "without_labels"]].drop_duplicates("variant")):
        found = [other for other in others if _is_counterpart(variant, other, settings)]
        if len(found) == 1 and found[0] not in own:
            joined[variant] = found[0]
            said[found[0]] = ", ".join(f"{key}={value}" for key, value in settings.items())
    variants = [joined.get(v, v) if none else v for v, none in zip(runs["variant"], blind)]
    return runs.assign(variant=variants), said


def _is_counterpart(blind: Variant, other: Variant, settings: Mapping[str, object]) -> bool:
    """Whether two variants differ in the ``settings`` and in nothing else."""
    if (blind.method, blind.version, blind.partial) != (other.method, other.version, other.partial) or not settings:
        return False
    one, two = flat(json.loads(blind.config)), flat(json.loads(other.config))
    return {k for k in one.keys() | two.keys() if one.get(k) != two.get(k)} == set(settings)


def _in_order(labels: Sequence[Labels]) -> list[Labels]:
    """Dense ones first, then from many labels to few, none last."""
    return sorted(labels, key=lambda s: (s.kind != "dense", s.kind == "none", -(s.share or 0.0), s.kind, s.source))


def _key(kind: str, source: str, target: str, data: str, name: str) -> ColumnKey:
    return f"{target} from {kind} [{source}]", data, name


def _row(runs: pd.DataFrame, mious: pd.DataFrame, upper: Mapping[str, Cell]) -> Row:
    """``upper``: the upper line by data."""
    first = runs.iloc[0]
    seeds, run_ids, weights = tuple(sorted({*runs["seed"]})), tuple(runs["run"]), tuple(runs["checkpoint"])
    row = Row(first["label"], first["method"], first["method_version"], "", seeds, run_ids, {}, weights)
    own = _by_data(mious[mious["supervision"] == "dense"])
    for (kind, source, target), found in parts(mious, [*_LABELS, "target"]):
        for data, cell in _by_data(found).items():
            row.cells[_key(kind, source, target, data, "miou")] = cell
            for name, dense in zip(_SHARES, ({} if kind == "dense" else own, upper)):
                if data in dense and (mean := dense[data].mean):
                    shares = {seed: value / mean for seed, value in cell.values.items()}
                    row.cells[_key(kind, source, target, data, name)] = Cell(shares)
    return row


def _by_data(mious: pd.DataFrame) -> dict[str, Cell]:
    """What was measured, by data; nothing of data on which all is undefined."""
    defined = mious[mious["value"].notna()]
    return {data: Cell(dict(zip(found["seed"], found["value"]))) for data, found in parts(defined, "data")}


def _columns(table: Table, labels: Sequence[Labels], splits: pd.DataFrame) -> list[Column]:
    kinds = Counter(seen.kind for seen in labels)
    columns = []
    for split in rows(splits):
        for seen in labels:
            group = f"{seen.kind} ({seen.text})" if kinds[seen.kind] > 1 else seen.heading
            if len(splits) > 1:
                group += f" [{split.fingerprint[:8]}]"
            for name in ("miou", *_SHARES):
                key = _key(seen.kind, seen.source, split.target, split.data, name)
                if any(key in row.cells for row in table.rows):
                    columns.append(Column(key, group, split.target, metric(name), labels=seen))
    return columns
