"""One run from configuration to record, and the grid of many.

A run's folder keeps what is done: the training checkpoint, then the model, then each protocol's result. Whatever
interrupts a run, the same command continues where it was; the record appears when everything is there.
"""

from __future__ import annotations

import datetime
import errno
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
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
from bench.merging import merge, merge_statistics
from bench.protocols import PROTOCOLS, Evaluation
from bench.protocols.base import gather_one
from bench.records import DamagedArrays, DatasetInfo, ProtocolResult, Record, Store, atomic, read_arrays
from datasets.base import Dataset, MissingData
from datasets.supervision import official, parse, supervise
from datasets.supervision.derive import VERSIONS
from datasets.supervision.wrapper import DerivedLabels, SparseDataset
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


def require_protocols(names: Iterable[str]) -> None:
    """Raises UserError for the first of the ``names`` that no protocol has."""
    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"unknown protocol {name!r}: {near(name, PROTOCOLS)}")


def plan(source: type[Dataset], wanted: Iterable[str] | None, open_: Opener) -> Plan:
    """Choose protocols and targets: those ``wanted``, or by default all whose data is present.

    Raises UserError for an unknown protocol or a wanted one without data, DataError for damaged data.
    """
    require_protocols(wanted or ())
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

    ``force`` starts anew; with ``retrain=False`` it scores anew what ``protocols`` name, and all other scores stay.
    Nothing of the run is touched before protocols and data have been checked. Raises USER_ERRORS, RunFailed or
    Interrupted.
    """
    fabric = training.make_fabric(device, config.recipe.precision)
    run_id, fingerprint = config.run_id(), config.fingerprint()
    source = registry.datasets.get(config.data.name)
    if source.train_split is None:
        raise UserError(f"{source.name} has no training split; train on another data set")
    open_ = opener(root, config.data.allow_partial)
    dense = _opened(open_, source.name, source.train_split)
    planned = plan(source, protocols, open_)
    folder = store.run_folder(run_id)
    # Every rank decides alike, from files that none changes before all have read them.
    with locked(folder, run_id) if fabric.is_global_zero else nullcontext():
        known = None if force else store.read(run_id)
        finished = known is not None and (known.status, known.fingerprint) == ("complete", fingerprint)
        if known is not None and finished and not _unscored(known.protocols, planned):
            _require_same_data(known, planned, dense, open_)
            note(f"{run_id} is finished already; --force repeats it")
            return known
        if isinstance(dense, MissingData):
            raise dense
        labels = TrainingLabels(dense, _supervised(dense, config, store), _describe(dense, config))
        if retrain:
            _require_published(labels.seen, config)
        # Whatever can be a mistake has been found by now: from here on the run is changed.
        fabric.barrier()
        if force and retrain and fabric.is_global_zero:
            _clear(folder)
        fabric.barrier()
        return _execute(method_class, config, store, open_, fabric, planned, labels, rescore=force)


PROGRESS = "progress.json"
"""In the run's folder: the record so far."""
PROGRESS_STATISTICS = "progress.npz"
"""Its statistics per image."""


@dataclass(frozen=True)
class TrainingLabels:
    """The training images of a run."""

    dense: Dataset
    seen: Dataset
    """With the labels that training sees."""
    info: DatasetInfo


def _opened(open_: Opener, name: str, split: str) -> Dataset | MissingData:
    """A split, or why it is not there. Raises DataError for one that is there and unusable."""
    try:
        return open_(name, split)
    except MissingData as error:
        return error


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _unscored(
    results: Mapping[str, ProtocolResult], planned: Plan, statistics: Mapping[str, np.ndarray] | None = None
) -> dict[str, list[tuple[str, str]]]:
    """By protocol: the planned targets without scores of its current version, or not among the ``statistics``."""
    missing: dict[str, list[tuple[str, str]]] = {}
    for name, targets in planned.targets.items():
        done = results.get(name)
        known = {*done.targets} if done is not None and done.version == PROTOCOLS[name].version else set()
        if statistics is not None:
            known = {target for target in known if f"{name}/{target}/ids" in statistics}
        missing[name] = [target for target in targets if _name(name, target) not in known]
    return {name: targets for name, targets in missing.items() if targets}


