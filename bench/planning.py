"""What a run will be scored on, and what of it is still to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench import registry
from bench.config import RunConfig
from bench.errors import UserError, near
from bench.network import require_buildable
from bench.protocols import PROTOCOLS
from bench.ranks import require_precision
from bench.records import ProtocolResult
from datasets.base import Dataset
from methods.capabilities import BringsNetwork

Opener = Callable[[str, str], Dataset]


@dataclass(frozen=True)
class Plan:
    """What the protocols of a run will score, decided before hours of training."""

    targets: dict[str, list[tuple[str, str]]]
    """By protocol: the (data set, split) pairs that are present."""
    skipped: dict[str, str]
    """By protocol without any target: the reason."""
    absent: dict[str, list[str]]
    """By protocol: one sentence for each target that is not there."""


def opener(root: Path, allow_partial: bool) -> Opener:
    """``open(name, split)`` under a data root; each split is found and checked once."""
    opened: dict[tuple[str, str], Dataset] = {}

    def open_(name: str, split: str) -> Dataset:
        if (name, split) not in opened:
            dataset = registry.datasets.get(name)(root, split, allow_partial=allow_partial)
            dataset.check_files()
            opened[name, split] = dataset
        return opened[name, split]

    return open_


def require_protocols(names: Iterable[str]) -> None:
    """Raises UserError for the first of the ``names`` that no protocol has."""
    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"unknown protocol {name!r}: {near(name, PROTOCOLS)}")


def require_possible(configs: Sequence[RunConfig], device: torch.device) -> None:
    """Raises UserError for the first of the runs whose data set, network or precision cannot be, before any begins."""
    for config in configs:
        registry.datasets.get(config.data.name)
        require_precision(config.recipe.precision, device)
    shared = [c for c in configs if not issubclass(registry.methods.get(c.method_name), BringsNetwork)]
    for network in {config.network.model_dump_json(): config.network for config in shared}.values():
        require_buildable(network)


def plan(source: type[Dataset], wanted: Iterable[str] | None, open_: Opener) -> Plan:
    """Choose protocols and targets: those ``wanted``, or of those that are scored by default all whose data is present.

    Raises UserError for an unknown protocol or a wanted one without data, DataError for damaged data.
    """
    require_protocols(wanted or ())
    result = Plan({}, {}, {})
    for name, protocol in PROTOCOLS.items():
        if not (name in wanted if wanted else protocol.by_default):
            continue
        if not protocol.targets(source):
            reason = f"{source.name} names no target for the {name} protocol"
            found: list[tuple[str, str]] = []
        else:
            found, absent = protocol.present(source, open_)
            result.absent[name] = absent
            reason = absent[0] if absent else ""
        if found:
            result.targets[name] = found
        elif wanted:
            raise UserError(f"protocol {name} cannot be scored: {reason}")
        else:
            result.skipped[name] = reason
    return result


def unscored(
    results: Mapping[str, ProtocolResult], planned: Plan, statistics: Mapping[str, np.ndarray] | None = None
) -> dict[str, list[tuple[str, str]]]:
    """By protocol: the planned targets without scores of its current version, or not among the ``statistics``."""
    missing: dict[str, list[tuple[str, str]]] = {}
    for name, targets in planned.targets.items():
        protocol, done = PROTOCOLS[name], results.get(name)
        known = {*done.targets} if done is not None and done.version == protocol.version else set()
        if statistics is not None:
            known = {target for target in known if f"{name}/{target}/ids" in statistics}
        missing[name] = [target for target in targets if protocol.target_name(target) not in known]
    return {name: targets for name, targets in missing.items() if targets}
