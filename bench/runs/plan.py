"""What a run will be scored on, and what of it is still to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.common.errors import UserError
from bench.config.tables import RunConfig
from bench.model.network import require_buildable
from bench.plugins import registry
from bench.schema import side_file
from bench.schema.record import ProtocolResult
from bench.scoring.score import located
from bench.training.ranks import require_precision
from datasets.base import Dataset, MissingData, Roots
from methods.capabilities import BringsNetwork, ReadsPredictions

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
    failed: dict[str, str]
    """By protocol that cannot say what it scores: why."""


def opener(root: Roots, allow_partial: bool) -> Opener:
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
        registry.protocols.get(name)


def require_possible(configs: Sequence[RunConfig], device: torch.device) -> None:
    """Raises UserError for the first run with an impossible data set, batch, network or precision, before any."""
    for config in configs:
        dataset, method = registry.datasets.get(config.data.name), registry.methods.get(config.method_name)
        if issubclass(method, ReadsPredictions):
            if config.features is None:
                raise UserError(
                    f"{method.name} is fitted to what a finished run predicts: give --features RUN, not --dataset"
                )
            if dataset.selection_split is None:
                raise UserError(
                    f"{method.name} is fitted to a split that is neither trained nor scored on, and {dataset.name} has "
                    "none; take a run on another data set"
                )
        require_precision(config.recipe.precision, device)
        if config.recipe.batch_size % config.ranks:
            raise UserError(
                f"a batch of {config.recipe.batch_size} images cannot be shared evenly by {config.ranks} processes; "
                f"set recipe.batch_size to a multiple of {config.ranks}, or start fewer"
            )
        at_once, share = config.recipe.micro_batch, config.recipe.batch_size // config.ranks
        if isinstance(at_once, int) and share % at_once:
            raise UserError(
                f"recipe.micro_batch={at_once} does not divide the {share} images of a process; set it to a divisor of "
                f"{share}, or to auto"
            )
    new = [c for c in configs if c.features is None]
    shared = [c for c in new if not issubclass(registry.methods.get(c.method_name), BringsNetwork)]
    for network in {config.network.model_dump_json(): config.network for config in shared}.values():
        require_buildable(network)


def plan(source: type[Dataset], wanted: Iterable[str] | None, open_: Opener) -> Plan:
    """Choose protocols and targets: those ``wanted``, or of those that are scored by default all that have data.

    Raises UserError for an unknown protocol or a wanted one without data or package, DataError for damaged data.
    """
    require_protocols(wanted or ())
    result = Plan({}, {}, {}, {})
    for name in registry.protocols.names():
        protocol = registry.protocols.get(name)
        if not (name in wanted if wanted else protocol.by_default):
            continue
        why_not = result.skipped
        try:
            protocol.require_possible()
            targets = protocol.targets(source)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            why_not, targets, reason = result.failed, [], located(error)
        else:
            reason = f"{source.name} names no target for the {name} protocol"
        found, absent = _present(targets, open_)
        if targets:
            result.absent[name] = absent
        if found:
            result.targets[name] = found
        elif wanted:
            raise UserError(f"protocol {name} cannot be scored: {absent[0] if absent else reason}")
        else:
            why_not[name] = absent[0] if absent else reason
    return result


def _present(targets: Iterable[tuple[str, str]], open_: Opener) -> tuple[list[tuple[str, str]], list[str]]:
    """The targets with data, and one sentence for each without.

    Data that is there but incomplete or damaged is not skipped: its DataError is raised.
    """
    found, absent = [], []
    for name, split in targets:
        try:
            open_(name, split)
        except MissingData as error:
            absent.append(str(error))
        else:
            found.append((name, split))
    return found, absent


def unscored(
    results: Mapping[str, ProtocolResult], planned: Plan, statistics: Mapping[str, np.ndarray] | None = None
) -> dict[str, list[tuple[str, str]]]:
    """By protocol: the planned targets without scores of its current version, or not among the ``statistics``."""
    missing: dict[str, list[tuple[str, str]]] = {}
    for name, targets in planned.targets.items():
        protocol, done = registry.protocols.get(name), results.get(name)
        known = {*done.targets} if done is not None and done.version == protocol.version else set()
        if statistics is not None:
            known = {target for target in known if side_file.of(statistics, [side_file.IDS], name, target)}
        missing[name] = [target for target in targets if protocol.target_name(target) not in known]
    return {name: targets for name, targets in missing.items() if targets}
