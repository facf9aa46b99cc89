"""Tables by supervision: methods x labels, with dense labels as the upper line.

Each supervision is a group, and so a table, of its own: training from other labels is another experiment. This
table puts the closed-set mIoU of groups side by side that agree in everything else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from bench.records.ledger import GROUP, parts, rows
from bench.records.naming import Variant, flat, named
from bench.report.leaderboard.columns import Column, ColumnKey, metric
from bench.report.leaderboard.comparison import rank, ranked_cells, sort_rows
from bench.report.leaderboard.facts import facts_of, partial_rules
from bench.report.leaderboard.labels import SEEDED_RULE, Labels, labels_of
from bench.report.leaderboard.model import Cell, Row, Table
from bench.report.leaderboard.selection import headline, select

PROTOCOL = "by-supervision"
"""What ``Table.protocol`` says of these tables; their numbers are of the closed-set protocol."""
BASELINE = "softmax"
"""The method whose result from dense labels is the upper line of all methods."""
_SCORED = "closed-set"
_LABELS = ["supervision", "labels"]
_FAMILY = [column for column in GROUP if column not in _LABELS]
_SHARES = ("share_of_own_dense", "share_of_upper_line")


def by_supervision(frame: pd.DataFrame) -> list[Table]:
    """One table for each family of groups that differ in supervision alone, and version of the protocol."""
    frame = frame[frame["training_fingerprint"] != ""]
    # Runs from published labels do not say which copy of the images it was: the only known one.
    copies = frame[frame["training_content"] != ""].groupby(["dataset", "training_images", "training_fingerprint"])
    known = {key: found.iloc[0] for key, found in copies["training_content"] if found.nunique() == 1}
    data = zip(frame["dataset"], frame["training_images"], frame["training_fingerprint"])
    only = pd.Series([known.get(key, "") for key in data], index=frame.index, dtype=object)
    content = frame["training_content"].where(frame["training_content"] != "", only)
    tables = []
    for _, members in parts(frame.assign(training_content=content), _FAMILY):
        for version in sorted({*members.loc[members["protocol"] == _SCORED, "version"]}):
            places = [select(found, _SCORED, version).used for _, found in parts(members, _LABELS)]
            places = [used for used in places if len(used)]
            if len(places) > 1:
                tables.append(_table(members, version, places))
    return tables


def _table(members: pd.DataFrame, version: str, places: Sequence[pd.DataFrame]) -> Table:
    """``places``: the runs that count of each supervision and source."""
    runs, counterparts = _join_counterparts(pd.concat(places))
    family = runs.iloc[0]
    table = Table(
        f"By supervision: {family['dataset']}, {family['architecture']}/{family['encoder']}, {family['recipe']}",
        PROTOCOL,
        facts_of(runs.assign(supervision=""), f"{_SCORED} version {version}"),
    )
    naming = named(runs["variant"])
    names = naming.label
    runs["label"] = [names[variant] for variant in runs["variant"]]
    scored = members[(members["protocol"] == _SCORED) & (members["version"] == version) & (members["part"] == "")]
    scored = scored[scored["run"].isin(runs["run"]) & (scored["reading"] == "")]
    scored = scored[scored["target"] == headline(scored)]
    mious = runs[["run", "label"]].merge(scored[(scored["metric"] == "miou")], on="run").sort_values(["label", "seed"])
    splits = scored[["target", "data", "fingerprint"]].drop_duplicates().sort_values("data")
    labels = _in_order([labels_of(used) for used in places])
    dense = runs[(runs["supervision"] == "dense") & (runs["method"] == BASELINE)]
    upper = _by_data(mious[mious["run"].isin(dense["run"])]) if dense["variant"].nunique() == 1 else {}
    for label, of_row in parts(runs, "label", sort=True):
        table.rows.append(_row(label, of_row, mious[mious["label"] == label], labels, upper))
    table.columns = _columns(table, labels, splits)
    rank(table)
    # The supervision that most rows have orders them, the one with most labels among equals.
    ranked = [c for c in table.columns if c.metric.better is not None]
    primary = max(ranked, key=lambda c: len(ranked_cells(table, c)), default=None)
    if primary is not None:
        sort_rows(table, [primary])
    table.rules = _rules(labels, primary, upper, splits) + partial_rules(scored)
    table.notes = [
        f"{names[variant]} from no labels was trained with {settings} and is compared with its own counterpart that "
        "has labels and otherwise the same settings"
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


def _key(target: str, labels: Labels, data: str, name: str) -> ColumnKey:
    return (f"{target} from {labels.kind} [{labels.source}]", data, name)


def _row(
    label: str, runs: pd.DataFrame, mious: pd.DataFrame, labels: Sequence[Labels], upper: Mapping[str, Cell]
) -> Row:
    """``upper``: the upper line by data."""
    cells: dict[ColumnKey, Cell] = {}
    own = _by_data(mious[mious["supervision"] == "dense"])
    known = {(seen.kind, seen.source): seen for seen in labels}
    for (kind, source, target), found in parts(mious, [*_LABELS, "target"]):
        seen = known[kind, source]
        for data, cell in _by_data(found).items():
            cells[_key(target, seen, data, "miou")] = cell
            for name, dense in zip(_SHARES, ({} if kind == "dense" else own, upper)):
                if data in dense and (mean := dense[data].mean):
                    shares = {seed: value / mean for seed, value in cell.values.items()}
                    cells[_key(target, seen, data, name)] = Cell(shares)
    variant = runs["variant"].iloc[0]
    return Row(
        label=label,
        method=variant.method,
        version=variant.version,
        score="",
        seeds=tuple(sorted({*runs["seed"]})),
        run_ids=tuple(runs["run"]),
        cells=cells,
    )


def _by_data(mious: pd.DataFrame) -> dict[str, Cell]:
    """What was measured, by data; nothing of data on which all is undefined."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for data, seed, value in rows(mious.loc[mious["value"].notna(), ["data", "seed", "value"]]):
        found[data][seed] = value
    return {data: Cell(values) for data, values in found.items()}


