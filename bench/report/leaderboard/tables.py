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
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple, TypeVar

import pandas as pd

from bench.records.ledger import TRAINING, ledger, parts, rows
from bench.records.naming import Naming, named
from bench.report.leaderboard import statistics as stats
from bench.report.leaderboard.captions import (
    common_rules,
    facts_of,
    legend,
    notes_on_seeds,
    notes_on_targets,
    notes_on_versions,
    rules_of,
)
from bench.report.leaderboard.comparison import Bootstraps, Statistics, compare, rank, sort_rows
from bench.report.leaderboard.labels import Labels, labels_of
from bench.report.leaderboard.model import Cell, Column, ColumnKey, Incomplete, Row, Table
from bench.report.leaderboard.published import load, matching, shares_of_supervised
from bench.report.leaderboard.selection import headline, runs_of, select, sentence, states_of
from bench.report.leaderboard.supervision import by_supervision
from bench.report.leaderboard.views import (
    EVERYTHING,
    View,
    in_order,
    judged_by,
    one_score,
    overview,
    short_names,
    title,
)
from bench.schema.record import Record
from bench.scoring import described as protocols
from bench.scoring.metrics.catalogue import metric, order

COST = "cost"
"""Stands for the data of a column of what training cost."""
_KEY = ["target", "data", "metric"]
_OF_A_TABLE = [
    *_KEY, "run", "protocol", "method", "partial", "headline", "over", "images", "fingerprint", "classes", "notes",
    "reading", "part", "seed", "value",
]  # fmt: skip
"""The columns of the ledger that a table's numbers need beside its runs."""
_OF_HARDWARE = ("seconds", "images_per_second", "peak_memory_mb", "inference_seconds")
"""Costs that only runs on the same hardware share."""

Key = TypeVar("Key")
Figures = Literal["matching", "all", "none"]
"""Published ones: beside tables of the same data, also all of them in one more table, or none."""
_Found = dict[Key, dict[int, float]]
"""Numbers by what they are of and by seed."""


def build(
    records: Sequence[Record],
    statistics: Statistics,
    view: View = EVERYTHING,
    *,
    published: Figures = "matching",
    resamples: int = stats.RESAMPLES,
) -> list[Table]:
    """Leaderboard tables from ``records``.

    Args:
        records: of any mixture of runs; what cannot be compared comes apart into tables.
        statistics: arrays per image by run id (``Store.read_statistics``).
        view: what is shown of them.
        published: show published figures beside tables of the same data, or also all of them in one more
            table, or none.
        resamples: bootstrap samples of the images; 0 for no comparison.
    """
    (tables,) = build_views(ledger(records), statistics, [view], published=published, resamples=resamples)
    return tables


def build_views(
    frame: pd.DataFrame,
    statistics: Statistics,
    views: Sequence[View],
    *,
    published: Figures = "matching",
    resamples: int = stats.RESAMPLES,
) -> list[list[Table]]:
    """``build`` of each of the ``views`` of the ledger ``frame``: they share what was read and worked out."""
    frames = {choice: choice.of(frame) for choice in dict.fromkeys(view.choice for view in views)}
    members = {choice: dict(parts(shown, "group")) for choice, shown in frames.items()}
    of_groups: list[list[Table]] = [[] for _ in views]
    for name in frame["group"].unique():
        bootstraps = Bootstraps(statistics, resamples)
        groups = {choice: _Group(found[name], choice) for choice, found in members.items() if name in found}
        for view, tables in zip(views, of_groups):
            if view.choice in groups:
                tables += _tables_of_group(groups[view.choice], bootstraps, view)
    return [
        _finished(tables, frames[view.choice], view, published, resamples) for view, tables in zip(views, of_groups)
    ]


