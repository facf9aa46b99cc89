"""A finished run as one archive: its record, statistics, model and pictures, with a manifest of hashes.

The archive is a results folder of one run in a tar file, ``manifest.json`` first, in a folder or at any URL that fsspec
knows.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem

from bench.common import files
from bench.common.errors import UserError, first_line
from bench.records.housekeeping import Merged, merge
from bench.records.store import NewerRecord, Store, read_record
from bench.schema.record import Record

MANIFEST = "manifest.json"
FORMAT = 1
SHOWN = (".safetensors", ".csv", ".png", ".jpg")
"""What of a run's folder belongs to it; checkpoints of training do not."""
LARGEST = 2**36
"""Bytes that an archive may unpack to."""


def push(store: Store, record: Record, to: str) -> str:
    """Write the archive of a finished run to ``to``, a folder or URL; returns where it lies.

    Raises UserError for a run that is not complete, has no model, or of which the record, the statistics and the model
    are not those of one another.
    """
    _require_whole(store, record)
    folder = store.run_folder(record.run_id)
    paths = [store.record_path(record.run_id), store.statistics_path(record.run_id)]
    paths += sorted(path for path in folder.glob("**/*") if path.suffix in SHOWN)
    paths = [path for path in paths if path.is_file()]
    names = {path.relative_to(store.root).as_posix(): path for path in paths}
    manifest = {
        "format": FORMAT,
        "run": record.run_id,
        "files": {name: files.file_digest(path) for name, path in names.items()},
    }
    address = f"{to.rstrip('/')}/{record.run_id}.tar"
    with _opened(address, "wb") as target, tarfile.open(fileobj=target, mode="w|") as archive:
        content = json.dumps(manifest, indent=1).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for name, path in names.items():
            archive.add(path, name, recursive=False)
    return address


def pull(address: str, store: Store) -> Merged:
    """Bring the run in the archive at ``address``, a file or URL, into ``store``.

    Raises UserError for what is no such archive, differs from its manifest, or would not be pushed; nothing is kept of
    it then.
    """
    with ExitStack() as cleaned:
        with _opened(address, "rb") as source:
            store.require_writable()  # not before: of an address that leads nowhere no folder is left
            scratch = cleaned.enter_context(tempfile.TemporaryDirectory(prefix="pull-", dir=store.root / "runs"))
            try:
                with tarfile.open(fileobj=source, mode="r|*") as archive:
                    _unpack(archive, Path(scratch))
            except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{address} is no archive of a run ({error}); make one with `bench push RUN`") from None
            unpacked = Store(Path(scratch))
            try:
                for path in unpacked.records_folder.glob("*.json"):
                    _require_whole(unpacked, read_record(path))
            except UserError as error:  # of a file that is gone when it is read
                what, _, remedy = str(error).replace(f"{scratch}{os.sep}", "").rpartition("; ")
                remedy = remedy if isinstance(error, NewerRecord) else "push it again from where it was trained"
                raise UserError(f"{address} does not hold a whole run ({what}); {remedy}") from None
        return merge(unpacked, store)


def _require_whole(store: Store, record: Record) -> None:
    """Raises UserError for a run without its model, or with numbers that its statistics contradict."""
    models = store.models(record.run_id)
    if record.status != "complete" or not models:
        raise UserError(f"run {record.run_id} has no model here ({record.status}); push a finished run from its folder")
    store.require_sound(record)
    for path in models:
        try:
            files.check(path, record.checkpoint_hash or "unknown")
        except files.Damaged as error:
            raise UserError(
                f"model {path} is not the one that its run trained and scored ({error.reason}); put that one back, or "
                "train again with `bench run` and --force"
            ) from None


def _unpack(archive: tarfile.TarFile, root: Path) -> None:
    """Every file that the manifest lists, each with its hash. Raises ValueError where they differ."""
    members = iter(archive)
    first = next(members, None)
    listed = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if listed is None:
        raise ValueError("it does not begin with a manifest")
    manifest: dict[str, Any] = json.load(listed)
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']}; a newer suite may read it")
    missing: dict[str, str] = dict(manifest["files"])
    size = 0
    for member in members:
        digest = missing.pop(member.name, None)
        if digest is None or not member.isfile():
            raise ValueError(f"{member.name} is not in its manifest")
        if (size := size + member.size) > LARGEST:
            raise ValueError(f"it holds more than {LARGEST / 2**30:.0f} GiB")
        archive.extract(member, root, filter="data")
        if files.file_digest(root / member.name) != digest:
            raise ValueError(f"{member.name} is not what its manifest says")
    if missing:
        raise ValueError(f"{next(iter(missing))} is missing")
    if not any(Store(root).records_folder.glob("*.json")):
        raise ValueError("it holds no record")


@contextmanager
def _opened(address: str, mode: Literal["rb", "wb"]) -> Iterator[IO[bytes]]:
    """A file or URL. What is written is there when it is whole, and takes the place of what was there only then."""
    try:
        system, path = fsspec.core.url_to_fs(address)
        if mode == "wb" and isinstance(system, LocalFileSystem):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with system.transaction if mode == "wb" else nullcontext(), system.open(path, mode) as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # each file system has errors of its kind
        if isinstance(error, OSError) and "://" not in address:
            raise
        done = "read" if mode == "rb" else "written"
        missing = isinstance(error, ImportError)
        remedy = "install what fsspec asks for" if missing else "check the address, and that you have access"
        raise UserError(f"{address} cannot be {done} ({_reason(error, address)}); {remedy}") from None


def _reason(error: BaseException, address: str) -> str:
    """What a file system says; where that is the address alone, as over HTTP, what it comes from."""
    while str(error) in ("", address) and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return type(error).__name__ if str(error) == address else first_line(error)
