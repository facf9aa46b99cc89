"""One run from configuration to record.

A run's folder keeps what is done: the training checkpoint, then the model, then each protocol's result. Whatever
interrupts a run, the same command continues where it was; the record appears when everything is there.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric

from bench.common import files, interruption
from bench.common.claims import PREFIX, claimed
from bench.common.console import note
from bench.common.errors import RunFailed, UserError
from bench.config.tables import RunConfig
from bench.model import weights as models
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.plugins.files import plugin_files
from bench.records import environment, naming
from bench.records.store import Store
from bench.runs import elsewhere
from bench.runs import resume as progress
from bench.runs.plan import Opener, Plan, opener, plan, unscored
from bench.runs.rescore import enter, in_order, judged, merge_statistics, summarise, target_names
from bench.runs.same_data import (
    TrainingLabels,
    require_same_data,
    require_same_labels,
    require_same_plugins,
)
from bench.schema.record import ProtocolResult, Record
from bench.scoring.protocols.base import Evaluation, Protocol
from bench.scoring.score import Outcome, gather_one, located, score
from bench.training import checkpoint as checkpoints
from bench.training import loop as training
from bench.training import ranks
from datasets.base import Dataset, MissingData, Roots
from methods.base import Method
from methods.capabilities import ReadsPredictions, TrainedElsewhere


def execute(
    method_class: type[Method],
    config: RunConfig,
    store: Store,
    root: Roots,
    device: str,
    protocols: Iterable[str] | None = None,
    force: bool = False,
    retrain: bool = True,
) -> Record:
    """Train and score one run, or what of it is not yet done, and write its record.

    ``force`` starts over; with ``retrain=False`` it scores again what ``protocols`` name, and all other scores stay.
    Nothing of the run is touched before protocols and data have been checked. Raises UserError, RunFailed
    (ProtocolFailed where all but some protocols is done) or Interrupted.
    """
    fabric = ranks.make_fabric(device, config.recipe.precision)
    run_id, fingerprint = config.run_id(), config.fingerprint()
    source = registry.datasets.get(config.data.name)
    open_ = opener(root, config.data.allow_partial)
    dense: Dataset | MissingData
    if issubclass(method_class, TrainedElsewhere):
        elsewhere.class_map(method_class, source)
        planned = elsewhere.narrowed(plan(source, protocols, open_), method_class, source, protocols)
        dense = MissingData(f"{method_class.name} was trained elsewhere")
    elif source.train_split is None:
        raise UserError(f"{source.name} has no training split; train on another data set")
    else:
        dense = _opened(open_, source.name, source.train_split)
        planned = plan(source, protocols, open_)
    folder = store.run_folder(run_id)
    # Every rank decides alike, from files that none changes before all have read them.
    with ranks.watched(fabric), claimed(folder, f"run {run_id}") if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            _sweep(store, folder)
        known = None if force else store.read(run_id)
        finished = known is not None and (known.status, known.fingerprint) == ("complete", fingerprint)
        if known is not None and finished and not planned.failed and not unscored(known.protocols, planned):
            require_same_plugins(known, plugin_files(method_class, source))
            require_same_data(known, planned, dense, open_)
            note(f"{run_id} is finished already; --force repeats it")
            return known
        labels = None
        if not isinstance(dense, MissingData):
            labels = TrainingLabels.of(dense, config, store)
        elif retrain and not issubclass(method_class, TrainedElsewhere):
            raise dense
        if labels is not None and retrain:
            if issubclass(method_class, ReadsPredictions):
                labels = replace(labels, finishing=open_(source.name, source.selection_split or ""))
            labels.require_published()
            labels.require_labelled()
        # Whatever can be a mistake has been found by now: from here on the run is changed.
        fabric.barrier()
        if force and retrain and fabric.is_global_zero:
            _clear(folder)
        fabric.barrier()
        return _execute(method_class, config, store, open_, fabric, planned, labels, rescore=force)


def _opened(open_: Opener, name: str, split: str) -> Dataset | MissingData:
    """A split, or why it is not there. Raises DataError for one that is there and unusable."""
    try:
        return open_(name, split)
    except MissingData as error:
        return error


def _sweep(store: Store, folder: Path) -> None:
    """With the run's claim held, remove what a killed process left of it, and temporary files of others."""
    for leftover in folder.glob("predictions-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for place in (folder, store.records_folder, store.cache):
        files.sweep(place)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith(PREFIX):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _execute(
    method_class: type[Method],
    config: RunConfig,
    store: Store,
    open_: Opener,
    fabric: Fabric,
    planned: Plan,
    labels: TrainingLabels | None,
    rescore: bool,
) -> Record:
    folder = store.run_folder(config.run_id())
    source = registry.datasets.get(config.data.name)
    for sentences in planned.absent.values():
        for sentence in sentences:
            note(f"skipped: {sentence}")
    record, statistics = progress.so_far(store, config)
    if record is None:
        if issubclass(method_class, TrainedElsewhere):
            record, method = _take(method_class, config, store, fabric)
        else:
            assert labels is not None, "what is scored again was trained"
            record, method = _train(method_class, config, store, fabric, labels)
    else:
        require_same_plugins(record, plugin_files(method_class, source))
        if labels is not None:
            require_same_labels(record, labels.dense, labels.info)
        method = _load(method_class, config, folder, record.checkpoint_hash)
        record.scoring_environment = environment.describe(fabric.device, fabric.world_size)
    record.status = "unfinished"
    method = method.to(fabric.device).eval()
    record.method_facts = dict(method.facts())
    wanted = planned.targets if rescore else unscored(record.protocols, planned, statistics)
    statistics, failures = _score(method, record, statistics, wanted, open_, fabric, folder)
    for status, reasons in (("skipped", planned.skipped), ("failed", planned.failed)):
        for name, reason in reasons.items():
            version = registry.protocols.get(name).version
            enter(record, name, ProtocolResult(version=version, status=status, reason=reason), source)
            note(f"{status} protocol {name}: {reason}")
    record.status, record.created = "complete", now()
    if fabric.is_global_zero:
        record.statistics_hash = store.write_statistics(record.run_id, statistics)
        store.write(record)
        progress.save_record(folder, record)
    failures |= planned.failed
    if failures:
        raise ProtocolFailed("; ".join(f"protocol {name} failed: {why}" for name, why in failures.items()), record)
    return record


class ProtocolFailed(RunFailed):
    """Some protocols of a run failed. All else is in its record, which is written."""

    def __init__(self, reason: str, record: Record) -> None:
        super().__init__(reason)
        self.record = record


def _train(
    method_class: type[Method], config: RunConfig, store: Store, fabric: Fabric, labels: TrainingLabels
) -> tuple[Record, Method]:
    """A trained method, and a record that has no scores yet; both are in the run's folder."""
    folder = store.run_folder(config.run_id())
    record = _new_record(
        config,
        supervision=labels.supervision(method_class),
        data=labels.info,
        environment=environment.describe(fabric.device, fabric.world_size),
        plugins=plugin_files(method_class, registry.datasets.get(config.data.name)),
    )
    trained = training.train(
        method_class,
        config,
        labels.seen,
        fabric,
        folder,
        store.cache,
        after_training=labels.finishing,
        content=labels.info.content,
        plugins=record.plugins,
        features=None if config.features is None else store.run_folder(config.features.run) / models.MODEL,
    )
    record.training = trained.training
    record.checkpoint_hash = gather_one(trained.digest)[0]
    if fabric.is_global_zero:
        progress.save(folder, record, {})
        (folder / checkpoints.CHECKPOINT).unlink(missing_ok=True)
    if fabric.world_size == 1:
        return record, trained.method
    fabric.barrier()  # score what the record names, not each rank's own batch statistics
    return record, _load(method_class, config, folder, record.checkpoint_hash)


def _take(method_class: type[Method], config: RunConfig, store: Store, fabric: Fabric) -> tuple[Record, Method]:
    """A method that was trained elsewhere, and a record that has no scores yet; both are in the run's folder."""
    assert issubclass(method_class, TrainedElsewhere)
    folder, source = store.run_folder(config.run_id()), registry.datasets.get(config.data.name)
    record = _new_record(
        config,
        encoder_weights=f"trained elsewhere: {method_class.provenance}",
        supervision={"kind": "dense", "source": "elsewhere", "labelled_fraction": None},
        environment=environment.describe(fabric.device, fabric.world_size),
        plugins=plugin_files(method_class, source),
    )
    method, record.training, digest = elsewhere.take(method_class, config, fabric, folder, store.cache)
    record.checkpoint_hash = gather_one(digest)[0]
    if fabric.is_global_zero:
        progress.save(folder, record, {})
    return record, elsewhere.answering(method, source)


def _load(method_class: type[Method], config: RunConfig, folder: Path, digest: str | None) -> Method:
    """The method of a run from its folder, in the classes of the run's data set."""
    source, path = registry.datasets.get(config.data.name), folder / models.MODEL
    if not issubclass(method_class, TrainedElsewhere):
        return models.load_model(method_class, config, source.classes, path, digest)
    own = elsewhere.own_classes(method_class)
    return elsewhere.answering(models.load_model(method_class, config, own, path, digest), source).eval()


def _score(
    method: Method,
    record: Record,
    statistics: dict[str, np.ndarray],
    wanted: dict[str, list[tuple[str, str]]],
    open_: Opener,
    fabric: Fabric,
    folder: Path,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Enter the scores of the ``wanted`` targets, by protocol, into ``record``.

    Returns ``statistics`` with theirs, and by protocol that failed the reason.
    """
    source = registry.datasets.get(record.config.data.name)
    before, kept = dict(record.protocols), statistics
    session = _Session(source)
    evaluation = Evaluation(
        predictor=Predictor(method, record.config.recipe.inference, fabric.device),
        source=source,
        open=open_,
        scratch=folder,
        density_score=method.density_score,
        results=judged(record, source),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    headline = evaluation.results.get("closed-set")
    for outcomes in score(evaluation, {registry.protocols.get(name): targets for name, targets in wanted.items()}):
        if isinstance(method, elsewhere.Translated):
            for scores in filter(None, (outcome.scores for outcome in outcomes)):
                scores.notes += method.notes
        session.add(outcomes)
        record.protocols, statistics = dict(before), kept
        for name, found in session.results.items():
            enter(record, name, found, source)
            if found.status == "complete":
                statistics = merge_statistics(statistics, session.statistics[name], name, found.targets)
        evaluation.results = judged(record, source)
        _summarise_anew(record, evaluation.results)
        if outcomes and fabric.is_global_zero:
            progress.save(folder, record, statistics)
    if evaluation.predictor.seconds:
        record.inference_seconds = round(median(evaluation.predictor.seconds), 6)
    _note_old_drops(record, headline, evaluation.results.get("closed-set"), {*wanted})
    return statistics, {name: found.reason or "" for name, found in session.results.items() if found.status == "failed"}


class _Session:
    """What is found in one scoring, by protocol: one that fails on a target has no result, whatever it found before."""

    def __init__(self, source: type[Dataset]) -> None:
        self.source = source
        self.results: dict[str, ProtocolResult] = {}
        self.statistics: dict[str, dict[str, np.ndarray]] = {}

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Take in what is done."""
        for outcome in outcomes:
            protocol = outcome.protocol
            result = self.results.setdefault(protocol.name, ProtocolResult(version=protocol.version))
            result.seconds = round((result.seconds or 0) + outcome.seconds, 2)
            if result.status == "failed":
                continue
            if outcome.scores is None:
                self._fail(protocol, f"{outcome.target}: {outcome.reason}")
                continue
            result.targets[outcome.target] = outcome.scores
            self.statistics.setdefault(protocol.name, {}).update(outcome.statistics)
            try:
                result.targets = in_order(result.targets, target_names(protocol, self.source))
                summarise(protocol, result, {})
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self._fail(protocol, located(error))

    def _fail(self, protocol: type[Protocol], reason: str) -> None:
        note(f"protocol {protocol.name} failed: {reason}")
        self.results[protocol.name] = ProtocolResult(version=protocol.version, status="failed", reason=reason)


def _summarise_anew(record: Record, results: Mapping[str, ProtocolResult]) -> None:
    """Let summaries that compare with other protocols do so with their ``results`` of now."""
    for name, result in record.protocols.items():
        protocol = registry.protocols.known(name)
        if protocol is not None and result.targets and result.version == protocol.version:
            metrics = [scores.metrics for scores in result.targets.values()]
            record.protocols[name] = result.model_copy(
                update={"summary": {**result.summary, **protocol.summarise(metrics, results)}}
            )


def _note_old_drops(
    record: Record, before: ProtocolResult | None, now: ProtocolResult | None, scored: set[str]
) -> None:
    """Say which protocols that were not ``scored`` now have numbers that compare with closed-set scores of before."""
    if before is None or now is None or before.summary == now.summary:
        return
    for name in record.protocols.keys() - scored:
        protocol = registry.protocols.known(name)
        if protocol is not None and protocol.compared:
            note(
                f"the {protocol.compared} of {name} are still from the closed-set scores of before; renew them with "
                f"`bench evaluate {record.run_id} --protocol {name}`"
            )


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _new_record(config: RunConfig, **facts: Any) -> Record:
    """A record that says what ``config`` does, and ``facts``; unfinished, if these do not say otherwise."""
    described: dict[str, Any] = {
        "run_id": config.run_id(),
        "fingerprint": config.fingerprint(),
        "status": "unfinished",
        "created": "",
        "config": config.portable(),
        "configuration": naming.name(config.portable()),
        "encoder_weights": config.weights_label(),
        "inference": config.recipe.inference.label(),
    }
    return Record(**{**described, **facts})


def fail(store: Store, config: RunConfig, reason: str) -> None:
    """Say why a run failed, and leave a row, unless scores or a damaged record, the user's to look at, are there."""
    interruption.check()
    note(f"{config.run_id()} failed: {reason}")
    try:
        existing = store.read(config.run_id())
    except UserError:
        return
    if existing is None or existing.status != "complete":
        record = _new_record(
            config,
            status="failed",
            reason=reason,
            created=now(),
            supervision={"kind": config.data.supervision, "labelled_fraction": None},
            environment=environment.describe(torch.device("cpu")),
        )
        store.write(record)


def load(store: Store, record: Record) -> Method:
    """The trained method of a finished run, in ``eval`` mode on the CPU: the one that was scored in ``record``."""
    config = record.config
    method_class = registry.methods.get(config.method_name)
    if method_class.version != config.method_version:
        raise UserError(
            f"run {record.run_id} was made by {config.method_name} version {config.method_version}, this is version "
            f"{method_class.version}; run it again"
        )
    return _load(method_class, config, store.run_folder(record.run_id), record.checkpoint_hash)
