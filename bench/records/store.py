"""Where records are kept, and how they are read back.

``<results>/records/<run id>.json`` is the record; ``<run id>.npz`` beside it holds statistics per image, so that
confidence intervals and paired tests need no second inference. The record names its hash.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import files
from bench.common.console import note
from bench.common.errors import UserError, first_line
from bench.records.migration import migrated
from bench.records.verification import out_of_range, problem
from bench.schema.record import SCHEMA_VERSION, Record

RECORD_BYTES = 2**24
"""No record is larger: those of a dozen targets and hundreds of classes take a hundredth of it."""
ARRAYS_BYTES = 2**32
"""No file of statistics is larger, packed or unpacked."""
KEPT_BYTES = 2**27
"""Statistics that were read whole, and are kept for those who ask again: what tables are built of is read twice."""
DEPTH = 32
"""Of tables in tables in a record."""

SO_FAR = "record.json"
"""In a run's folder: its record so far, sealed; unfinished until it is also among the records."""
STATISTICS_SO_FAR = "record.npz"
"""Its statistics per image."""
ABOUT = "record of an unfinished run"
"""What the seal of the former says."""
OLDER = {SO_FAR: "progress.json", STATISTICS_SO_FAR: "progress.npz"}
"""What both were called under schema 1."""


class Store:
    """The results folder: ``records/`` is kept and committed, ``runs/`` holds checkpoints, logs and pictures."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._kept: dict[str | None, dict[str, np.ndarray]] = {}  # by hash; None is never kept
        self._room = KEPT_BYTES

    @property
    def records_folder(self) -> Path:
        """Where records and their statistics lie."""
        return self.root / "records"

    @property
    def cache(self) -> Path:
        """What outlives a run: sparse labels, codecs, class indices."""
        return self.root / "runs" / "cache"

    def run_folder(self, run_id: str) -> Path:
        """Where a run's checkpoints, log and pictures lie."""
        return self.root / "runs" / run_id

    def record_path(self, run_id: str) -> Path:
        """The record of a run."""
        return self.records_folder / f"{run_id}.json"

    def statistics_path(self, run_id: str) -> Path:
        """The per-image statistics of a run."""
        return self.records_folder / f"{run_id}.npz"

    def models(self, run_id: str) -> list[Path]:
        """The files of weights of a run that are here."""
        return sorted(self.run_folder(run_id).glob("*.safetensors"))

    def require_writable(self) -> None:
        """Create the folders; a folder that cannot be written is the user's mistake."""
        try:
            for name in ("records", "runs"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.root / name):
                    pass
        except OSError as error:
            raise UserError(
                f"results folder {self.root} cannot be written ({error.strerror}); choose another with --results"
            ) from None

    def read(self, run_id: str) -> Record | None:
        """The record of ``run_id``, or None if there is none. Raises UserError if it is damaged."""
        path = self.record_path(run_id)
        return read_record(path) if path.exists() else None

    def write(self, record: Record) -> None:
        """Write a record, whole or not at all."""
        files.write(self.record_path(record.run_id), json.dumps(record.model_dump(mode="json"), indent=1) + "\n")

    def read_statistics(self, run_id: str, under: str = "") -> dict[str, np.ndarray]:
        """Statistics per image by name, of names that begin with ``under``; empty if there are none.

        Raises UserError if they are damaged, or not those that the record names.
        """
        record = self.read(run_id)
        return self._statistics(run_id, None if record is None else record.statistics_hash, under)

    def statistics_of(self, record: Record, under: str = "") -> dict[str, np.ndarray]:
        """``read_statistics`` of a record that was read already; what was read whole is kept for the next time."""
        digest = record.statistics_hash
        if digest in self._kept:
            return {name: array for name, array in self._kept[digest].items() if name.startswith(under)}
        found = self._statistics(record.run_id, digest, under)
        size = sum(array.nbytes for array in found.values())
        if digest is not None and not under and size <= self._room:
            self._kept[digest] = found
            self._room -= size
        return found

    def _statistics(self, run_id: str, digest: str | None, under: str) -> dict[str, np.ndarray]:
        try:
            return read_arrays(self.statistics_path(run_id), digest, under)
        except DamagedArrays as error:
            raise UserError(
                f"{error}; renew it with `bench evaluate {run_id}`, or delete it to have tables without what it adds"
            ) from None

    def write_statistics(self, run_id: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Write per-image statistics, compressed; returns the SHA-256 of the file, for the record to name."""
        content = compressed(arrays)
        files.write(self.statistics_path(run_id), content)
        return files.digest(content)

    def records(self) -> list[Record]:
        """All records of the folder that make sense, by run id; a note names each that is left out.

        Those are records with numbers that no metric can have, or that their own statistics contradict, and those of
        a newer suite. Raises UserError naming every file that cannot be read.
        """
        found, problems = [], []
        for path in sorted(self.records_folder.glob("*.json")):
            try:
                record = read_record(path)
                self.require_sound(record)
            except (SenselessRecord, NewerRecord) as error:
                note(f"left out: {error}")
            except UserError as error:
                problems.append(str(error))
            else:
                if record.status == "unfinished":
                    note(f"left out: record {path} is of an unfinished run; move it away and run the run again")
                else:
                    found.append(record)
        _raise_all(problems)
        return found

    def require_sound(self, record: Record) -> None:
        """Raises SenselessRecord for numbers that their own statistics contradict, UserError for damaged statistics."""
        if (fault := problem(record, self.statistics_of(record))) is not None:
            raise SenselessRecord(self.record_path(record.run_id), fault)

    def migrate(self) -> list[str]:
        """Rewrite the records of older schemas in today's; returns their run ids. Statistics stay as they are.

        Raises UserError naming every file that cannot be read, when all others are rewritten.
        """
        rewritten, problems = [], []
        for path in sorted(self.records_folder.glob("*.json")):
            try:
                record = read_record(path)
            except NewerRecord as error:
                note(f"left as it is: {error}")
            except UserError as error:
                problems.append(str(error))
            else:
                if json.loads(path.read_bytes())["schema_version"] != SCHEMA_VERSION:
                    self.write(record)
                    rewritten.append(record.run_id)
        _raise_all(problems)
        return rewritten

    def unfinished(self) -> list[Record]:
        """What is known of the runs that have no record yet, by run id; nothing of damaged ones."""
        found, finished = [], self._ids()
        for folder in sorted(path for path in (self.root / "runs").glob("*") if path.name not in finished):
            with suppress(FileNotFoundError, NotADirectoryError, files.Damaged):
                found.append(read_so_far(folder).model_copy(update={"status": "unfinished"}))
        return found

    def _ids(self) -> list[str]:
        return sorted(path.stem for path in self.records_folder.glob("*.json"))

    def matching(self, name: str) -> list[str]:
        """The run ids that are ``name`` or begin with it, or that of the file or folder ``name``."""
        stem = Path(name).name.removesuffix(".json")
        if not stem:
            return []
        ids = self._ids()
        return [i for i in ids if i == stem] or [i for i in ids if i.startswith(stem)]

    def find(self, name: str) -> Record:
        """The one record that ``name`` is ``matching``. Raises UserError if it is none or several."""
        matches = self.matching(name)
        if len(matches) == 1:
            return read_record(self.record_path(matches[0]))
        known = ", ".join(self._ids()) or "none"
        problem = "is ambiguous, it begins" if matches else "is not in"
        listing = f": {', '.join(matches)}" if matches else f" {self.root}; its runs are {known}"
        raise UserError(f"run {name!r} {problem}{listing}")


def _raise_all(problems: list[str]) -> None:
    """Raise one UserError for all, if there are any."""
    if len(problems) > 1:
        named = ", ".join(problem.rpartition(";")[0] for problem in problems)  # without the remedy of each
        raise UserError(f"{len(problems)} records cannot be read: {named}; move them away or run their runs again")
    if problems:
        raise UserError(problems[0])


DAMAGES = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    SyntaxError,
    AttributeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
"""What NumPy raises for a damaged archive: from the archive, its compression, or the header of an array."""


class DamagedArrays(Exception):
    """A file of arrays that cannot be read, named in the words of a sentence's first half."""


def compressed(arrays: Mapping[str, np.ndarray]) -> memoryview:
    """The bytes of an ``.npz`` file of ``arrays``; equal arrays have equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getbuffer()


class _Claim(ValueError):
    """What an archive says of itself and cannot be."""


def read_arrays(path: Path, digest: str | None = None, under: str = "") -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name, where it begins with ``under``; none if there is no file.

    Raises DamagedArrays, too if ``digest`` is given and not the SHA-256 of the file.
    """
    try:
        content = files.read(path, ARRAYS_BYTES) if digest is None else files.read_checked(path, digest)
        return arrays_of(content, under)
    except FileNotFoundError:
        return {}
    except files.Damaged as error:
        raise DamagedArrays(f"statistics file {error}") from None
    except DAMAGES as error:
        # NumPy takes what is no archive for pickled objects, and its advice to allow these helps none.
        named = str(error) if isinstance(error, _Claim) else "it is cut off or no archive"
        raise DamagedArrays(f"statistics file {path} is damaged ({named})") from None


def arrays_of(content: bytes, under: str = "") -> dict[str, np.ndarray]:
    """The arrays of what ``compressed`` gave, by name, where it begins with ``under``. Raises ``DAMAGES``.

    Memory is only asked for what the archive holds, and for no more than ``ARRAYS_BYTES``.
    """
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if (claimed := sum(member.file_size for member in members)) > ARRAYS_BYTES:
            raise _Claim(f"it claims {claimed / 2**30:.0f} GiB of arrays")
        for member in members:
            if not member.filename.startswith(under):
                continue
            content = archive.read(member)
            (shape, by_column, dtype), start = _header(content[: content.find(b"\n", 10) + 1])
            size = start + math.prod(shape) * dtype.itemsize
            if dtype.kind not in "biufU" or not dtype.itemsize or not size == len(content) == member.file_size:
                raise _Claim(f"{member.filename} says that it is {dtype} of shape {shape}, which it cannot be")
            values = np.ndarray(math.prod(shape), dtype, content, start)
            arrays[member.filename.removesuffix(".npy")] = values.reshape(shape, order="F" if by_column else "C")
    return arrays


@lru_cache(maxsize=1024)
def _header(head: bytes) -> tuple[tuple[tuple[int, ...], bool, np.dtype], int]:
    """What an array begins with: shape, order and type, and its length. Few differ, and NumPy parses Python there."""
    file = io.BytesIO(head)
    return _HEADERS[np.lib.format.read_magic(file)](file), file.tell()


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class SenselessRecord(UserError):
    """A record that can be read, but with numbers that cannot be."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"record {path} is not to be believed ({fault}); move it away and run the run again")


class NewerRecord(UserError):
    """A record that a later version of the suite wrote."""


def read_record(path: Path) -> Record:
    """Read one record of this schema or an older one; a damaged one is an error that names the file, never a silent
    gap in a table.

    Raises UserError, NewerRecord, and SenselessRecord for numbers that no metric can have.
    """
    try:
        content = parsed(files.read(path, RECORD_BYTES))
        version = content.get("schema_version") if isinstance(content, dict) else None
        if type(version) is int and version > SCHEMA_VERSION:
            raise NewerRecord(
                f"record {path} has schema version {version}, this suite reads those up to {SCHEMA_VERSION}; "
                "update genseg-bench"
            )
        record = migrated(content)
    except files.Damaged as error:
        raise UserError(f"record {error}; move it away and run the run again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"record {path} is damaged ({first_line(error)}); move it away and run the run again") from None
    if record.run_id != path.stem:
        raise UserError(f"record {path} is of run {record.run_id}; give it back that name, or move it away")
    if (fault := next(out_of_range(record), None)) is not None:
        raise SenselessRecord(path, fault)
    return record


def read_so_far(folder: Path) -> Record:
    """The record so far in a run's ``folder``. Raises Damaged, or FileNotFoundError if there is none."""
    path = place_so_far(folder, SO_FAR)
    try:
        return migrated(json.loads(files.read_sealed(path, ABOUT)))
    except ValueError as error:
        raise files.Damaged(path, first_line(error)) from None


def place_so_far(folder: Path, name: str) -> Path:
    """Where SO_FAR or its statistics are: under the older name, if they are only there."""
    older = folder / OLDER[name]
    return older if older.exists() and not (folder / name).exists() else folder / name


def parsed(content: bytes) -> Any:
    """The value of JSON that says one thing and can be worked with.

    Raises ValueError or RecursionError for what is not, has a key twice, numbers beyond 64 bits, halves of surrogate
    pairs, or tables in tables without end.
    """
    value = json.loads(content.decode(), object_pairs_hook=_table, parse_int=_integer)
    if b"\\u" in content:  # the only way to half a surrogate pair
        json.dumps(value, ensure_ascii=False).encode()
    level = [value]
    for _ in range(DEPTH):
        level = [part for whole in level for part in _parts(whole)]
    if level:
        raise ValueError(f"it is nested over {DEPTH} deep")
    return value


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r:.40} stands twice in one table")
    return table


def _integer(text: str) -> int:
    if len(text) > 19:
        raise ValueError(f"it has an integer of {len(text)} digits")
    return int(text)


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
