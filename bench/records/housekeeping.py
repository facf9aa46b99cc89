"""What lies in a results folder, what of it can go, and folders of several machines as one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.common import claims, files
from bench.common.errors import UserError
from bench.records.store import Store
from bench.schema.record import Record


class Listed(NamedTuple):
    """A run of a results folder."""

    run: str
    status: str
    """complete, failed, or unfinished."""
    created: str
    """When it was finished, or last saved what it is (UTC, ISO 8601)."""
    megabytes: float
    """Of its record and its folder."""
    configuration: str
    dataset: str
    supervision: str
    recipe: str
    seed: int


def listing(store: Store) -> list[Listed]:
    """All runs, those that are unfinished last."""
    records = [*store.records(), *store.unfinished()]
    return [
        Listed(
            record.run_id,
            record.status,
            record.created,
            sum(map(_megabytes, _places(store, record.run_id))),
            record.configuration,
            record.config.data.name,
            record.config.data.supervision,
            record.config.recipe.name,
            record.config.seed,
        )
        for record in records
    ]


class Removable(NamedTuple):
    """A file or folder that can go."""

    path: Path
    megabytes: float
    what: str


def removable(store: Store, unfinished: bool, models: bool, cache: bool) -> Iterator[Removable]:
    """What is asked for: folders of runs without a record, models of finished runs, what is fitted once for many runs.

    A run that is in progress keeps its folder.
    """
    for folder in sorted(path for path in (store.root / "runs").glob("*") if path.is_dir()):
        finished = store.record_path(folder.name).exists()
        if folder == store.cache:
            if cache:
                yield Removable(folder, _megabytes(folder), "cache")
        elif finished and models:
            for path in store.models(folder.name):
                yield Removable(path, _megabytes(path), "model")
        elif not finished and unfinished and not _in_progress(folder):
            yield Removable(folder, _megabytes(folder), "unfinished run")


def remove(found: Sequence[Removable]) -> None:
    """Delete them."""
    for item in found:
        if item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)


class Merged(NamedTuple):
    """What became of the runs of another folder, by run id."""

    added: list[str]
    renewed: list[str]
    """Finished later than the one that was there."""
    kept: list[str]
    """There already, the same or newer."""
    completed: dict[str, list[str]]
    """There already, and what it lacked and was given: its model, its statistics."""


def merge(source: Store, target: Store, bring: Callable[[str], None] = lambda run_id: None) -> Merged:
    """Copy the finished runs of ``source`` into ``target``: records, statistics, and folders where there are any.

    Of two finished runs of one id the newer record stays; the model or the statistics that it lacks are copied where
    ``source`` has the very ones. ``bring`` fetches the folder of a run that is to be copied.
    Raises UserError for a record that cannot be read, before anything is copied.
    """
    if source.root.resolve() == target.root.resolve():
        raise UserError(f"{source.root} is the folder to merge into; name another")
    records = source.records()
    if not records:
        raise UserError(f"there is no record in {source.records_folder}; name a results folder")
    target.require_writable()
    merged = Merged([], [], [], {})
    for record in records:
        there = target.read(record.run_id)
        if there is not None and there.created >= record.created:
            if there.checkpoint_hash == record.checkpoint_hash and not target.models(there.run_id):
                bring(there.run_id)
            if added := _complete(source, target, there):
                merged.completed[there.run_id] = added
            else:
                merged.kept.append(there.run_id)
            continue
        bring(record.run_id)
        _copy(source, target, record)
        (merged.added if there is None else merged.renewed).append(record.run_id)
    return merged


def _copy(source: Store, target: Store, record: Record) -> None:
    """The record comes last: without it a run counts as unfinished."""
    if (folder := source.run_folder(record.run_id)).is_dir():
        shutil.copytree(folder, target.run_folder(record.run_id), dirs_exist_ok=True)
    if (statistics := source.statistics_path(record.run_id)).exists():
        shutil.copyfile(statistics, target.statistics_path(record.run_id))
    target.write(record)


def _complete(source: Store, target: Store, there: Record) -> list[str]:
    """Copy what a run of ``target`` lacks of model and statistics, if it has the hash that its record names."""
    run_id, added = there.run_id, []
    wanted = [
        ("model", path, target.run_folder(run_id) / path.name, there.checkpoint_hash) for path in source.models(run_id)
    ]
    wanted.append(("statistics", source.statistics_path(run_id), target.statistics_path(run_id), there.statistics_hash))
    for what, path, place, digest in wanted:
        if digest is not None and not place.exists():
            with suppress(FileNotFoundError, files.Damaged):
                files.write(place, files.read_checked(path, digest))
                added.append(what)
    return added


def _places(store: Store, run_id: str) -> tuple[Path, ...]:
    return store.record_path(run_id), store.statistics_path(run_id), store.run_folder(run_id)


def _megabytes(path: Path) -> float:
    found = path.rglob("*") if path.is_dir() else [path] * path.exists()
    return sum(file.stat().st_size for file in found if file.is_file()) / 1e6


def _in_progress(folder: Path) -> bool:
    found = claims.find(folder)
    return found is not None and found.alive