def _finished(tables: list[Table], frame: pd.DataFrame, view: View, published: Figures, resamples: int) -> list[Table]:
    """The tables of the groups in ``frame``, with what is over several groups, rules and published figures."""
    entries = load() if published != "none" and not view.overviews else []
    across = by_supervision(frame) if not view.protocols else []
    _make_titles_unique([*tables, *across])
    for table in across:
        blind = {c.key for c in table.columns if c.labels is not None and c.labels.kind == "none"}
        table.published = shares_of_supervised(entries, {r.method for r in table.rows if blind & r.cells.keys()})
    for table in tables:
        targets = {column.target for column in table.columns}
        table.published = matching(
            entries, table.protocol, table.facts["data set"], table.facts["supervision"], targets
        )
    common = []
    if view.everything:
        for table in tables:
            table.rules = [*common_rules([table], resamples), *table.rules]
    else:
        common = common_rules(tables, resamples)
        common += _shared_rules(across)
    if view.overviews:
        tables, of_protocols = in_order(tables)
        common += of_protocols
    if view.top is not None:
        for table in tables:
            del table.rows[view.top :]
    tables += across
    if common:
        tables.append(Table("How to read these tables", "rules", {}, rules=[*dict.fromkeys(common)]))
    if published == "all" and entries:
        tables.append(Table("Published figures", "published", {}, published=entries))
    return tables


def _shared_rules(tables: Sequence[Table]) -> list[str]:
    """The rules that all of several ``tables`` have, and no longer say themselves."""
    if len(tables) < 2:
        return []
    shared = [rule for rule in tables[0].rules if all(rule in table.rules for table in tables)]
    for table in tables:
        table.rules = [rule for rule in table.rules if rule not in shared]
    return shared


class _Scored(NamedTuple):
    """What a group has under a version of a protocol, before a view chooses columns."""

    table: Table
    """Of all columns, without marks; its rules are the legend."""
    whole: pd.DataFrame
    """The numbers of the runs that count, but those of classes and parts of errors."""
    labels: Labels
    comparable: bool
    """Whether the runs were made on the same hardware."""
    notes_on_names: list[str]


class _Group:
    """The runs of a group that views of one ``choice`` show: what does not depend on the view is worked out once."""

    def __init__(self, members: pd.DataFrame, choice: View) -> None:
        self.members, self.choice = members, choice
        self.runs, self.states = runs_of(members), states_of(members)
        self.scored = cache(self._scored)

    def _scored(self, protocol: str, version: str) -> _Scored:
        members, everything = self.members, self.choice.everything
        selection = select(self.runs, self.states, protocol, version)
        variants = [*selection.used["variant"], *selection.incomplete["variant"]]
        naming = named(variants) if everything else Naming(short_names(variants), [])
        used = selection.used.assign(label=selection.used["variant"].map(naming.label)).sort_values(["label", "seed"])
        runs = used if len(used) else members.drop_duplicates("run")
        group = runs.iloc[0]
        described = protocols.shown(protocol)
        scored = (members["protocol"] == protocol) & (members["version"] == version)
        if described.shows_costs:
            scored |= members["protocol"] == TRAINING
        numbers = members.loc[scored & members["run"].isin(used["run"]), _OF_A_TABLE]
        numbers = numbers.assign(
            data=numbers["data"].where(numbers["protocol"] != TRAINING, COST),
            label=numbers["run"].map(used.set_index("run")["label"]),
        )
        whole = numbers[numbers["part"] == ""]
        comparable = len(used[["hardware", "device"]].drop_duplicates()) < 2
        network = f"{group['architecture']}/{group['encoder']}"
        whole_title = f"{group['dataset']}, {group['supervision']}, {network}, {group['recipe']}"
        found = list(_rows(used, numbers, shared=described.rows == "Score"))
        table = Table(
            f"{described.title}: {whole_title if everything else title(group['config'])}",
            protocol,
            facts_of(runs, f"{protocol} version {version}"),
            columns=_columns(whole, protocol, comparable),
            rows=found if everything else one_score(found),
            incomplete=_incomplete(selection.incomplete, naming),
            rules=legend(used),
            notes=notes_on_seeds(selection.superseded, naming.label) + notes_on_versions(naming.label),
        )
        table.notes += notes_on_targets(whole)
        return _Scored(table, whole, labels_of(runs), comparable, naming.notes)


