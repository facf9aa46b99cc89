"""What of a run is done: kept in its folder while it lasts, so that whatever interrupts it costs nothing computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from bench import config as configuration
from bench import models, registry
from bench.config import RunConfig
from bench.console import note
from bench.errors import UserError
from bench.merging import enter
from bench.records import DamagedArrays, Record, Store, atomic, read_arrays

PROGRESS = "progress.json"
"""In the run's folder: the record so far."""
STATISTICS = "progress.npz"
"""Its statistics per image."""


def so_far(store: Store, config: RunConfig) -> tuple[Record | None, dict[str, np.ndarray]]:
    """What is known of a run whose model is trained: its record with all scores so far, and their statistics.

    None if there is no model, or one that no finished training left. Raises UserError where a model would be trained
    anew only because a file beside it is damaged.
    """
    folder, run_id = store.run_folder(config.run_id()), config.run_id()
    model, path = folder / models.MODEL, folder / PROGRESS
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
        return progress, {} if progress is None else _arrays(folder / STATISTICS)
    statistics = _arrays(store.statistics_path(run_id))
    if progress is None:
        return written, statistics
    source = registry.datasets.get(config.data.name)
    record = progress.model_copy(update={"protocols": written.protocols})
    for name, result in progress.protocols.items():
        enter(record, name, result, source)
    return record, {**statistics, **_arrays(folder / STATISTICS)}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Statistics per image; none, with a note, if the file is damaged: their targets are then scored again."""
    try:
        return read_arrays(path)
    except DamagedArrays as error:
        note(f"{error}; what it was about is scored again where its data is present")
        return {}


def save(folder: Path, record: Record, statistics: dict[str, np.ndarray]) -> None:
    """Keep the record so far and its statistics in the run's ``folder``."""
    with atomic(folder / STATISTICS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **statistics)  # type: ignore[arg-type]
    with atomic(folder / PROGRESS) as temporary:
        temporary.write_text(json.dumps(record.model_dump(mode="json")))
