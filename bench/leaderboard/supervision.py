"""Tables by supervision: methods x labels, with dense labels as the upper line.

Each supervision is a group, and so a table, of its own: training from other labels is another experiment. This
table puts the closed-set mIoU of groups side by side that agree in everything else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.leaderboard.columns import Column, ColumnKey, metric
from bench.leaderboard.comparison import rank, ranked_cells, sort_rows
from bench.leaderboard.facts import facts_of
from bench.leaderboard.grouping import DataKey, Group, Variant, definition, flat, named
from bench.leaderboard.labels import SEEDED_RULE, Labels, labels_of
from bench.leaderboard.model import Cell, Row, Table
from bench.leaderboard.selection import headline, select
from bench.leaderboard.statistics import mean_and_std
from bench.records import Record

PROTOCOL = "by-supervision"
"""What ``Table.protocol`` says of these tables; their numbers are of the closed-set protocol."""
BASELINE = "softmax"
"""The method whose result from dense labels is the upper line of all methods."""
_SCORED = "closed-set"

_Place = tuple[str, str]
"""Supervision and source."""
_Runs = dict[_Place, dict[Variant, dict[int, Record]]]


@dataclass(frozen=True)
class _Split:
    """One split as measured: the same images and classes."""

    target: str
    data: str

    def key(self, labels: Labels, name: str) -> ColumnKey:
        return (f"{self.target} from {labels.kind} [{labels.source}]", self.data, name)

    def miou(self, by_seed: Mapping[int, Record]) -> dict[int, float]:
        """By seed, for the runs that measured it."""
        found = {}
        for seed, record in by_seed.items():
            scores = record.protocols[_SCORED].targets.get(self.target)
            value = scores.metrics.get("miou") if scores is not None and definition(scores) == self.data else None
            if value is not None:
                found[seed] = value
        return found


def by_supervision(groups: Mapping[Group, list[Record]]) -> list[Table]:
    """One table for each family of groups that differ in supervision alone, and version of the protocol."""
    families: dict[Group, dict[_Place, list[Record]]] = defaultdict(dict)
    contents: dict[DataKey, set[str]] = defaultdict(set)
    for group in groups:
        if group.data is not None:
            contents[group.data._replace(content="")].add(group.data.content)
    for group, records in groups.items():
        if group.data is not None:
            # Runs from published labels do not say which copy of the images it was: the only known one.
            known = contents[group.data._replace(content="")] - {""}
            content = next(iter(known)) if not group.data.content and len(known) == 1 else group.data.content
            family = replace(group, supervision="", source="", data=group.data._replace(content=content))
            families[family][group.supervision, group.source] = records
    tables = []
    for family, places in families.items():
        versions = {r.protocols[_SCORED].version for rs in places.values() for r in rs if _SCORED in r.protocols}
        for version in sorted(versions):
            runs = {place: dict(select(rs, _SCORED, version).complete) for place, rs in places.items()}
            runs = {place: complete for place, complete in runs.items() if complete}
            if len(runs) > 1:
                tables.append(_table(family, version, runs))
    return tables


def _table(family: Group, version: str, runs: _Runs) -> Table:
    counterparts = _join_counterparts(runs)
    used = [r for by_variant in runs.values() for by_seed in by_variant.values() for r in by_seed.values()]
    table = Table(
        f"By supervision: {family.dataset}, {family.architecture}/{family.encoder}, {family.recipe}",
        PROTOCOL,
        facts_of(family, f"{_SCORED} version {version}", used),
    )
    target = headline(_SCORED, used)
    scored = [r.protocols[_SCORED].targets[target] for r in used if target in r.protocols[_SCORED].targets]
    splits = [_Split(target, data) for data in sorted({definition(scores) for scores in scored})]
    labels = _in_order([labels_of([r for s in by_v.values() for r in s.values()]) for by_v in runs.values()])
    variants = {variant for by_variant in runs.values() for variant in by_variant}
    naming = named(variants)
    names = naming.label
    by_variant = {v: {place: complete[v] for place, complete in runs.items() if v in complete} for v in variants}
    upper = _upper_line(by_variant)
    for variant in sorted(variants, key=lambda v: names[v]):
        table.rows.append(_row(names[variant], variant, by_variant[variant], labels, splits, upper))
    table.columns = _columns(table, labels, splits)
    rank(table)
    # The supervision that most rows have orders them, the one with most labels among equals.
    ranked = [c for c in table.columns if c.metric.better is not None]
    primary = max(ranked, key=lambda c: len(ranked_cells(table, c)), default=None)
    if primary is not None:
        sort_rows(table, [primary])
    table.rules = _rules(labels, primary, upper, splits, names)
    table.notes = [
        f"{names[variant]} from no labels was trained with {settings} and is compared with its own counterpart that "
        "has labels and otherwise the same settings"
        for variant, settings in counterparts.items()
    ]
    table.notes += naming.notes
    return table


def _join_counterparts(runs: _Runs) -> dict[Variant, str]:
    """Move runs without labels into the row of the same settings with labels; returns these rows and what differs.

    A run without labels differs from its counterpart in the settings that let it learn from images alone.
    """
    joined: dict[Variant, str] = {}
    others = {v for (kind, _), complete in runs.items() if kind != "none" for v in complete}
    for (kind, _), complete in runs.items():
        for variant in list(complete) if kind == "none" else []:
            settings = next(iter(complete[variant].values())).supervision.get("without_labels") or {}
            found = [other for other in others if _is_counterpart(variant, other, settings)]
            if len(found) == 1 and found[0] not in complete:
                complete[found[0]] = complete.pop(variant)
                joined[found[0]] = ", ".join(f"{key}={value}" for key, value in settings.items())
    return joined


def _is_counterpart(blind: Variant, other: Variant, settings: Mapping[str, object]) -> bool:
    """Whether two variants differ in the ``settings`` and in nothing else."""
    if (blind.method, blind.version) != (other.method, other.version) or not settings:
        return False
    one, two = flat(json.loads(blind.config)), flat(json.loads(other.config))
    return {k for k in one.keys() | two.keys() if one.get(k) != two.get(k)} == set(settings)


def _in_order(labels: Sequence[Labels]) -> list[Labels]:
    """Dense ones first, then from many labels to few, none last."""
    return sorted(labels, key=lambda s: (s.kind != "dense", s.kind == "none", -(s.share or 0.0), s.kind, s.source))


def _upper_line(by_variant: Mapping[Variant, Mapping[_Place, dict[int, Record]]]) -> dict[int, Record]:
    """The baseline's runs from dense labels; empty unless there is exactly one such row."""
    found = [
        by_seed
        for variant, places in by_variant.items()
        for (kind, _), by_seed in places.items()
        if variant.method == BASELINE and kind == "dense"
    ]
    return found[0] if len(found) == 1 else {}


