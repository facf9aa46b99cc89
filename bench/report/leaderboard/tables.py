"""From records to tables: what may share a table, what is averaged, who is best and by how much.

Two runs share a table only if everything but the method and the seed is the same: data set and its
fingerprint, supervision, network, encoder weights, recipe (its name and its content), number of ranks (which
scales the batch), inference, protocol and protocol version. Two runs share a row only if the method, its
version and its whole configuration are the same too; only complete runs are averaged. Two numbers share a
column only if they are of the same images and classes.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import pandas as pd

from bench.records.ledger import TRAINING, ledger, parts, rows
from bench.records.naming import Naming, Variant, named
from bench.report.leaderboard import statistics as stats
from bench.report.leaderboard.columns import Column, ColumnKey, metric, order
from bench.report.leaderboard.comparison import Statistics, compare, rank, sort_rows
from bench.report.leaderboard.facts import facts_of, partial_rules
from bench.report.leaderboard.labels import SEEDED_RULE, labels_of
from bench.report.leaderboard.model import Cell, Incomplete, Row, Table
from bench.report.leaderboard.published import load, matching, shares_of_supervised
from bench.report.leaderboard.selection import Selection, headline, select, sentence
from bench.report.leaderboard.supervision import by_supervision
from bench.schema.record import Record
from bench.scoring import described as protocols

COST = "cost"
"""Stands for the data of a column of what training cost."""
_KEY = ["target", "data", "metric"]
_OF_A_TABLE = [
    *_KEY, "run", "protocol", "method", "partial", "headline", "over", "images", "fingerprint", "classes", "notes",
    "reading", "part", "value",
]  # fmt: skip
"""The columns of the ledger that a table's numbers need beside its runs."""


def build(
    records: Sequence[Record],
    statistics: Statistics,
    *,
    published: Literal["matching", "all", "none"] = "matching",
    resamples: int = stats.RESAMPLES,
) -> list[Table]:
    """Leaderboard tables from ``records``.

    Args:
        records: of any mixture of runs; what cannot be compared comes apart into tables.
        statistics: arrays per image by run id (``Store.read_statistics``); asked once per run and table that compares.
        published: show published figures beside tables of the same data, or also all of them in a table of
            their own, or none.
        resamples: bootstrap samples of the images; 0 for no comparison.
    """
    entries = load() if published != "none" else []
    frame = ledger(records)
    # One block of objects: rows are chosen in one go, and not column by column.
    frame = frame.astype({column: object for column in frame.columns if frame[column].dtype == "str"}).copy()
    tables = []
    for _, members in parts(frame, "group"):
        tables += _tables_of_group(members, statistics, resamples)
    across = by_supervision(frame)
    _make_titles_unique([*tables, *across])
    for table in across:
        blind = {c.key for c in table.columns if c.labels is not None and c.labels.kind == "none"}
        table.published = shares_of_supervised(entries, {r.method for r in table.rows if blind & r.cells.keys()})
    for table in tables:
        targets = {column.target for column in table.columns}
        table.published = matching(
            entries, table.protocol, table.facts["data set"], table.facts["supervision"], targets
        )
    tables += across
    if published == "all" and entries:
        tables.append(Table("Published figures", "published", {}, published=entries))
    return tables


def _tables_of_group(members: pd.DataFrame, statistics: Statistics, resamples: int) -> list[Table]:
    states = members[~members["protocol"].isin(("", TRAINING))].drop_duplicates(["run", "protocol"])
    tried = states[states["status"] != "skipped"]
    kept = sorted({*zip(tried["protocol"], tried["version"])}, key=lambda v: (protocols.order(v[0]), v[1]))
    tables = [_table(members, name, version, statistics, resamples) for name, version in kept]
    for table, (name, version) in zip(tables, kept):
        if others := sorted({*states.loc[states["protocol"] == name, "version"]} - {version}):
            table.notes.append(
                f"mixed versions: there are also runs scored under version {', '.join(others)} of "
                "this protocol; they are in tables of their own and are not comparable"
            )
    tables = tables or [_bare_table(members)]
    skipped = states[~states["protocol"].isin(tried["protocol"])]
    reasons = Counter(zip(skipped["protocol"], map(sentence, skipped["reason"])))
    for (name, reason), count in sorted(reasons.items(), key=lambda item: item[0][0]):
        tables[0].notes.append(f"{name} was skipped in {count} run{'s' * (count > 1)}: {reason}")
    return tables


