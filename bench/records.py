"""What a run leaves behind, and how it is read back.

``<results>/records/<run id>.json`` is the record; ``<run id>.npz`` beside it holds statistics per image, so that
confidence intervals and paired tests need no second inference. The record names its hash.
"""

from __future__ import annotations

import io
import json
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.common import files
from bench.config import RunConfig
from bench.errors import UserError
from bench.names import RunId

SCHEMA_VERSION = 1


class Environment(BaseModel):
    """Where and with what a run was made."""

    commit: str | None = None
    dirty: bool | None = None
    packages: dict[str, str] = {}
    python: str = ""
    platform: str = ""
    hardware: str = ""
    device: str = "cpu"
    ranks: int = 1
    threads: int | None = None
    """Of the processor that computed one operation: another number rounds otherwise. None in older records."""


class Training(BaseModel):
    """What training cost."""

    steps: int
    seconds: float
    images_per_second: float
    parameters: int
    """Trainable parameters of network and head."""
    peak_memory_mb: float
    final_losses: dict[str, float] = {}


class DatasetInfo(BaseModel):
    """Which data a split was: number of images and a hash over names and sampled label bytes."""

    name: str
    split: str
    images: int
    fingerprint: str
    content: str | None = None
    """Hash over the sizes of all image and label files and the bytes of some; None in older records."""


class Scores(BaseModel):
    """The scores of one protocol on one target (a split, or a data set's split)."""

    dataset: DatasetInfo
    metrics: dict[str, float | None]
    """Flat metric values in [0, 1] or stated units; None where undefined."""
    per_class: dict[str, dict[str, float | None]] = {}
    """For example ``{"iou": {"road": 0.93, ...}}``."""
    by_score: dict[str, dict[str, float | None]] = {}
    """Anomaly protocol: metrics of each anomaly score, ``{"msp": {"auroc": ..., "ap": ...}}``."""
    by_reading: dict[str, dict[str, float | None]] = {}
    """Other protocols: metrics of the same checkpoint read in another way, ``{"bank swap": {"miou": ...}}``."""
    decomposition: dict[str, dict[str, float | None]] = {}
    """Closed-set protocol: what the method says its errors are made of, ``{"miou": {"codec_bound": ...}}``."""
    notes: list[str] = []


class ProtocolResult(BaseModel):
    """What one protocol found."""

    version: str
    status: Literal["complete", "skipped", "failed"] = "complete"
    reason: str | None = None
    targets: dict[str, Scores] = {}
    """By target id: a split of the source (``test``), or ``dataset/split``."""
    summary: dict[str, float | None] = {}
    summary_by_reading: dict[str, dict[str, float | None]] = {}
    """The summary of each other reading of the checkpoint."""
    seconds: float | None = None


class Record(BaseModel):
    """The record of one run."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    run_id: RunId
    fingerprint: str
    status: Literal["complete", "failed"]
    reason: str | None = None
    created: str
    """UTC, ISO 8601."""
    config: RunConfig
    encoder_weights: str = "scratch"
    """The encoder weights as tables show them."""
    inference: str = "whole@native"
    """Scale, windows and test-time augmentation as tables show them."""
    supervision: dict[str, Any] = {}
    """Kind of labels and the share of the pixels that they label."""
    data: DatasetInfo | None = None
    environment: Environment = Field(default_factory=Environment)
    scoring_environment: Environment | None = None
    """Where and with what the model was scored, if not in the process that trained it."""
    training: Training | None = None
    plugins: dict[str, str] = {}
    """By name the SHA-256 of the files that a method and a data set from outside the suite were trained with."""
    checkpoint_hash: str | None = None
    """SHA-256 of the file of the model that was scored."""
    statistics_hash: str | None = None
    """SHA-256 of the file of statistics per image; None in older records."""
    protocols: dict[str, ProtocolResult] = {}
    method_facts: dict[str, Any] = {}
    """What the method reports of itself (a codec's bound, a bank's purity)."""


class Store:
    """The results folder: ``records/`` is kept and committed, ``runs/`` holds checkpoints, logs and pictures."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

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

    def read_statistics(self, run_id: str) -> dict[str, np.ndarray]:
        """Arrays per image by key ``protocol/target/kind``; empty if there are none.

        Raises UserError if they are damaged, or not those that the record names.
        """
        record = self.read(run_id)
        try:
            return read_arrays(self.statistics_path(run_id), None if record is None else record.statistics_hash)
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
        """All records of the folder, by run id. Raises UserError naming every file that cannot be read."""
        found, problems = [], []
        for path in sorted(self.records_folder.glob("*.json")):
            try:
                found.append(read_record(path))
            except UserError as error:
                problems.append(str(error))
        if len(problems) > 1:
            named = ", ".join(problem.rpartition(";")[0] for problem in problems)  # without the remedy of each
            raise UserError(f"{len(problems)} records cannot be read: {named}; move them away or run their runs again")
        if problems:
            raise UserError(problems[0])
        return found

    def _ids(self) -> list[str]:
        return sorted(path.stem for path in self.records_folder.glob("*.json"))

    def matching(self, name: str) -> list[str]:
        """The run ids that are ``name`` or begin with it, or whose file or folder ``name`` is."""
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


def read_arrays(path: Path, digest: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; none if there is no file.

    Raises DamagedArrays, too if ``digest`` is given and not the SHA-256 of the file.
    """
    try:
        return arrays_of(path.read_bytes() if digest is None else files.read_checked(path, digest))
    except FileNotFoundError:
        return {}
    except files.Damaged as error:
        raise DamagedArrays(f"statistics file {error}") from None
    except DAMAGES as error:
        # NumPy takes what is no archive for pickled objects, and its advice to allow these helps nobody.
        named = error.strerror if isinstance(error, OSError) and error.strerror else "it is cut off or no archive"
        raise DamagedArrays(f"statistics file {path} is damaged ({named})") from None


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of what ``compressed`` gave, by name. Raises ``DAMAGES``."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def read_record(path: Path) -> Record:
    """Read one record; a damaged one is an error that names the file, never a silent gap in a table."""
    try:
        content = json.loads(path.read_text())
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"record {path} has schema version {version}, this suite reads {SCHEMA_VERSION}; "
                "move it away or run the run again"
            )
        record = Record.model_validate(content)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"record {path} is damaged ({cause}); move it away and run the run again") from None
    if record.run_id != path.stem:
        raise UserError(f"record {path} is of run {record.run_id}; give it back that name, or move it away")
    return record
