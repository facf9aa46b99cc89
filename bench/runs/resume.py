"""What of a run is done: kept in its folder while it lasts, so that whatever interrupts it costs nothing computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.common import files
from bench.common.console import note
from bench.common.errors import UserError
from bench.config.tables import RunConfig
from bench.model import weights as models
from bench.plugins import registry
from bench.records.store import (
    ABOUT,
    OLDER,
    SO_FAR,
    STATISTICS_SO_FAR,
    DamagedArrays,
    Store,
    arrays_of,
    compressed,
    place_so_far,
    read_arrays,
    read_so_far,
)
from bench.runs.rescore import enter
from bench.schema.record import Record


def so_far(store: Store, config: RunConfig) -> tuple[Record | None, dict[str, np.ndarray]]:
    """What is known of a run with a trained model: its record with all scores so far, and their statistics.

    None if there is no model, or one that no finished training left. Raises UserError for a model that is not the one
    that was scored, and where one would be trained again only because a file beside it is damaged.
    """
    folder, run_id = store.run_folder(config.run_id()), config.run_id()
    model = folder / models.MODEL
    if not model.exists():
        return None, {}
    digest = files.file_digest(model)
    written = store.read(run_id)
    if written is not None and (written.status, written.fingerprint) != ("complete", config.fingerprint()):
        written = None
    progress, damage = None, ""
    try:
        progress = read_so_far(folder)
    except FileNotFoundError:
        pass
    except files.Damaged as error:
        damage = str(error)
    of_this_run = run_id, config.fingerprint()
    if progress is not None and ((progress.run_id, progress.fingerprint) != of_this_run or progress.training is None):
        progress = None
    known = [record for record in (written, progress) if record is not None]
    if known and not any(_is_of(record, digest) for record in known):
        raise UserError(
            f"model {model} is not the one scored in {run_id}; put that one back, or train again with "
            "`bench run` and --force"
        )
    if written is not None and not _is_of(written, digest):
        written = None  # of an earlier training; a later one was interrupted before its record was written
    if progress is not None and not _is_of(progress, digest):
        progress = None
    if damage:
        if written is None:
            raise UserError(f"{damage}, and without it the model beside it would be trained again; --force does so")
        note(f"{damage}; going on from the record of the run")
    if written is None:
        return progress, {} if progress is None else _progress_arrays(folder, progress)
    statistics = _record_arrays(store, written)
    if progress is None:
        return written, statistics
    source = registry.datasets.get(config.data.name)
    record = progress.model_copy(update={"protocols": written.protocols})
    for name, result in progress.protocols.items():
        enter(record, name, result, source)
    return record, {**statistics, **_progress_arrays(folder, progress)}


def _is_of(record: Record, digest: str) -> bool:
    """Whether the scores of ``record`` are of the model with this SHA-256."""
    return record.checkpoint_hash == digest


AGAIN = "what it was about is scored again where its data is present"


def _record_arrays(store: Store, record: Record) -> dict[str, np.ndarray]:
    """The record's statistics per image; none, with a note, if the file is damaged: all is then scored again."""
    try:
        return read_arrays(store.statistics_path(record.run_id), record.statistics_hash)
    except DamagedArrays as error:
        note(f"{error}; {AGAIN}")
        return {}


def _progress_arrays(folder: Path, record: Record) -> dict[str, np.ndarray]:
    """The same of an unfinished run."""
    path = place_so_far(folder, STATISTICS_SO_FAR)
    try:
        return arrays_of(files.read_sealed(path, _about(record)))
    except FileNotFoundError:
        return {}
    except files.Damaged as error:
        note(f"statistics file {error}; {AGAIN}")
        return {}


def save(folder: Path, record: Record, statistics: dict[str, np.ndarray]) -> None:
    """Keep the record so far and its statistics in the run's ``folder``."""
    _keep(folder, STATISTICS_SO_FAR, compressed(statistics), _about(record))
    save_record(folder, record)


def save_record(folder: Path, record: Record) -> None:
    """Keep the record alone: its statistics are there."""
    _keep(folder, SO_FAR, json.dumps(record.model_dump(mode="json")).encode(), ABOUT)


def _keep(folder: Path, name: str, content: files.Content, about: str) -> None:
    """Write a file in place of the one of the older name, if that is there."""
    files.write_sealed(folder / name, content, about)
    (folder / OLDER[name]).unlink(missing_ok=True)


def _about(record: Record) -> str:
    """Statistics belong to a model: if a kill falls between the two files, the newer ones fit the older record."""
    return f"statistics per image of the model {record.checkpoint_hash}"
