"""One run from configuration to record, and the grid of many.

A run's folder keeps what is done: the training checkpoint, then the model, then each protocol's result. Whatever
interrupts a run, the same command continues where it was; the record appears when everything is there.
"""

from __future__ import annotations

import datetime
import errno
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning.fabric import Fabric
from pydantic import ValidationError

from bench import config as configuration
from bench import data, environment, registry, training
from bench.config import RunConfig
from bench.console import note
from bench.errors import UserError, near
from bench.inference import Predictor
from bench.protocols import PROTOCOLS, Evaluation
from bench.protocols.base import gather_one
from bench.records import ProtocolResult, Record, Store, atomic
from datasets.base import Dataset
from datasets.supervision import supervise
from datasets.supervision.wrapper import SparseDataset
from methods.base import Method

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


def plan(source: type[Dataset], wanted: Iterable[str] | None, open_: Opener) -> Plan:
    """Choose protocols and targets: those ``wanted``, or by default all whose data is present.

    Raises UserError for an unknown protocol or a wanted one without data, DataError for damaged data.
    """
    unknown = [p for p in wanted or () if p not in PROTOCOLS]
    if unknown:
        raise UserError(f"unknown protocol {unknown[0]!r}: {near(unknown[0], PROTOCOLS)}")
    result = Plan({}, {}, {})
    for name, protocol in PROTOCOLS.items():
        if wanted and name not in wanted:
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


