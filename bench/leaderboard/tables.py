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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeGuard

from bench.leaderboard import protocols
from bench.leaderboard import statistics as stats
from bench.leaderboard.columns import Column, ColumnKey, metric, order
from bench.leaderboard.comparison import Statistics, compare, rank, sort_rows
from bench.leaderboard.facts import facts_of
from bench.leaderboard.grouping import Group, Variant, definition, grouped, named, variant_of, with_known_content
from bench.leaderboard.labels import SEEDED_RULE, labels_of
from bench.leaderboard.model import Cell, Incomplete, Row, Table
from bench.leaderboard.published import load, matching, shares_of_supervised
from bench.leaderboard.selection import first_reason, headline, select, sentence
from bench.leaderboard.supervision import by_supervision
from bench.records import ProtocolResult, Record


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
        statistics: arrays per image by run id (``Store.read_statistics``); asked once per run and table.
        published: show published figures beside tables of the same data, or also all of them in a table of
            their own, or none.
        resamples: bootstrap samples of the images; 0 for no comparison.
    """
    entries = load() if published != "none" else []
    tables = []
    groups = grouped(with_known_content(records))
    for group, members in groups.items():
        tables += _tables_of_group(group, members, statistics, resamples)
    across = by_supervision(groups)
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


def _tables_of_group(group: Group, records: list[Record], statistics: Statistics, resamples: int) -> list[Table]:
    versions: set[tuple[str, str]] = set()
    skipped: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for name, result in record.protocols.items():
            versions.add((name, result.version))
            if result.status == "skipped":
                skipped[name][sentence(result.reason)] += 1
    kept = [
        (name, version)
        for name, version in sorted(versions, key=lambda v: (protocols.order(v[0]), v[1]))
        if any(_has(r, name, version) and r.protocols[name].status != "skipped" for r in records)
    ]
    tables = [_table(group, name, version, records, statistics, resamples) for name, version in kept]
    if not tables:
        tables = [_bare_table(group, records)]
    for name, version in kept:
        others = sorted({v for n, v in versions if n == name} - {version})
        if others:
            for table in tables:
                if table.protocol == name and table.facts["protocol"] == f"{name} version {version}":
                    table.notes.append(
                        f"mixed versions: there are also runs scored under version {', '.join(others)} of "
                        "this protocol; they are in tables of their own and are not comparable"
                    )
    for name in sorted(skipped):
        if name not in {kept_name for kept_name, _ in kept}:
            for reason, count in skipped[name].items():
                tables[0].notes.append(f"{name} was skipped in {count} run{'s' * (count > 1)}: {reason}")
    return tables


def _bare_table(group: Group, records: list[Record]) -> Table:
    """Runs of which no protocol has anything to show."""
    naming = named(map(variant_of, records))
    table = Table("Runs without scores", "none", facts_of(group, "none", records))
    table.incomplete = _merge_incomplete(
        Incomplete(
            naming.label[variant_of(r)],
            (r.config.seed,),
            "failed" if r.status == "failed" else "not scored",
            sentence(r.reason or first_reason(r) or "no protocol was run"),
        )
        for r in records
    )
    table.notes = naming.notes
    return table


def _table(
    group: Group, protocol: str, version: str, records: list[Record], statistics: Statistics, resamples: int
) -> Table:
    selection = select(records, protocol, version)
    complete, used = selection.complete, selection.used
    naming = named(map(variant_of, [*used, *(record for record, _, _ in selection.incomplete)]))
    labels = naming.label
    notes = [
        f"{labels[variant_of(newest)]}: seed {newest.config.seed} was run more than once; {newest.run_id} is the "
        f"newest and counts, {earlier.run_id} does not"
        for earlier, newest in selection.superseded
    ]
    table = Table(
        f"{protocols.shown(protocol).title}: {group.dataset}, {group.supervision}, "
        f"{group.architecture}/{group.encoder}, {group.recipe}",
        protocol,
        facts_of(group, f"{protocol} version {version}", used or records),
    )
    table.incomplete = _merge_incomplete(
        Incomplete(labels[variant_of(record)], (record.config.seed,), status, reason)
        for record, status, reason in selection.incomplete
    )
    runs: list[tuple[list[Row], list[Record]]] = []
    for variant in sorted(complete, key=lambda v: labels[v]):
        by_seed = dict(sorted(complete[variant].items()))
        scores = _scores_of(protocol, by_seed.values())
        rows = [_row(labels[variant], variant, score, protocol, by_seed) for score in scores]
        table.rows += rows
        runs.append((rows, list(by_seed.values())))
    table.columns = _columns(protocol, used)
    rank(table)
    notes += _version_notes(table, labels) + _score_notes(used, protocol)
    _hide_incomparable_costs(table, used, notes)
    notes += naming.notes
    if resamples:
        notes += compare(table, runs, statistics, resamples)
    table.notes = list(dict.fromkeys(notes))
    table.rules = _rules(table, resamples)
    if labels_of(records).seeded:
        table.rules.append(SEEDED_RULE)
    sort_rows(table, _primary_columns(table))
    return table


# What a run contributes


def _has(record: Record, protocol: str, version: str) -> bool:
    return protocol in record.protocols and record.protocols[protocol].version == version


def _merge_incomplete(items: Iterable[Incomplete]) -> list[Incomplete]:
    seeds: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for item in items:
        seeds[item.label, item.status, item.reason].update(item.seeds)
    return [
        Incomplete(label, tuple(sorted(found)), status, reason)
        for (label, status, reason), found in sorted(seeds.items())
    ]


def _scores_of(protocol: str, records: Iterable[Record]) -> list[str]:
    """The anomaly scores of a variant; elsewhere its own prediction, which has no name, and its other readings."""
    targets = [scores for record in records for scores in record.protocols[protocol].targets.values()]
    if protocol == "anomaly":
        return sorted({score for scores in targets for score in scores.by_score}) or [""]
    return ["", *sorted({reading for scores in targets for reading in scores.by_reading})]


def _values(record: Record, protocol: str, score: str) -> dict[ColumnKey, float | None]:
    """Every number of a run under a protocol by column."""
    result = record.protocols[protocol]
    values: dict[ColumnKey, float | None] = {}
    other_reading = score != "" and protocol != "anomaly"
    for target, scores in result.targets.items():
        own = {**scores.metrics, **scores.by_score.get(score, {})}
        for key, value in (scores.by_reading.get(score, {}) if other_reading else own).items():
            values[target, definition(scores), key] = value
    for key, value in (result.summary_by_reading.get(score, {}) if other_reading else result.summary).items():
        if key != protocols.shown(protocol).headline:
            values[_summary_key(key, result)] = value
    if protocol == "closed-set" and record.training is not None and not other_reading:
        training = record.training
        values["", "cost", "parameters"] = training.parameters / 1e6
        values["", "cost", "seconds"] = training.seconds / 60
        values["", "cost", "images_per_second"] = training.images_per_second
        values["", "cost", "peak_memory_mb"] = training.peak_memory_mb
    return values


def _summary_key(key: str, result: ProtocolResult) -> ColumnKey:
    # A mean over other targets is a different number; the same checkpoint's mIoU does not depend on them.
    if key == "closed_set_miou":
        return ("", "", key)
    targets = sorted(f"{target}|{definition(scores)}" for target, scores in result.targets.items())
    return ("", "\n".join(targets), key)


def _row(label: str, variant: Variant, score: str, protocol: str, by_seed: dict[int, Record]) -> Row:
    found = {seed: _values(record, protocol, score) for seed, record in by_seed.items()}
    keys = {key for values in found.values() for key in values}
    cells = {}
    for key in keys:
        defined = {s: float(v) for s, values in found.items() if _is_number(v := values.get(key))}
        undefined = tuple(s for s in found if s not in defined)
        cells[key] = Cell(defined, undefined)
    per_class: dict[str, dict[str, tuple[float | None, ...]]] = {}
    targets = {t for r in by_seed.values() for t in r.protocols[protocol].targets}
    for target in sorted(targets if protocol == "anomaly" or not score else ()):
        found_here = [r.protocols[protocol].targets.get(target) for r in by_seed.values()]
        ious = [{} if scores is None else scores.per_class.get("iou", {}) for scores in found_here]
        names = list(dict.fromkeys(name for iou in ious for name in iou))
        if names:
            per_class[target] = {name: tuple(iou.get(name) for iou in ious) for name in names}
    return Row(
        label=label,
        method=variant.method,
        version=variant.version,
        score=score,
        seeds=tuple(by_seed),
        run_ids=tuple(r.run_id for r in by_seed.values()),
        cells=cells,
        per_class=per_class,
    )


# Columns


def _columns(protocol: str, records: list[Record]) -> list[Column]:
    found: dict[ColumnKey, set[float]] = defaultdict(set)
    for record in records:
        for score in _scores_of(protocol, [record]):
            for key, value in _values(record, protocol, score).items():
                found[key].add(float(value) if _is_number(value) else math.nan)
    datas: dict[str, set[str]] = defaultdict(set)
    for target, data, _ in found:
        if target:
            datas[target].add(data)
    summaries = {data for target, data, key in found if not target and data and data != "cost"}
    columns = []
    judged = headline(protocol, records)
    for key in sorted(found, key=lambda k: (not k[0], k[0] != judged, k[0], k[1] == "cost", k[1], order(k[2]))):
        target, data, name = key
        column = metric(name)
        shown = column.shown
        group = target
        if target:
            prevalences = found.get((target, data, "prevalence"), set())
            constant = len(prevalences) == 1
            if len(datas[target]) > 1:
                group += f" [{data.split('|')[3][:8]}, {data.rpartition('|')[2]}]"
            if constant and not math.isnan(prevalence := next(iter(prevalences))):
                group += f" (prevalence {prevalence:.2%})"
                shown = shown and name != "prevalence"
        elif data == "cost":
            group = "cost"
        elif data:
            group = "summary"
            if len(summaries) > 1:
                group += " over " + ", ".join(part.partition("|")[0] for part in data.split("\n"))
        columns.append(Column(key, group, target, column, shown))
    return columns


def _hide_incomparable_costs(table: Table, records: list[Record], notes: list[str]) -> None:
    hardware = {(r.environment.hardware, r.environment.device) for r in records}
    if len(hardware) > 1:
        hidden = {"seconds", "images_per_second", "peak_memory_mb"}
        table.columns = [
            replace(c, shown=False) if c.group == "cost" and c.metric.key in hidden else c for c in table.columns
        ]
        if any(c.group == "cost" for c in table.columns):
            notes.append("training time and memory are left out: the runs were made on different hardware")


def _primary_columns(table: Table) -> list[Column]:
    """The columns that order the rows."""
    layout = protocols.shown(table.protocol)
    for key in layout.primary:
        columns = [c for c in table.columns if c.metric.key == key]
        if key == "harmonic_mean" and len(columns) != 1:
            continue
        if columns:
            return columns[:1] if key == layout.headline else columns
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


def _version_notes(table: Table, labels: Mapping[Variant, str]) -> list[str]:
    versions: dict[str, set[str]] = defaultdict(set)
    for variant in labels:
        versions[variant.method].add(variant.version)
    return [
        f"mixed versions: {method} was run at versions {', '.join(sorted(found))}; they are separate rows"
        for method, found in sorted(versions.items())
        if len(found) > 1
    ]


def _score_notes(records: list[Record], protocol: str) -> list[str]:
    notes: dict[str, set[str]] = defaultdict(set)
    targets: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for target, scores in record.protocols[protocol].targets.items():
            targets[target].add(definition(scores))
            for note in scores.notes:
                notes[f"{target}: {sentence(note)}"].add(record.config.method_name)
    everyone = {r.config.method_name for r in records}
    found = [
        note if methods == everyone else f"{note} ({', '.join(sorted(methods))})"
        for note, methods in sorted(notes.items())
    ]
    for target, data in sorted(targets.items()):
        if len(data) > 1:
            found.append(f"{target} was not the same images or classes in all runs: columns for each, not comparable")
    return found


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
    if table.protocol != "anomaly" and table.has_scores:
        rules.append(
            "A row with a reading is the checkpoint of the method's own row, its class scores taken in another way."
        )
    if table.protocol == "anomaly":
        rules.append("Prevalence is the AP of chance. Scores of one method come from one checkpoint.")
    return rules


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