def _execute(
    method_class: type[Method],
    config: RunConfig,
    store: Store,
    open_: Opener,
    fabric: Fabric,
    planned: Plan,
    labels: TrainingLabels,
    rescore: bool,
) -> Record:
    run_id = config.run_id()
    folder = store.run_folder(run_id)
    source = registry.datasets.get(config.data.name)
    for sentences in planned.absent.values():
        for sentence in sentences:
            note(f"skipped: {sentence}")
    record, statistics = _so_far(store, config)
    if record is not None:
        _require_same_labels(record, labels.dense, labels.info)
    if record is None:
        record = _new_record(
            config,
            supervision=_supervision(labels.seen, method_class),
            data=labels.info,
            environment=environment.describe(fabric.device, fabric.world_size),
        )
        after = labels.dense if config.data.supervision == "none" else None
        trained = training.train(
            method_class,
            config,
            labels.seen,
            fabric,
            folder,
            store.cache,
            after_training=after,
            content=labels.info.content,
        )
        record.training = trained.training
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
        closed_set=_closed_set(record, source),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    wanted = planned.targets if rescore else _unscored(record.protocols, planned, statistics)
    for name, targets in wanted.items():
        evaluation.statistics = {}
        found = PROTOCOLS[name].run(evaluation, targets)
        statistics = merge_statistics(statistics, evaluation.statistics, name, found.targets)
        _enter(record, name, found, source)
        evaluation.closed_set = _closed_set(record, source)
        if fabric.is_global_zero:
            _save_progress(folder, record, statistics)
    for name, reason in planned.skipped.items():
        _enter(record, name, ProtocolResult(version=PROTOCOLS[name].version, status="skipped", reason=reason), source)
        note(f"skipped protocol {name}: {reason}")
    record.created = now()
    if fabric.is_global_zero:
        store.write_statistics(run_id, statistics)
        store.write(record)
    return record


def _enter(record: Record, name: str, found: ProtocolResult, source: type[Dataset]) -> None:
    """Put what a protocol found into the record, beside what it found before."""
    order = [_name(name, target) for target in PROTOCOLS[name].targets(source)]
    results = {**record.protocols, name: merge(PROTOCOLS[name], record.protocols.get(name), found, order)}
    record.protocols = {known: results[known] for known in (*PROTOCOLS, *results) if known in results}


def _closed_set(record: Record, source: type[Dataset]) -> ProtocolResult | None:
    """The closed-set result with which the other protocols compare; None without the headline split."""
    result = record.protocols.get("closed-set")
    return result if result is not None and source.eval_splits[0] in result.targets else None


def _supervised(dense: Dataset, config: RunConfig, store: Store) -> Dataset:
    kind, seed = config.data.supervision, config.seed
    return supervise(dense, kind, seed, store.cache, void_is_unlabelled=config.data.void_is_unlabelled)


def _require_published(seen: Dataset, config: RunConfig) -> None:
    """Raises UserError if the run says how published labels are read, and there are none."""
    if config.data.void_is_unlabelled and isinstance(seen, DerivedLabels):
        raise UserError(
            f"data.void_is_unlabelled is about published labels, but those of kind {seen.kind} are derived from the "
            f"dense ones, since {seen.folder} has none; put them there, or leave data.void_is_unlabelled out"
        )


def _describe(dense: Dataset, config: RunConfig) -> DatasetInfo:
    """Which data training reads: published sparse labels count too, derived ones follow from the dense labels."""
    info = data.describe(dense)
    published = official.find(dense, parse(config.data.supervision))
    if published is None:
        return info
    images, labels = [item.image for item in dense.items], [item.label for item in dense.items]
    return info.model_copy(update={"content": data.content(images, labels, published.files)})


def _source(dense: Dataset, config: RunConfig) -> str:
    """Where the labels of training come from, as far as it can be told without reading them."""
    kind = parse(config.data.supervision)
    if kind.family == "dense":
        return "dense"
    return "official" if official.find(dense, kind) is not None else f"derived: {kind.family}@{VERSIONS[kind.family]}"


