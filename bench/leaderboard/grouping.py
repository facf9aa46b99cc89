"""Which runs may be compared, and which are the same thing run again."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bench.config import NOT_OF_THE_RESULT
from bench.leaderboard.labels import is_published, source_of
from bench.records import DatasetInfo, ProtocolResult, Record, Scores


class DataKey(NamedTuple):
    """What makes a split the same data."""

    name: str
    split: str
    images: int
    fingerprint: str
    content: str
    """Hash of its files; empty where no record knows it."""


_ABSENT = "\0absent"

NAMED_SETTINGS = 3
"""A label names all settings in which a method's rows differ if they are at most this many."""


@dataclass(frozen=True)
class Group:
    """Everything but the protocol that the runs of a table share."""

    dataset: str
    supervision: str
    source: str
    """Where the labels come from: published and derived labels of one kind are not the same labels."""
    architecture: str
    encoder: str
    weights: str
    weights_hash: str
    recipe: str
    recipe_hash: str
    inference: str
    ranks: int
    data: DataKey | None
    """None for a run that failed before it saw the data."""


@dataclass(frozen=True)
class Variant:
    """Everything but the seed that the runs of a row share."""

    method: str
    version: str
    config: str
    """The method's configuration as canonical JSON."""
    keys: tuple[str, ...] = field(default=(), compare=False)
    """Its settings in the order in which the method declares them."""


@dataclass(frozen=True)
class Naming:
    """How the rows of a table are called."""

    label: dict[Variant, str]
    """The method's name, and the settings that tell a variant from the method's others in the table."""
    notes: list[str]
    """The settings in which variants differ and which their labels leave out."""


def group_of(record: Record) -> Group:
    """The group that ``record`` belongs to."""
    config = record.config
    recipe = config.recipe.model_dump(mode="json", exclude=set(NOT_OF_THE_RESULT))
    return Group(
        dataset=config.data.name,
        supervision=config.data.supervision,
        source=source_of(record),
        architecture=config.network.architecture_label(),
        encoder=config.network.encoder,
        weights=record.encoder_weights,
        weights_hash=config.encoder_weights_hash or "",
        recipe=config.recipe.name,
        recipe_hash=hashlib.sha256(_canonical(recipe).encode()).hexdigest()[:8],
        inference=record.inference,
        ranks=record.environment.ranks,
        data=training_data(record),
    )


def variant_of(record: Record) -> Variant:
    """The row that ``record`` belongs to."""
    config = record.config
    regions = {} if config.regions_hash is None else {"region_maps": config.regions_hash[:8]}
    files = {key: f"{config.method[key]}@{digest[:8]}" for key, digest in config.method_files.items()}
    settings = {**config.method, **files, **regions}
    return Variant(config.method_name, config.method_version, _canonical(settings), tuple(flat(settings)))


def named(variants: Iterable[Variant]) -> Naming:
    """Names for the ``variants`` that share a table, all different."""
    by_method: dict[str, list[Variant]] = defaultdict(list)
    for variant in sorted(set(variants), key=lambda v: (v.method, v.version, v.config)):
        by_method[variant.method].append(variant)
    naming = Naming({}, [])
    for method, members in by_method.items():
        settings = {v: flat(json.loads(v.config)) for v in members}
        if len({v.version for v in members}) > 1:
            settings = {v: {"version": v.version, **found} for v, found in settings.items()}
        keys = list(dict.fromkeys(k for v in members for k in ("version", *v.keys, *settings[v])))
        varying = [k for k in keys if len({_said(found, k) for found in settings.values()}) > 1]
        many = len(varying) > NAMED_SETTINGS
        telling = _telling(list(settings.values()), varying) if many else varying
        for variant, found in settings.items():
            parts = _listed(found, telling)
            naming.label[variant] = f"{method} ({parts})" if parts else method
            if rest := _listed(found, [k for k in varying if k not in telling]):
                naming.notes.append(f"{naming.label[variant]} differs from other rows of {method} also in {rest}")
    return naming