def _bare_table(members: pd.DataFrame) -> Table:
    """Runs of which no protocol has anything to show."""
    runs = members.drop_duplicates("run")
    naming = named(runs["variant"])
    failed = runs["run_status"] == "failed"
    why = [sentence(reason or "no protocol was run") for reason in runs["run_reason"]]
    runs = runs.assign(problem=failed.map({True: "failed", False: "not scored"}), why=why)
    table = Table("Runs without scores", "none", facts_of(runs, "none"))
    table.incomplete = _incomplete(runs, naming)
    table.notes = naming.notes
    return table


def _table(members: pd.DataFrame, protocol: str, version: str, statistics: Statistics, resamples: int) -> Table:
    selection = select(members, protocol, version)
    naming = named([*selection.used["variant"], *selection.incomplete["variant"]])
    labels = naming.label
    used = selection.used.assign(label=[labels[variant] for variant in selection.used["variant"]])
    used = used.sort_values(["label", "seed"])
    runs = used if len(used) else members.drop_duplicates("run")
    group = runs.iloc[0]
    table = Table(
        f"{protocols.shown(protocol).title}: {group['dataset']}, {group['supervision']}, "
        f"{group['architecture']}/{group['encoder']}, {group['recipe']}",
        protocol,
        facts_of(runs, f"{protocol} version {version}"),
    )
    table.incomplete = _incomplete(selection.incomplete, naming)
    scored = (members["protocol"] == protocol) & (members["version"] == version)
    described = protocols.shown(protocol)
    if described.shows_costs:
        scored |= members["protocol"] == TRAINING
    numbers = members.loc[scored & members["run"].isin(used["run"]), _OF_A_TABLE]
    numbers["data"] = numbers["data"].where(numbers["protocol"] != TRAINING, COST)
    whole = numbers[numbers["part"] == ""]
    values = _values(whole)
    ious = _ious(numbers)
    for label, of_row in parts(used, "label"):
        table.rows += _rows(label, of_row, values, ious, shared=described.rows == "Score")
    table.columns = _columns(whole, protocol)
    rank(table)
    notes = _seed_notes(selection, labels) + _version_notes(labels) + _score_notes(whole)
    _hide_incomparable_costs(table, used, notes)
    notes += naming.notes
    if resamples:
        notes += compare(table, statistics, resamples)
    table.notes = list(dict.fromkeys(notes))
    table.rules = _rules(table, resamples)
    if labels_of(runs).seeded:
        table.rules.append(SEEDED_RULE)
    table.rules += partial_rules(whole)
    sort_rows(table, _primary_columns(table))
    return table


def _incomplete(runs: pd.DataFrame, naming: Naming) -> list[Incomplete]:
    labels = [naming.label[variant] for variant in runs["variant"]]
    return [
        Incomplete(label, tuple(sorted({*found["seed"]})), status, reason)
        for (label, status, reason), found in parts(
            runs[["seed", "problem", "why"]].assign(label=labels), ["label", "problem", "why"], sort=True
        )
    ]


# Rows

