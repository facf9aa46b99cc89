"""Does a record hold? Its checkpoint is scored again, or trained again, beside it; nothing of the run is touched."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.common.errors import UserError
from bench.common.files import file_digest
from bench.config.tables import RunConfig
from bench.model.weights import MODEL, read_model
from bench.plugins import registry
from bench.plugins.files import plugin_files
from bench.records.ledger import TRAINING, ledger, rows
from bench.records.store import Store
from bench.runs import execute as runs
from bench.runs.plan import opener, plan
from bench.runs.same_data import TrainingLabels, require_same_labels, require_same_plugins
from bench.schema.record import Environment, Record
from datasets.base import Roots
from datasets.errors import DataError
from methods.base import Method
from methods.capabilities import TrainedElsewhere

TOLERANCE = 1e-6
"""Of a share; of a number above 1, that share of it. The same hardware with as many threads repeats every digit."""

_KEY = ["protocol", "version", "target", "over", "images", "fingerprint", "classes", "reading", "metric", "part"]


class Number(NamedTuple):
    """A number of a record, and what it is now."""

    where: str
    """Protocol, target and reading."""
    metric: str
    part: str
    """The class or part of the errors; empty for the whole."""
    recorded: float
    """NaN where it is undefined."""
    now: float
    holds: bool | None
    """None where it was not scored: its data is not here, or not the same, or the protocol has another version."""


def rescored(record: Record, store: Store, root: Roots, device: str) -> Record:
    """What the checkpoint of a finished run scores now under the protocols of its ``record``.

    Raises UserError for a model that is not there or not the recorded one, and for other data than it was trained on.
    """
    method = _method(record)
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        beside = Store(Path(folder))
        _link(store, beside, record.run_id, record.checkpoint_hash)
        # As complete, and so never trained again: the model would be written through the link, over the one of the run.
        known = {"status": "complete", "fingerprint": record.config.fingerprint()}
        beside.write(record.model_copy(update={"protocols": {}, "statistics_hash": None, **known}))
        return _execute(method, record, record.config, beside, root, device, retrain=False)


def retrained(record: Record, store: Store, root: Roots, device: str, encoder_weights: Path | None = None) -> Record:
    """A record of the same run, trained again from the start and scored under the same protocols.

    Raises UserError where the weights at the start, the training data, a plugin or the method are others now.
    """
    method, config = _method(record), record.config
    source = registry.datasets.get(config.data.name)
    require_same_plugins(record, plugin_files(method, source))
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        beside = Store(Path(folder))
        if config.features is None:
            config = _with_weights(config, encoder_weights)
        else:
            _link(store, beside, config.features.run, config.features.hash)
        if not issubclass(method, TrainedElsewhere):
            dense = opener(root, config.data.allow_partial)(source.name, source.train_split or "")
            labels = TrainingLabels.of(dense, config, beside)
            require_same_labels(record, labels.dense, labels.info)
        return _execute(method, record, config, beside, root, device, retrain=True)


def _method(record: Record) -> type[Method]:
    config = record.config
    method = registry.methods.get(config.method_name)
    if method.version != config.method_version:
        raise UserError(
            f"run {record.run_id} was made by {method.name} version {config.method_version}, this is version "
            f"{method.version}; verify it with the suite of that version"
        )
    return method


def _link(store: Store, beside: Store, run_id: str, digest: str | None) -> None:
    """Let ``beside`` have the model of a run of ``store``. Raises UserError for one with another SHA-256."""
    model = store.run_folder(run_id) / MODEL
    if not model.is_file():
        raise UserError(
            f"there is no model {model}; verify the run where it was trained, or train again with --retrain"
        )
    read_model(model, digest)  # what is read through the link has the link's name in its sentences
    folder = beside.run_folder(run_id)
    folder.mkdir(parents=True)
    (folder / MODEL).symlink_to(model.resolve())


def _with_weights(config: RunConfig, path: Path | None) -> RunConfig:
    """``config`` with this machine's path to the file of encoder weights, where the run began from one."""
    began = f"the run began from {config.weights_label()}"
    if config.encoder_weights_hash is None:
        if path is not None:
            raise UserError(f"{began}, which is no file; leave out --encoder-weights")
        return config
    path = Path(config.network.encoder_weights or "") if path is None else path
    if not path.is_file() or file_digest(path) != config.encoder_weights_hash:
        raise UserError(f"{began}, and {path} is not that file; name it with --encoder-weights FILE")
    return config.model_copy(update={"network": config.network.model_copy(update={"encoder_weights": str(path)})})


def _execute(
    method: type[Method], record: Record, config: RunConfig, beside: Store, root: Roots, device: str, retrain: bool
) -> Record:
    """Run ``config`` in ``beside`` under those protocols of the ``record`` that have data here."""
    source, open_ = registry.datasets.get(config.data.name), opener(root, config.data.allow_partial)
    present, why = [], f"record {record.run_id} has no scores; run the run again"
    for name in (name for name, result in record.protocols.items() if result.targets):
        try:
            plan(source, [name], open_)
        except DataError:
            raise
        except UserError as error:
            why = str(error)
        else:
            present.append(name)
    if not present:
        raise UserError(why)
    return runs.execute(method, config, beside, root, device, present, force=not retrain, retrain=retrain)


def compared(record: Record, now: Record, tolerance: float = TOLERANCE) -> Iterator[Number]:
    """Every number that was measured for ``record``, beside what it is ``now``."""
    old, new = (ledger([one]) for one in (record, now))
    old = old[(old["protocol"] != TRAINING) & (old["metric"] != "")]
    both = old[[*_KEY, "value"]].merge(new[[*_KEY, "value"]], "left", _KEY, suffixes=("", "_now"), indicator="sides")
    for number in rows(both):
        where = ", ".join(filter(None, (number.protocol, number.target, number.reading)))
        scored = number.sides == "both"
        holds = _holds(number.value, number.value_now, tolerance) if scored else None
        yield Number(where, number.metric, number.part, number.value, number.value_now, holds)


def _holds(recorded: float, now: float, tolerance: float) -> bool:
    if pd.isna(recorded) or pd.isna(now):
        return bool(pd.isna(recorded) and pd.isna(now))
    return abs(recorded - now) <= tolerance * max(1.0, abs(recorded))


def changed(before: Environment, now: Environment) -> list[str]:
    """What of the environment may round otherwise than that of the record did."""
    facts = {"hardware": (before.hardware, now.hardware), "threads": (before.threads, now.threads)}
    facts |= {name: (version, now.packages.get(name)) for name, version in before.packages.items()}
    facts.pop("genseg-bench", None)
    return [
        f"{name} {was or 'unknown'}, now {there or 'unknown'}" for name, (was, there) in facts.items() if was != there
    ]
