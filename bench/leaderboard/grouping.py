"""Which runs may be compared, and which are the same thing run again."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.config import NOT_OF_THE_RESULT
from bench.leaderboard.labels import source_of
from bench.records import DatasetInfo, Record, Scores

DataKey = tuple[str, str, int, str]
"""Name, split, number of images, fingerprint."""

_ABSENT = "\0absent"


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
        data=data_key(record.data),
    )


def variant_of(record: Record) -> Variant:
    """The row that ``record`` belongs to."""
    config = record.config
    regions = {} if config.regions_hash is None else {"region_maps": config.regions_hash[:8]}
    files = {key: f"{config.method[key]}@{digest[:8]}" for key, digest in config.method_files.items()}
    return Variant(config.method_name, config.method_version, _canonical({**config.method, **files, **regions}))


def variant_labels(variants: Iterable[Variant]) -> dict[Variant, str]:
    """A name for each variant: the method's, and what tells it from its other variants in the table."""
    by_method: dict[str, list[Variant]] = defaultdict(list)
    for variant in sorted(set(variants), key=lambda v: (v.method, v.version, v.config)):
        by_method[variant.method].append(variant)
    labels = {}
    for method, members in by_method.items():
        configs = {v: flat(json.loads(v.config)) for v in members}
        keys = sorted({key for config in configs.values() for key in config})
        varying = [k for k in keys if len({_canonical(c.get(k, _ABSENT)) for c in configs.values()}) > 1]
        mixed_versions = len({v.version for v in members}) > 1
        for variant, config in configs.items():
            parts = [f"version {variant.version}"] if mixed_versions else []
            parts += [f"{key}={_plain(config[key])}" for key in varying if key in config]
            labels[variant] = f"{method} ({', '.join(parts)})" if parts else method
    return labels


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


def data_key(data: DatasetInfo | None) -> DataKey | None:
    """What makes a split the same images."""
    return None if data is None else (data.name, data.split, data.images, data.fingerprint)


def definition(scores: Scores) -> str:
    """What makes scores the same measurement, besides the protocol: the images, the classes averaged over."""
    data = scores.dataset
    classes = sorted(scores.per_class.get("iou", ()))
    digest = hashlib.sha256("\n".join(classes).encode()).hexdigest()[:6]
    return f"{data.name}|{data.split}|{data.images}|{data.fingerprint}|{len(classes)} classes {digest}"


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
