"""``--set key=5,10,25``: several values for a field that takes one make a grid of runs.

A field that is itself a list keeps its meaning and TOML's notation, ``[128, 256]``; a comma inside one value is quoted,
``'"a,b"'``. Several swept keys make the product of their values, with the last one changing fastest.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from bench.common.errors import UserError
from bench.config.tables import NO_TOML, TABLES, RunConfig, build, merge, nested, parse_value, split_assignment
from methods.base import Method


class Grid(NamedTuple):
    """The runs of one command."""

    runs: list[tuple[type[Method], RunConfig]]
    swept: list[str]
    """The keys with several values."""


def grid(
    methods: Sequence[type[Method]],
    dataset: str,
    recipe: str,
    seeds: Sequence[int],
    overrides: Sequence[Mapping[str, Any]],
    assignments: Iterable[str],
) -> Grid:
    """Every combination of methods, swept values and seeds, all validated.

    ``overrides`` are laid below the ``assignments``. Raises UserError naming the first key that does not fit one of the
    methods, or a sweep that makes the same run twice.
    """
    assignments = list(assignments)
    runs: dict[str, tuple[type[Method], RunConfig]] = {}
    swept: dict[str, None] = {}
    for method in methods:
        options = _options(method, assignments)
        several = [key for key, values in options.items() if len(values) > 1]
        swept.update(dict.fromkeys(several))
        for values in itertools.product(*options.values()):
            table: dict[str, Any] = {}
            for key, value in zip(options, values):
                table = merge(table, nested(key, value))
            _require_settings(method, methods, [*overrides, table])
            for seed in seeds:
                config = build(method, dataset, recipe, seed, [*overrides, table])
                if config.fingerprint() in runs:
                    raise UserError(
                        f"the values of {' and '.join(several)} make run {config.run_id()} more than once; give values "
                        "that differ, of a key that can change the result"
                    )
                runs[config.fingerprint()] = method, config
    return Grid(list(runs.values()), list(swept))


def _require_settings(
    method: type[Method], methods: Sequence[type[Method]], overrides: Iterable[Mapping[str, Any]]
) -> None:
    """Raises UserError for a setting that ``method`` has not but another of ``methods`` has."""
    for table in overrides:
        settings = table.get("method")
        for key in settings if isinstance(settings, Mapping) else ():
            owners = [m.name for m in methods if key in m.Config.model_fields]
            if owners and key not in method.Config.model_fields:
                has, its = ("has", "its") if len(owners) == 1 else ("have", "their")
                raise UserError(
                    f"unknown key 'method.{key}' of {method.name}: only {' and '.join(owners)} {has} it here; run "
                    f"{' and '.join(owners)} by {its} own command"
                )


def _options(method: type[Method], assignments: Iterable[str]) -> dict[str, list[Any]]:
    """The values of each assigned key; a later assignment of a key replaces an earlier one."""
    options: dict[str, list[Any]] = {}
    for assignment in assignments:
        key, text = split_assignment(assignment)
        values = _values(key, text) if "," in text and _takes_one_value(method, key) else None
        options.pop(key, None)
        options[key] = [parse_value(text)] if values is None else values
    return options


def _values(key: str, text: str) -> list[Any] | None:
    """The values of a comma list in their order, each once; None if ``text`` is one value, such as a quoted text."""
    try:
        tomllib.loads(f"value = {text}")
        return None
    except NO_TOML:
        pass
    if any(not part.strip() for part in text.split(",")):
        raise UserError(f"--set {key}={text} has an empty value between its commas; write --set {key}=A,B,C")
    try:
        values = tomllib.loads(f"value = [{text}]")["value"]
    except NO_TOML:
        values = [parse_value(part.strip()) for part in text.split(",")]
    return list({json.dumps(value, default=str): value for value in values}.values())


def _takes_one_value(method: type[Method], key: str) -> bool:
    """Whether the field is a scalar; an unknown one counts as such, for its own error to name it."""
    first, *rest = key.split(".")
    annotation: Any = {**TABLES, "method": method.Config}.get(first)
    for name in rest:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(name)
            annotation = None if field is None else field.annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            annotation = None
    return annotation is None or _is_scalar(annotation)


def _is_scalar(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return all(_is_scalar(part) for part in get_args(annotation))
    if origin is Annotated:
        return _is_scalar(get_args(annotation)[0])
    return origin is Literal or annotation in (int, float, str, bool, NoneType)