_Values = Mapping[str, Mapping[str, Mapping[ColumnKey, float]]]
"""By run and reading."""
_Ious = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By run, target and class."""


def _values(numbers: pd.DataFrame) -> _Values:
    found: dict[str, dict[str, dict[ColumnKey, float]]] = defaultdict(lambda: defaultdict(dict))
    for run, reading, *key, value in rows(numbers[["run", "reading", *_KEY, "value"]]):
        found[run][reading][key[0], key[1], key[2]] = value
    return found


def _ious(numbers: pd.DataFrame) -> _Ious:
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    ious = numbers[(numbers["metric"] == "iou") & (numbers["part"] != "")]
    for run, target, name, value in rows(ious[["run", "target", "part", "value"]]):
        found[run][target][name] = value
    return found


def _rows(label: str, runs: pd.DataFrame, values: _Values, ious: _Ious, shared: bool) -> Iterator[Row]:
    """The rows of a variant: its own prediction, which has no name, and the other readings of its checkpoints.

    ``shared``: its anomaly scores, each with what is of all scores of a target, such as the prevalence.
    """
    seeds, variant = tuple(runs["seed"]), runs["variant"].iloc[0]
    found = [values[run] for run in runs["run"]]
    readings = sorted({reading for one in found for reading in one} - {""})
    by_target = [ious.get(run, {}) for run in runs["run"]]
    for reading in (readings or [""]) if shared else ["", *readings]:
        mine = [{**(one.get("", {}) if shared else {}), **one.get(reading, {})} for one in found]
        targets = sorted({target for one in by_target for target in one}) if shared or not reading else []
        yield Row(
            label=label,
            method=variant.method,
            version=variant.version,
            score=reading,
            seeds=seeds,
            run_ids=tuple(runs["run"]),
            cells={key: _cell(key, mine, seeds) for key in {key for one in mine for key in one}},
            per_class={target: _per_class([one.get(target, {}) for one in by_target]) for target in targets},
        )


def _cell(key: ColumnKey, found: Sequence[Mapping[ColumnKey, float]], seeds: Sequence[int]) -> Cell:
    values = {seed: one.get(key, math.nan) for seed, one in zip(seeds, found)}
    defined = {seed: value for seed, value in values.items() if math.isfinite(value)}
    return Cell(defined, tuple(seed for seed in values if seed not in defined))


def _per_class(found: Sequence[Mapping[str, float]]) -> dict[str, tuple[float | None, ...]]:
    names = dict.fromkeys(name for one in found for name in one)
    by_class = {name: [one.get(name, math.nan) for one in found] for name in names}
    return {name: tuple(None if math.isnan(v) else v for v in values) for name, values in by_class.items()}


# Columns


def _columns(numbers: pd.DataFrame, protocol: str) -> list[Column]:
    judged = headline(numbers)
    targets = numbers[numbers["target"] != ""]
    datas = targets.groupby("target")["data"].nunique()
    prevalences = targets[targets["metric"] == "prevalence"].groupby(["target", "data"])["value"]
    prevalence = {key: found.iloc[0] for key, found in prevalences if found.nunique(dropna=False) == 1}
    means = numbers.loc[numbers["over"] != "", "data"].nunique()
    columns = []
    for number in rows(numbers.drop_duplicates(_KEY)):
        target, data = number.target, number.data
        column = metric(number.metric, protocol)
        group, shown = target, column.shown
        if target:
            if datas[target] > 1:
                group += f" [{number.fingerprint[:8]}, {number.classes}]"
            if not math.isnan(constant := prevalence.get((target, data), math.nan)):
                group += f" (prevalence {constant:.2%})"
                shown = shown and number.metric != "prevalence"
        elif data == COST:
            group = COST
        elif number.over:
            group = "summary" + (f" over {number.over}" if means > 1 else "")
        columns.append(Column((target, data, number.metric), group, target, column, shown))

    def place(column: Column) -> tuple[object, ...]:
        target, data, name = column.key
        return not target, target != judged, target, data == COST, data, order(name, protocol)

    return sorted(columns, key=place)


def _hide_incomparable_costs(table: Table, runs: pd.DataFrame, notes: list[str]) -> None:
    if len(runs[["hardware", "device"]].drop_duplicates()) > 1:
        hidden = {"seconds", "images_per_second", "peak_memory_mb", "inference_seconds"}
        table.columns = [
            replace(c, shown=False) if c.group == "cost" and c.metric.key in hidden else c for c in table.columns
        ]
        if any(c.group == "cost" for c in table.columns):
            notes.append("times and memory are left out: the runs were made on different hardware")


def _primary_columns(table: Table) -> list[Column]:
    """The columns that order the rows."""
    for key in protocols.primary(table.protocol):
        columns = [c for c in table.columns if c.metric.key == key]
        if len(columns) > 1 and not all(c.target for c in columns):
            continue  # summaries over different targets
        if columns:
            return columns[:1] if key == protocols.shown(table.protocol).headline() else columns
    return [c for c in table.columns if c.metric.better is not None][:1]


# Words


def _make_titles_unique(tables: list[Table]) -> None:
    """Add to titles that coincide what tells their tables apart."""
    by_title: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        if table.protocol == "none":
            facts = table.facts
            table.title += f": {facts['data set']}, {facts['supervision']}, {facts['network']}, {facts['recipe']}"
        by_title[table.title].append(table)
    for members in by_title.values():
        if len(members) == 1:
            continue
        keys = dict.fromkeys(key for t in members for key in t.facts if key not in ("hardware", "commits"))
        varying = [key for key in keys if len({t.facts.get(key) for t in members}) > 1]
        for table in members:
            table.title += "".join(f", {key} {table.facts[key]}" for key in varying if key in table.facts)
    seen: Counter[str] = Counter()
    for table in tables:
        seen[table.slug] += 1
        if seen[table.slug] > 1:
            table.title += f" ({seen[table.slug]})"


def _seed_notes(selection: Selection, labels: Mapping[Variant, str]) -> list[str]:
    return [
        f"{labels[earlier.variant]}: seed {earlier.seed} was run more than once; {earlier.newest} is the newest and "
        f"counts, {earlier.run} does not"
        for earlier in rows(selection.superseded)
    ]


def _version_notes(labels: Mapping[Variant, str]) -> list[str]:
    versions: dict[str, set[str]] = defaultdict(set)
    for variant in labels:
        versions[variant.method].add(variant.version)
    return [
        f"mixed versions: {method} was run at versions {', '.join(sorted(found))}; they are separate rows"
        for method, found in sorted(versions.items())
        if len(found) > 1
    ]


def _score_notes(numbers: pd.DataFrame) -> list[str]:
    targets = numbers[numbers["target"] != ""]
    notes: dict[str, set[str]] = defaultdict(set)
    for target, text, method in rows(targets[["target", "notes", "method"]].drop_duplicates()):
        for note in filter(None, text.split("\n")):
            notes[f"{target}: {sentence(note)}"].add(method)
    everyone = {*numbers["method"]}
    found = [
        note if methods == everyone else f"{note} ({', '.join(sorted(methods))})"
        for note, methods in sorted(notes.items())
    ]
    datas = targets.groupby("target")["data"].nunique()
    return found + [
        f"{target} was not the same images or classes in all runs: columns for each, not comparable"
        for target in datas.index[datas > 1]
    ]


def _rules(table: Table, resamples: int) -> list[str]:
    if not table.rows:
        return []
    rules = [
        "Mean ± sample standard deviation (ddof = 1) over n seeds; one seed has no spread. Shares are in per "
        "cent. Best in bold, second underlined, by the printed digits; arrows point to the better values.",
        "Runs that are not complete are listed and never averaged. A number that is undefined for some seeds "
        "shows its own n and does not compete.",
    ]
    primary = _primary_columns(table)
    if primary:
        where = ", ".join(dict.fromkeys(c.target for c in primary if c.target))
        how = "in the order of their mean rank by" if len(primary) > 1 else "ordered by"
        rules.append(f"Rows are {how} {primary[0].metric.label}" + (f" on {where}." if where else "."))
    cells = [cell for row in table.rows for cell in row.cells.values()]
    if resamples and any(cell.p_bootstrap is not None for cell in cells):
        rules.append(
            "† not significantly different from the column's best: paired bootstrap over images "
            f"({resamples} samples, the same for all rows, mean over seeds), p ≥ 0.05 after Westfall and Young's "
            "step-down correction within the column. It covers the choice of images, not that of training runs; "
            "columns without per-image statistics carry no mark."
        )
    if any(cell.p_wilcoxon is not None for cell in cells):
        rules.append(
            "‡ not significantly different from the column's best over training runs: Wilcoxon signed-rank "
            "test over common seeds, p ≥ 0.05 after Holm's correction."
        )
    if any(c.metric.key.endswith("_oracle") for c in table.shown):
        rules.append("Oracle columns choose their threshold on the evaluation labels: an upper bound.")
    described = protocols.shown(table.protocol)
    if described.rows == "Reading" and table.has_scores:
        rules.append(
            "A row with a reading is the checkpoint of the method's own row, its class scores taken in another way."
        )
    return [*rules, *described.rules]