def _row(
    label: str,
    variant: Variant,
    places: Mapping[_Place, dict[int, Record]],
    labels: Sequence[Labels],
    splits: Sequence[_Split],
    upper: Mapping[int, Record],
) -> Row:
    cells: dict[ColumnKey, Cell] = {}
    own = next((by_seed for (kind, _), by_seed in places.items() if kind == "dense"), {})
    for seen in labels:
        by_seed = dict(sorted(places.get((seen.kind, seen.source), {}).items()))
        for split in splits:
            values = split.miou(by_seed)
            if not values:
                continue
            cells[split.key(seen, "miou")] = Cell(values)
            references = {"share_of_own_dense": {} if seen.kind == "dense" else own, "share_of_upper_line": upper}
            for name, reference in references.items():
                mean = _mean(split.miou(reference))
                if mean:
                    cells[split.key(seen, name)] = Cell({seed: value / mean for seed, value in values.items()})
    records = [record for by_seed in places.values() for record in by_seed.values()]
    return Row(
        label=label,
        method=variant.method,
        version=variant.version,
        score="",
        seeds=tuple(sorted({r.config.seed for r in records})),
        run_ids=tuple(r.run_id for r in records),
        cells=cells,
    )


def _mean(values: Mapping[int, float]) -> float | None:
    return mean_and_std(list(values.values()))[0] if values else None


def _columns(table: Table, labels: Sequence[Labels], splits: Sequence[_Split]) -> list[Column]:
    twice = {s.kind for s in labels if sum(other.kind == s.kind for other in labels) > 1}
    columns = []
    for split in splits:
        for seen in labels:
            group = f"{seen.kind} ({seen.text})" if seen.kind in twice else seen.heading
            if len(splits) > 1:
                group += f" [{split.data.split('|')[3][:8]}]"
            for name in ("miou", "share_of_own_dense", "share_of_upper_line"):
                key = split.key(seen, name)
                if any(key in row.cells for row in table.rows):
                    columns.append(Column(key, group, split.target, metric(name), labels=seen))
    return columns


def _rules(
    labels: Sequence[Labels],
    primary: Column | None,
    upper: Mapping[int, Record],
    splits: Sequence[_Split],
    names: Mapping[Variant, str],
) -> list[str]:
    rules = [
        f"mIoU on {', '.join(sorted({s.target for s in splits}))}: mean ± sample standard deviation (ddof = 1) over n "
        "seeds, in per cent; a mIoU of fewer seeds than its row's shows its own n. Best of each supervision in bold, "
        "second underlined, by the printed digits; which differences are significant is marked in its own table.",
        "Shares are of mean mIoU: of the same row's from dense labels, and of the upper line. Their ± is that of the "
        "runs from these labels alone.",
    ]
    for split in splits:
        values = list(split.miou(upper).values())
        if values:
            mean, std = mean_and_std(values)
            spread = "" if std is None else f" ± {100 * std:.2f}"
            seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
            rules.append(f"Upper line: {BASELINE} from dense labels, {100 * mean:.2f}{spread} ({seeds}).")
    if primary is not None and primary.labels is not None:
        rules.append(f"Rows are ordered by mIoU from {primary.labels.kind} labels.")
    rules += [f"{seen.kind}: {seen.text}." for seen in labels if seen.text]
    if any(seen.seeded for seen in labels):
        rules.append(SEEDED_RULE)
    return rules
