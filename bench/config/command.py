"""The command that gives a configuration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from bench.config.tables import NOT_OF_THE_RESULT, TABLES, RunConfig, build, parse_value, recipe_names


def command(config: RunConfig, method: Any, execution: bool = False) -> str:
    """``bench run`` with what tells ``config`` from the recipe of its name, and the defaults of ``method``, its class.

    With ``execution`` also how it is loaded, logged and saved.

    Raises UserError where the recipe or the method refuse today what the run was given.
    """
    recipe = config.recipe.name if config.recipe.name in recipe_names() else "quick"
    base = build(method, config.data.name, recipe, config.seed, [{"data": {"supervision": config.data.supervision}}])
    words = ["--method", config.method_name]
    tables: tuple[str, ...] = ("method",)
    if config.features is not None:
        words += ["--features", config.features.run]
    else:
        words += ["--dataset", config.data.name, "--recipe", recipe, "--seed", str(config.seed)]
        tables += (*TABLES,)
        if config.data.supervision != "dense":
            words += ["--supervision", config.data.supervision]
    own, usual = config.model_dump(mode="json"), base.model_dump(mode="json")
    for table in tables:
        for key, value in _changes(own[table], usual[table], table):
            if key.rpartition(".")[2] not in NOT_OF_THE_RESULT or (execution and key != "recipe.description"):
                words += ["--set", f"{key}={_text(value)}"]
    return shlex.join(["bench", "run", *words])


def _changes(own: Mapping[str, Any], usual: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in own.items():
        if isinstance(value, Mapping) and value:
            yield from _changes(value, usual.get(key) or {}, f"{prefix}.{key}")
        elif usual.get(key, ...) != value:
            yield f"{prefix}.{key}", value


def _text(value: Any) -> str:
    if value is None:
        return "none"
    plain = isinstance(value, str) and parse_value(value) == value and "," not in value
    return value if plain else json.dumps(value)
