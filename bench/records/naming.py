"""What people call a configuration: in full by all settings that are not defaults, and in short for tables.

Short names are the method and the words among these settings: ``gss (codec=patch, hidden=128)`` is ``gss-patch``. They
are the same wherever the configuration is shown. Only where two rows of a table would be called alike, the settings in
which they differ stand in brackets.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.config.tables import RunConfig
from bench.plugins import registry

NAMED_SETTINGS = 3
"""A label names all settings in which rows of one short name differ if they are at most this many."""

_WORD = re.compile(r"(?<!region_maps)=(?!(?:true|false|null)\b)([A-Za-z][\w-]*)(?=[,)])")
"""A setting's value that is a word, neither a number nor a switch, a file or a hash."""

PARTIAL = " on partial data"
"""After the name of runs that accepted fewer images than a data set's release has."""

_ABSENT = "\0absent"


@dataclass(frozen=True)
class Variant:
    """Everything but the seed that the runs of a row share."""

    method: str
    version: str
    config: str
    """The method's configuration as canonical JSON."""
    keys: tuple[str, ...] = field(default=(), compare=False)
    """Its settings in the order in which the method declares them."""
    partial: bool = False
    """Whether fewer images than a data set's release has were accepted."""
    features: str = ""
    """Of the run, by its configuration's name, on the network of which it was fitted, if that was not trained."""
    words: tuple[str, ...] = field(default=(), compare=False)
    """Of its settings, in its short name."""

    @classmethod
    def of(cls, config: RunConfig, configuration: str = "") -> Variant:
        """The variant that a run of ``config`` is of; ``configuration`` is what a record calls it."""
        regions = {} if config.regions_hash is None else {"region_maps": config.regions_hash[:8]}
        files = {key: f"{config.method[key]}@{digest[:8]}" for key, digest in config.method_files.items()}
        settings, partial = {**config.method, **files, **regions}, config.data.allow_partial
        features = "" if config.features is None else config.features.name
        keys = tuple(flat(settings))
        words = _words(configuration)
        return cls(config.method_name, config.method_version, canonical(settings), keys, partial, features, words)

    def called(self, parts: str = "") -> str:
        """The short name with the ``parts`` of its settings that tell it, and what else a row must not leave out."""
        label = "-".join([self.method, *self.words]) + (f" ({parts})" if parts else "")
        return label + (f" on {short(self.features)}" if self.features else "") + PARTIAL * self.partial


def short(configuration: str) -> str:
    """The short name of what a record calls ``configuration``, which has no features of another run."""
    names = [configuration.partition(" ")[0], *_words(configuration)]
    return "-".join(names) + PARTIAL * configuration.endswith(PARTIAL)


def _words(configuration: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(configuration.partition(" on ")[0]))


def name(config: RunConfig) -> str:
    """What people call a configuration by itself: the method, and the fewest settings from which all others follow.

    All settings, where the method is not installed or refuses them.
    """
    variant = Variant.of(config)
    own: dict[str, Any] = json.loads(variant.config)
    told = {key: own[key] for key in config.method}
    regions = {key: own[key] for key in own.keys() - told.keys()}
    for key in config.method:
        given = {other: config.method[other] for other in told if other != key}
        if config.method.items() <= with_defaults(config.method_name, given).items():
            del told[key]
    version = {} if config.method_version == "1" else {"version": config.method_version}
    settings = {**version, **flat({**told, **regions})}
    parts = _listed(settings, settings)
    return variant.called(parts)


def with_defaults(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of ``method`` where these are ``given``; empty if it is not installed or refuses them."""
    known = registry.methods.known(method)
    try:
        return {} if known is None else known.Config.model_validate(dict(given)).model_dump(mode="json")
    except Exception:  # noqa: BLE001 - a plugin may raise anything
        return {}


@dataclass(frozen=True)
class Naming:
    """How the rows of a table are called."""

    label: dict[Variant, str]
    """The short name, and the settings that tell a variant from others of that name in the table."""
    notes: list[str]
    """The settings in which variants differ and which their labels leave out."""


def named(variants: Iterable[Variant]) -> Naming:
    """Names for the ``variants`` that stand beside each other, all different."""
    by_name: dict[str, list[Variant]] = defaultdict(list)
    for variant in sorted(set(variants), key=lambda v: (v.method, v.features, v.version, v.config, v.partial)):
        by_name[variant.called()].append(variant)
    naming = Naming({}, [])
    for name, members in by_name.items():
        settings = {v: flat(json.loads(v.config)) for v in members}
        for key in ("version", "features"):
            if len({getattr(v, key) for v in members}) > 1:
                settings = {v: {key: getattr(v, key), **found} for v, found in settings.items()}
        keys = list(dict.fromkeys(k for v in members for k in ("version", *v.keys, *settings[v])))
        varying = [k for k in keys if len({_text_of(found, k) for found in settings.values()}) > 1]
        many = len(varying) > NAMED_SETTINGS
        telling = fewest_that_tell(list(settings.values()), varying) if many else varying
        for variant, found in settings.items():
            parts = _listed(found, telling)
            naming.label[variant] = variant.called(parts)
            if rest := _listed(found, [k for k in varying if k not in telling]):
                naming.notes.append(f"{naming.label[variant]} differs from other rows of {name} also in {rest}")
    return naming


def fewest_that_tell(settings: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """A small choice of the ``varying`` keys, in their order, by which all ``settings`` are told apart.

    Greedy: always the key that leaves the fewest alike, the first declared of equals.
    """
    chosen: list[str] = []

    def kinds(keys: Sequence[str]) -> int:
        return len({tuple(_text_of(found, key) for key in keys) for found in settings})

    while kinds(chosen) < kinds(varying):
        chosen.append(max((k for k in varying if k not in chosen), key=lambda k: kinds([*chosen, k])))
    return [key for key in varying if key in chosen]


def _text_of(settings: Mapping[str, Any], key: str) -> str:
    return canonical(settings.get(key, _ABSENT))


def _listed(settings: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(
        f"version {settings[key]}" if key == "version" else f"{key}={_plain(settings[key])}"
        for key in keys
        if key in settings
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)


def canonical(value: Any) -> str:
    """``value`` as the one JSON text that equal values share."""
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
