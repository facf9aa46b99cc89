"""Methods on the features of a finished run: what such a run takes from it, and what it may not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.common.errors import UserError
from bench.config import grid as sweeps
from bench.config.tables import FeatureSource, Head, recipe_names
from bench.plugins import registry
from bench.records.naming import name
from bench.schema.record import Record
from methods.base import Method
from methods.capabilities import BringsNetwork, ReadsPredictions


def grid(
    record: Record,
    methods: Sequence[type[Method]],
    seeds: Sequence[int],
    changes: Sequence[Mapping[str, Any]],
    assignments: Sequence[str],
) -> sweeps.Grid:
    """The runs of ``methods`` on the network of the finished run ``record``: its data, recipe and, if none, its seed.

    ``changes`` are tables over its configuration, below ``assignments``. Raises UserError for a run that lends no
    network, and for what would be another network or other data.
    """
    source = record.config
    if record.status != "complete" or record.checkpoint_hash is None:
        raise UserError(f"run {record.run_id} has no model ({record.status}); repeat its command first")
    lender = registry.methods.get(source.method_name)
    if issubclass(lender, ReadsPredictions) and source.features is not None:
        raise UserError(f"{record.run_id} reads the predictions of {source.features.run}; give --features that run")
    for method in (lender, *methods):
        if issubclass(method, BringsNetwork):
            raise UserError(f"{method.name} brings its own network; --features is for methods on the shared one")
    parts = {"data": source.data, "network": source.network, "recipe": source.recipe}
    own = {key: part.model_dump(mode="json") for key, part in parts.items()}
    recipe = source.recipe.name if source.recipe.name in recipe_names() else "quick"
    found = sweeps.grid(methods, source.data.name, recipe, seeds or [source.seed], [own, *changes], assignments)
    taken = FeatureSource(run=record.run_id, name=name(source), hash=record.checkpoint_hash)
    for _, config in found.runs:
        if (config.data, config.network) != (source.data, source.network):
            changed = "data" if config.data != source.data else "network"
            raise UserError(f"--features takes the {changed} of {record.run_id}; leave out what changes it")
    head = Head(name=source.method_name, version=source.method_version, settings=source.method)
    update = {"features": taken, "encoder_weights_hash": source.encoder_weights_hash}
    whole = {**update, "features": taken.model_copy(update={"head": head})}
    return found._replace(
        runs=[
            (m, config.model_copy(update=whole if issubclass(m, ReadsPredictions) else update))
            for m, config in found.runs
        ]
    )