def _require_same_labels(record: Record, dense: Dataset, now: DatasetInfo) -> None:
    """Raises UserError if the run was trained on other images or labels than are there now."""
    trained = record.data
    source, source_now = str(record.supervision.get("source", "")), _source(dense, record.config)
    if trained is not None and trained.images != now.images:
        change = f"{trained.images} images, now {now.images}"
    elif trained is not None and trained.fingerprint != now.fingerprint:
        change = "other labels"
    elif source and source_now != ("official" if source.startswith("official") else source):
        change = f"labels that were {source}, now {source_now}"
    elif trained is not None and trained.content not in (None, now.content):
        change = "other image or label files"
    else:
        return
    raise UserError(
        f"run {record.run_id} was trained on other data than {dense.folder} holds now ({change}); restore that data, "
        "or train anew with `bench run` and --force"
    )


def _require_same_data(record: Record, planned: Plan, dense: Dataset | MissingData, open_: Opener) -> None:
    """Raises UserError if a finished run was trained or scored on other data than is there now.

    Training data that is not there at all has not changed.
    """
    if not isinstance(dense, MissingData):
        _require_same_labels(record, dense, _describe(dense, record.config))
    for name, targets in planned.targets.items():
        for target in targets:
            scored, now = record.protocols[name].targets[_name(name, target)].dataset, data.describe(open_(*target))
            if scored != now.model_copy(update={} if scored.content else {"content": None}):
                raise UserError(
                    f"{name} of run {record.run_id} was scored on other data than {'/'.join(target)} holds now; "
                    f"restore that data, or score it again with `bench evaluate {record.run_id}`"
                )


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


def _name(protocol: str, target: tuple[str, str]) -> str:
    """The target as records name it."""
    name, split = target
    return split if protocol == "closed-set" else f"{name}/{split}"


def _hash(folder: Path, fabric: Fabric) -> str | None:
    return configuration.file_hash(folder / training.MODEL) if fabric.is_global_zero else None


def _so_far(store: Store, config: RunConfig) -> tuple[Record | None, dict[str, np.ndarray]]:
    """What is known of a run whose model is trained: its record with all scores so far, and their statistics.

    None if there is no model, or one that no finished training left. Raises UserError where a model would be trained
    anew only because a file beside it is damaged.
    """
    folder, run_id = store.run_folder(config.run_id()), config.run_id()
    model, path = folder / training.MODEL, folder / PROGRESS
    if not model.exists():
        return None, {}
    written = store.read(run_id)
    if written is not None and (written.status, written.fingerprint) != ("complete", config.fingerprint()):
        written = None
    if written is not None and written.checkpoint_hash not in (None, configuration.file_hash(model)):
        if not path.exists():
            raise UserError(
                f"model {model} is not the one whose scores the record of {run_id} holds; put that one back, or train "
                "anew with `bench run` and --force"
            )
        written = None  # of an earlier training, whose successor was interrupted before its record was written
    try:
        progress = Record.model_validate_json(path.read_text())
    except FileNotFoundError:
        progress = None
    except (UnicodeDecodeError, ValidationError):
        if written is None:
            raise UserError(
                f"{path} is damaged, and without it the model beside it would be trained anew; pass --force to do so"
            ) from None
        note(f"{path} is damaged; going on from the record of the run")
        progress = None
    if progress is not None and (progress.fingerprint != config.fingerprint() or progress.training is None):
        progress = None
    if written is None:
        return progress, {} if progress is None else _arrays(folder / PROGRESS_STATISTICS)
    statistics = _arrays(store.statistics_path(run_id))
    if progress is None:
        return written, statistics
    source = registry.datasets.get(config.data.name)
    record = progress.model_copy(update={"protocols": written.protocols})
    for name, result in progress.protocols.items():
        _enter(record, name, result, source)
    return record, {**statistics, **_arrays(folder / PROGRESS_STATISTICS)}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Statistics per image; none, with a note, if the file is damaged: their targets are then scored again."""
    try:
        return read_arrays(path)
    except DamagedArrays as error:
        note(f"{error}; what it was about is scored again where its data is present")
        return {}


def _save_progress(folder: Path, record: Record, statistics: dict[str, np.ndarray]) -> None:
    with atomic(folder / PROGRESS_STATISTICS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **statistics)  # type: ignore[arg-type]
    with atomic(folder / PROGRESS) as temporary:
        temporary.write_text(json.dumps(record.model_dump(mode="json")))


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


def disk_is_full(error: BaseException | None) -> bool:
    """Whether ``error``, or what it was raised from, is that of a full disk: every other run would meet it too."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def describe_os_error(error: OSError) -> str:
    """One sentence for a disk that is full or a folder that cannot be written."""
    if disk_is_full(error):
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