def _columns(table: Table, labels: Sequence[Labels], splits: pd.DataFrame) -> list[Column]:
    twice = {s.kind for s in labels if sum(other.kind == s.kind for other in labels) > 1}
    columns = []
    for split in rows(splits):
        for seen in labels:
            group = f"{seen.kind} ({seen.text})" if seen.kind in twice else seen.heading
            if len(splits) > 1:
                group += f" [{split.fingerprint[:8]}]"
            for name in ("miou", *_SHARES):
                key = _key(split.target, seen, split.data, name)
                if any(key in row.cells for row in table.rows):
                    columns.append(Column(key, group, split.target, metric(name), labels=seen))
    return columns


def _rules(
    labels: Sequence[Labels], primary: Column | None, upper: Mapping[str, Cell], splits: pd.DataFrame
) -> list[str]:
    rules = [
        f"mIoU on {', '.join(sorted({*splits['target']}))}: mean ± sample standard deviation (ddof = 1) over n "
        "seeds, in per cent; a mIoU of fewer seeds than its row's shows its own n. Best of each supervision in bold, "
        "second underlined, by the printed digits; which differences are significant is marked in its own table.",
        "Shares are of mean mIoU: of the same row's from dense labels, and of the upper line. Their ± is that of the "
        "runs from these labels alone.",
    ]
    for cell in (upper[data] for data in splits["data"] if data in upper):
        spread = "" if cell.std is None else f" ± {100 * cell.std:.2f}"
        seeds = f"{cell.n} seed{'s' if cell.n > 1 else ''}"
        rules.append(f"Upper line: {BASELINE} from dense labels, {100 * cell.mean:.2f}{spread} ({seeds}).")
    if primary is not None and primary.labels is not None:
        rules.append(f"Rows are ordered by mIoU from {primary.labels.kind} labels.")
    rules += [f"{seen.kind}: {seen.text}." for seen in labels if seen.text]
    if any(seen.seeded for seen in labels):
        rules.append(SEEDED_RULE)
    return rules
