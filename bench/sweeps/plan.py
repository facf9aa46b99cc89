"""Which runs a grid's file asks for, each as the line of `bench run` that makes it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from bench.common import files
from bench.common.errors import UserError
from bench.config import grid as grids
from bench.config.command import command
from bench.config.tables import Part, RunConfig, merge, nested, read_toml, validate
from bench.plugins import registry
from bench.records.store import Store


class Grid(Part):
    """The product of these lists."""

    methods: list[str] = Field(min_length=1, description="methods")
    datasets: list[str] = Field(min_length=1, description="data sets to train on")
    supervisions: list[str] = Field(["dense"], min_length=1, description="labels that training may see")
    seeds: list[int] = Field([0], min_length=1, description="seeds")
    recipe: str = Field("quick", description="a recipe's name, or a TOML file")
    set: list[str] = Field([], description="assignments as for --set, KEY=A,B,C for several values")


Setting = bool | int | float | str | None
"""A value of a setting."""


class Range(Part):
    """Numbers that a search may choose, both ends included; whole ones if both ends are."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="search evenly over orders of magnitude")

    @model_validator(mode="after")
    def _check(self) -> Range:
        if not (self.low < self.high and (self.low > 0 or not self.log)):
            raise ValueError("low should be less than high, and above 0 with log")
        return self


class Search(Part):
    """Settings that are searched for, in place of a product."""

    settings: dict[str, Range | list[Setting]] = Field(
        min_length=1, description="keys as of --set, each with what to try"
    )
    trials: int = Field(ge=1, le=10_000, description="settings to try, for each method, data set and supervision")
    round: int = Field(1, ge=1, le=1000, description="trials that are chosen together, and so can go on at once")
    protocol: str = Field("closed-set", description="what is searched for, on the data set's split for selection")
    metric: str = Field("miou", description="one of its metrics, the mean over the seeds")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the search")


class Sweep(Part):
    """A grid's file: one grid, or several that share what stands before them, and what a cluster is asked for."""

    grids: list[Grid]
    search: Search | None = Field(None, description="a search on the split for selection, in place of all combinations")
    protocols: list[str] = Field([], description="protocols; by default as for `bench run`")
    slurm: dict[str, Any] = Field({}, description="parameters of submitit's executor for each run")
    ray: dict[str, Any] = Field({"num_cpus": 1}, description="resources of each run, as Ray's tasks take them")


class Planned(NamedTuple):
    """A run to make."""

    config: RunConfig
    words: list[str]
    """Of `bench`: run and what follows."""

    @property
    def run(self) -> str:
        """Its id."""
        return self.config.run_id()


def read(path: Path) -> Sweep:
    """The sweep in a TOML file. Raises UserError naming the first key that does not fit."""
    table = read_toml(path)
    shared = {key: value for key, value in table.items() if key in Grid.model_fields}
    own = {key: value for key, value in table.items() if key not in shared}
    parts = own.pop("grids", [{}])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise UserError("grids is a list of tables; head each with [[grids]]")
    sweep: Sweep = validate(Sweep, {**own, "grids": [merge(shared, part) for part in parts]}, "")
    return sweep


def planned(sweep: Sweep) -> list[Planned]:
    """All its runs, each once, validated."""
    for protocol in sweep.protocols:
        registry.protocols.get(protocol)
    runs = {run.run: run for grid in sweep.grids for run in runs_of(grid, sweep.protocols)}
    return list(runs.values())


def runs_of(
    grid: Grid, protocols: list[str], settings: Mapping[str, Setting] = MappingProxyType({})
) -> Iterator[Planned]:
    """The runs of one grid under further ``settings``."""
    given: dict[str, Any] = reduce(merge, (nested(key, value) for key, value in settings.items()), {})
    methods = [registry.methods.get(name) for name in dict.fromkeys(grid.methods)]
    asked = [word for name in protocols for word in ("--protocol", name)]
    for dataset in dict.fromkeys(grid.datasets):
        registry.datasets.get(dataset)
        for supervision in dict.fromkeys(grid.supervisions):
            overrides = [{"data": {"supervision": supervision}}, given]
            seeds = tuple(dict.fromkeys(grid.seeds))
            for method, config in grids.grid(methods, dataset, grid.recipe, seeds, overrides, grid.set).runs:
                _, *words = shlex.split(command(config, method, execution=True))
                yield Planned(config, [*words, *asked])


def keep(store: Store, name: str, runs: list[Planned]) -> None:
    """Write the plan into the results folder, from which `bench status` knows what is to come."""
    lines = {run.run: shlex.join(["bench", *run.words]) for run in runs}
    files.write(store.root / "sweeps" / f"{name}.json", json.dumps(lines, indent=1) + "\n")


def kept(store: Store) -> set[str]:
    """The runs of all plans in the results folder. Raises UserError for a plan that is damaged."""
    found: set[str] = set()
    for path in sorted((store.root / "sweeps").glob("*.json")):
        try:
            found |= {*json.loads(path.read_bytes())}
        except (ValueError, TypeError):
            raise UserError(f"plan {path} is damaged; remove it, and start its sweep again") from None
    return found