def _tables_of_group(group: _Group, bootstraps: Bootstraps, view: View) -> list[Table]:
    runs, states = group.runs, group.states
    if view.protocols:
        states = states[states["protocol"].isin(view.protocols)]
    tried = states[states["status"] != "skipped"]
    kept = sorted({*zip(tried["protocol"], tried["version"])}, key=lambda v: (protocols.order(v[0]), v[1]))
    tables = []
    for name, version in kept:
        table = _table(group.scored(name, version), bootstraps, view)
        if others := sorted({*states.loc[states["protocol"] == name, "version"]} - {version}):
            table.notes.append(
                f"mixed versions: there are also runs scored under version {', '.join(others)} of "
                "this protocol; they are in tables of their own and are not comparable"
            )
        tables.append(table)
    if not tables and view.protocols:
        return []
    if tables and view.overviews:
        return [overview(tables, runs)]
    tables = tables or [_bare_table(runs)]
    skipped = states[~states["protocol"].isin(tried["protocol"])]
    reasons = Counter(zip(skipped["protocol"], map(sentence, skipped["reason"])))
    for (name, reason), count in sorted(reasons.items(), key=lambda item: item[0][0]):
        tables[0].notes.append(f"{name} was skipped in {count} run{'s' * (count > 1)}: {reason}")
    return tables


def _bare_table(runs: pd.DataFrame) -> Table:
    """Runs of which no protocol has anything to show."""
    naming = named(runs["variant"])
    failed = runs["run_status"] == "failed"
    why = [sentence(reason or "no protocol was run") for reason in runs["run_reason"]]
    runs = runs.assign(problem=failed.map({True: "failed", False: "not scored"}), why=why)
    facts = facts_of(runs, "none")
    title = f"{facts['data set']}, {facts['supervision']}, {facts['network']}, {facts['recipe']}"
    incomplete = _incomplete(runs, naming)
    return Table(f"Runs without scores: {title}", "none", facts, incomplete=incomplete, notes=naming.notes)


def _table(scored: _Scored, bootstraps: Bootstraps, view: View) -> Table:
    """What a view shows of it, compared. Marks are of the view's columns, so it has cells to itself."""
    rows = [replace(row, cells={key: copy(cell) for key, cell in row.cells.items()}) for row in scored.table.rows]
    table = replace(scored.table, rows=rows)
    primary = _primary_columns(table)
    if not view.everything:
        table.columns = judged_by(table.protocol, table.columns, primary, view)
    rank(table)
    notes = [*table.notes]
    if not scored.comparable and any(column.group == COST for column in table.columns):
        notes.append("times and memory are left out: the runs were made on different hardware")
    notes += scored.notes_on_names
    if bootstraps.resamples:
        notes += compare(table, bootstraps)
    table.notes = list(dict.fromkeys(notes))
    names = [] if view.overviews else table.rules
    table.rules = rules_of(table, primary if not view.overviews else [], scored.labels, scored.whole) + names
    sort_rows(table, primary)
    return table


def _incomplete(runs: pd.DataFrame, naming: Naming) -> list[Incomplete]:
    found: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for variant, status, why, seed in rows(runs[["variant", "problem", "why", "seed"]]):
        found[naming.label[variant], status, why].add(seed)
    return [Incomplete(label, tuple(sorted(seeds)), *why) for (label, *why), seeds in sorted(found.items())]