@contextmanager
def locked(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lock; a second process that wants the same run is told so."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"run {run_id} is being computed by another process; wait for it, or choose another --results folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def execute(
    method_class: type[Method],
    config: RunConfig,
    store: Store,
    root: Path,
    device: str,
    protocols: Iterable[str] | None = None,
    force: bool = False,
    retrain: bool = True,
) -> Record:
    """Train and score one run, or what of it is not yet done, and write its record.

    ``force`` starts anew (with ``retrain=False`` only the scoring). Raises USER_ERRORS, RunFailed or Interrupted.
    """
    fabric = training.make_fabric(device, config.recipe.precision)
    run_id, fingerprint = config.run_id(), config.fingerprint()
    source = registry.datasets.get(config.data.name)
    if source.train_split is None:
        raise UserError(f"{source.name} has no training split; train on another data set")
    folder = store.run_folder(run_id)
    open_ = opener(root, config.data.allow_partial)
    if not fabric.is_global_zero:
        return _execute(method_class, config, store, open_, fabric, protocols, source)
    with locked(folder, run_id):
        known = None if force else store.read(run_id)
        if force and retrain:
            _clear(folder)
        elif force:
            _forget_scores(store, folder, run_id)
        if known is not None and known.status == "complete" and known.fingerprint == fingerprint:
            wanted = plan(source, protocols, open_)
            if all(
                name in known.protocols
                and known.protocols[name].status == "complete"
                and known.protocols[name].version == PROTOCOLS[name].version
                and len(known.protocols[name].targets) >= len(targets)
                for name, targets in wanted.targets.items()
            ):
                note(f"{run_id} is finished already; --force repeats it")
                return known
        return _execute(method_class, config, store, open_, fabric, protocols, source)


PROGRESS = "progress.json"
"""In the run's folder: the record so far."""


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _forget_scores(store: Store, folder: Path, run_id: str) -> None:
    """Leave of a run's progress what training cost, so that only the scoring is repeated."""
    record = store.read(run_id)
    if record is not None:
        _save_progress(folder, record.model_copy(update={"protocols": {}}), {})


def _execute(
    method_class: type[Method],
    config: RunConfig,
    store: Store,
    open_: Opener,
    fabric: Fabric,
    protocols: Iterable[str] | None,
    source: type[Dataset],
) -> Record:
    run_id = config.run_id()
    folder = store.run_folder(run_id)
    assert source.train_split is not None
    dense = open_(source.name, source.train_split)
    train_set = _supervised(dense, config, store)
    planned = plan(source, protocols, open_)
    for sentences in planned.absent.values():
        for sentence in sentences:
            note(f"skipped: {sentence}")
    record = _progress(folder, config) or _new_record(
        config,
        supervision=_supervision(train_set, method_class),
        data=data.describe(dense),
        environment=environment.describe(fabric.device, fabric.world_size),
    )
    statistics = _load_statistics(folder)
    if record.training is None or not (folder / training.MODEL).exists():
        after = dense if config.data.supervision == "none" else None
        trained = training.train(method_class, config, train_set, fabric, folder, store.cache, after_training=after)
        record.training = trained.training
        record.protocols.clear()
        statistics.clear()
        method = trained.method
        if fabric.is_global_zero:
            _save_progress(folder, record, statistics)
            (folder / training.CHECKPOINT).unlink(missing_ok=True)
        if fabric.world_size > 1:  # score what the record names, not each rank's own batch statistics
            fabric.barrier()
            method = training.load_model(method_class, config, source.classes, folder / training.MODEL)
    else:
        method = training.load_model(method_class, config, source.classes, folder / training.MODEL)
        record.scoring_environment = environment.describe(fabric.device, fabric.world_size)
    record.checkpoint_hash = gather_one(_hash(folder, fabric))[0]
    method = method.to(fabric.device).eval()
    record.method_facts = dict(method.facts())
    for leftover in folder.glob("predictions-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    evaluation = Evaluation(
        predictor=Predictor(method, config.recipe.inference, fabric.device),
        source=source,
        open=open_,
        scratch=folder,
        density_score=method.density_score,
        statistics=statistics,
        closed_set=record.protocols.get("closed-set"),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    for name, targets in planned.targets.items():
        done = record.protocols.get(name)
        current = PROTOCOLS[name].version
        if done is not None and done.version == current and {*_names(name, targets)} <= {*done.targets}:
            continue
        record.protocols[name] = PROTOCOLS[name].run(evaluation, targets)
        evaluation.closed_set = record.protocols.get("closed-set")
        if fabric.is_global_zero:
            _save_progress(folder, record, statistics)
    for name, reason in planned.skipped.items():
        record.protocols[name] = ProtocolResult(version=PROTOCOLS[name].version, status="skipped", reason=reason)
        note(f"skipped protocol {name}: {reason}")
    record.created = now()
    if fabric.is_global_zero:
        store.write_statistics(run_id, statistics)
        store.write(record)
    return record


def _supervised(dense: Dataset, config: RunConfig, store: Store) -> Dataset:
    kind, seed = config.data.supervision, config.seed
    return supervise(dense, kind, seed, store.cache, void_is_unlabelled=config.data.void_is_unlabelled)


def training_set(config: RunConfig, root: Path, store: Store) -> Dataset:
    """The images of a run with the labels that its training saw. Raises DataError if they are not there."""
    source = registry.datasets.get(config.data.name)
    assert source.train_split is not None
    dense = opener(root, config.data.allow_partial)(source.name, source.train_split)
    return _supervised(dense, config, store)


def _supervision(train_set: Dataset, method_class: type[Method]) -> dict[str, Any]:
    """Which labels training saw, where they come from, and how many of the valid pixels they label."""
    if not isinstance(train_set, SparseDataset):
        return {"kind": "dense", "source": "dense", "labelled_fraction": 1.0}
    seen = {
        "kind": str(train_set.kind),
        "source": train_set.source,
        "labelled_fraction": train_set.labelled_fraction(),
        "labelled_pixels_per_image": round(train_set.labelled_pixels_per_image(), 1),
    }
    if train_set.kind.family == "none":
        seen |= {"after_training": "dense", "without_labels": dict(method_class.without_labels or {})}
    return seen


def _names(protocol: str, targets: list[tuple[str, str]]) -> list[str]:
    return [split if protocol == "closed-set" else f"{name}/{split}" for name, split in targets]


def _hash(folder: Path, fabric: Fabric) -> str | None:
    return configuration.file_hash(folder / training.MODEL) if fabric.is_global_zero else None


def _progress(folder: Path, config: RunConfig) -> Record | None:
    """The record so far of an interrupted run; one that is damaged or of another run is ignored, not trusted."""
    try:
        record = Record.model_validate_json((folder / PROGRESS).read_text())
    except (FileNotFoundError, UnicodeDecodeError, ValidationError):
        return None
    return record if record.fingerprint == config.fingerprint() else None


def _save_progress(folder: Path, record: Record, statistics: dict[str, np.ndarray]) -> None:
    with atomic(folder / "progress.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **statistics)  # type: ignore[arg-type]
    with atomic(folder / PROGRESS) as temporary:
        temporary.write_text(json.dumps(record.model_dump(mode="json")))


def _load_statistics(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "progress.npz"
    if not path.exists() or not (folder / PROGRESS).exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _new_record(config: RunConfig, **facts: Any) -> Record:
    """A record that says what ``config`` does, and ``facts``; complete, if these do not say otherwise."""
    described: dict[str, Any] = {
        "run_id": config.run_id(),
        "fingerprint": config.fingerprint(),
        "status": "complete",
        "created": "",
        "config": config.portable(),
        "encoder_weights": config.weights_label(),
        "inference": config.recipe.inference.label(),
    }
    return Record(**{**described, **facts})


def write_failure(store: Store, config: RunConfig, reason: str) -> Record:
    """Leave a row for a run that failed."""
    record = _new_record(
        config,
        status="failed",
        reason=reason,
        created=now(),
        supervision={"kind": config.data.supervision, "labelled_fraction": None},
        environment=environment.describe(torch.device("cpu")),
    )
    store.write(record)
    return record


def describe_os_error(error: OSError) -> str:
    """One sentence for a disk that is full or a folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space is left on the disk ({error.filename or 'while writing'}); free some and repeat the command"
    return f"{error.strerror or error} ({error.filename or 'no file named'}); correct it and repeat the command"


def load(store: Store, record: Record) -> Method:
    """The trained method of a finished run, in ``eval`` mode on the CPU."""
    config = record.config
    method_class = registry.methods.get(config.method_name)
    if method_class.version != config.method_version:
        raise UserError(
            f"run {record.run_id} was made by {config.method_name} version {config.method_version}, this is version "
            f"{method_class.version}; run it again"
        )
    classes = registry.datasets.get(config.data.name).classes
    return training.load_model(method_class, config, classes, store.run_folder(record.run_id) / training.MODEL)