def _telling(settings: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """A small choice of the ``varying`` keys, in their order, by which all ``settings`` are told apart.

    Greedy: always the key that leaves the fewest alike, the first declared of equals.
    """
    chosen: list[str] = []

    def kinds(keys: Sequence[str]) -> int:
        return len({tuple(_said(found, key) for key in keys) for found in settings})

    while kinds(chosen) < kinds(varying):
        chosen.append(max((k for k in varying if k not in chosen), key=lambda k: kinds([*chosen, k])))
    return [key for key in varying if key in chosen]


def _said(settings: Mapping[str, Any], key: str) -> str:
    return _canonical(settings.get(key, _ABSENT))


def _listed(settings: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(
        f"version {settings[key]}" if key == "version" else f"{key}={_plain(settings[key])}"
        for key in keys
        if key in settings
    )


def grouped(records: Sequence[Record]) -> dict[Group, list[Record]]:
    """The records by group, in the order of the tables."""
    groups: dict[Group, list[Record]] = defaultdict(list)
    for record in records:
        groups[group_of(record)].append(record)
    # A run that failed before it saw the data belongs wherever the rest fits.
    for group in [g for g in groups if g.data is None]:
        hosts = [g for g in groups if g.data is not None and replace(g, data=None, source="") == group]
        homeless = [r for r in groups[group] if r.status == "failed"]
        if hosts and len(homeless) == len(groups[group]):
            for host in hosts:
                groups[host] += homeless
            del groups[group]
    return dict(sorted(groups.items(), key=lambda item: json.dumps(list(vars(item[0]).values()))))


def training_data(record: Record) -> DataKey | None:
    """What makes runs be of the same training data; the files of published labels belong to their source."""
    if record.data is None:
        return None
    key = _data_key(record.data)
    return key._replace(content="") if is_published(record) else key


def _data_key(data: DatasetInfo) -> DataKey:
    return DataKey(data.name, data.split, data.images, data.fingerprint, data.content or "")


def definition(scores: Scores) -> str:
    """What makes scores the same measurement, besides the protocol: the images, the classes averaged over."""
    classes = sorted(scores.per_class.get("iou", ()))
    digest = hashlib.sha256("\n".join(classes).encode()).hexdigest()[:6]
    return "|".join(map(str, (*_data_key(scores.dataset), f"{len(classes)} classes {digest}")))


def with_known_content(records: Sequence[Record]) -> list[Record]:
    """``records`` in which data whose files nobody hashed, as older records have it, has the one hash known of it.

    Where several are known (a set and a re-encoded copy of it), it stays without: nobody can tell which it was.
    """
    known: dict[tuple[DataKey, str], set[str]] = defaultdict(set)

    def place(data: DatasetInfo, labels: str = "") -> tuple[DataKey, str]:
        return _data_key(data)._replace(content=""), labels

    def labels(record: Record) -> str:
        return record.supervision["source"] if is_published(record) else ""

    for record in records:
        seen = [] if record.data is None else [(record.data, labels(record))]
        seen += [(s.dataset, "") for result in record.protocols.values() for s in result.targets.values()]
        for data, published in seen:
            if data.content is not None:
                known[place(data, published)].add(data.content)

    def completed(data: DatasetInfo, published: str = "") -> DatasetInfo:
        found = known[place(data, published)]
        return data.model_copy(update={"content": next(iter(found))}) if len(found) == 1 else data

    def scored(result: ProtocolResult) -> ProtocolResult:
        targets = {t: s.model_copy(update={"dataset": completed(s.dataset)}) for t, s in result.targets.items()}
        return result.model_copy(update={"targets": targets})

    return [
        record.model_copy(
            update={
                "data": None if record.data is None else completed(record.data, labels(record)),
                "protocols": {name: scored(result) for name, result in record.protocols.items()},
            }
        )
        for record in records
    ]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted key."""
    result: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _canonical(value)