def _rows(runs: pd.DataFrame, numbers: pd.DataFrame, shared: bool) -> Iterator[Row]:
    """The rows of each variant: its own prediction, which has no name, and the other readings of its checkpoints.

    ``shared``: its anomaly scores, each with what is of all scores of a target, such as the prevalence.
    """
    values: dict[str, dict[str, _Found[ColumnKey]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    whole = numbers.loc[numbers["part"] == "", ["label", "reading", *_KEY, "seed", "value"]]
    for label, reading, target, data, name, seed, value in rows(whole):
        values[label][reading][target, data, name][seed] = value
    ious: dict[str, dict[str, _Found[str]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    by_class = (numbers["metric"] == "iou") & (numbers["part"] != "")
    for label, target, name, seed, value in rows(numbers.loc[by_class, ["label", "target", "part", "seed", "value"]]):
        ious[label][target][name][seed] = value
    for label, of_row in parts(runs, "label"):
        seeds, variant = tuple(of_row["seed"]), of_row["variant"].iloc[0]
        of_all = values[label][""] if shared else {}
        readings = sorted({*values[label]} - {""})
        for reading in (readings or [""]) if shared else ["", *readings]:
            own = values[label][reading]
            cells = {key: Cell.of({**of_all.get(key, {}), **own.get(key, {})}, seeds) for key in {**of_all, **own}}
            run_ids, weights = tuple(of_row["run"]), tuple(of_row["checkpoint"])
            row = Row(label, variant.method, variant.version, reading, seeds, run_ids, cells, weights)
            for target, classes in sorted(ious[label].items()) if shared or not reading else []:
                row.per_class[target] = {name: Cell.of(found, seeds) for name, found in classes.items()}
            yield row


def _columns(numbers: pd.DataFrame, protocol: str, comparable: bool) -> list[Column]:
    """``comparable``: whether time and memory are of the same hardware, and so worth showing."""
    judged = headline(numbers)
    found = [*rows(numbers.drop_duplicates(_KEY))]
    datas: dict[str, set[str]] = defaultdict(set)
    for number in found:
        datas[number.target].add(number.data)
    means = {number.data for number in found if number.over}
    prevalences: dict[tuple[str, str], set[float]] = defaultdict(set)
    for target, data, value in rows(numbers.loc[numbers["metric"] == "prevalence", ["target", "data", "value"]]):
        prevalences[target, data].add(value)
    columns = []
    for number in found:
        target, data = number.target, number.data
        column = metric(number.metric, protocol)
        group, shown = target, column.shown
        if target:
            if len(datas[target]) > 1:
                group += f" [{number.fingerprint[:8]}, {number.classes}]"
            if len(alike := prevalences[target, data]) == 1 and math.isfinite(constant := next(iter(alike))):
                group += f" (prevalence {constant:.2%})"
                shown = shown and number.metric != "prevalence"
        elif data == COST:
            group = COST
            shown = shown and (comparable or number.metric not in _OF_HARDWARE)
        elif number.over:
            group = "summary" + (f" over {number.over}" if len(means) > 1 else "")
        columns.append(Column((target, data, number.metric), group, target, column, shown))

    def place(column: Column) -> tuple[object, ...]:
        target, data, name = column.key
        return not target, target != judged, target, data == COST, data, order(name, protocol)

    return sorted(columns, key=place)


def _primary_columns(table: Table) -> list[Column]:
    """The columns that order the rows."""
    for key in protocols.primary(table.protocol):
        columns = [c for c in table.columns if c.metric.key == key]
        if len(columns) > 1 and not all(c.target for c in columns):
            continue  # summaries over different targets
        if columns:
            return columns[:1] if key == protocols.shown(table.protocol).headline() else columns
    return [c for c in table.columns if c.metric.better is not None][:1]


def _make_titles_unique(tables: list[Table]) -> None:
    """Add to titles that coincide what tells their tables apart."""
    by_title: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        by_title[table.title].append(table)
    for alike in by_title.values():
        keys = dict.fromkeys(key for table in alike for key in table.facts if key not in ("hardware", "commits"))
        varying = [key for key in keys if len({table.facts.get(key) for table in alike}) > 1]
        for table in alike:
            table.title += "".join(f", {key} {table.facts[key]}" for key in varying if key in table.facts)
    seen: Counter[str] = Counter()
    for table in tables:
        seen[table.slug] += 1
        if seen[table.slug] > 1:
            table.title += f" ({seen[table.slug]})"
