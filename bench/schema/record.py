"""The record of a run: what it was, with what it was made, and what every protocol found."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.common.names import RunId
from bench.config.tables import RunConfig

SCHEMA_VERSION = 2


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
    micro_batch: int | None = None
    """Images that passed at once, where recipe.micro_batch=auto found how many can."""
    bytes_a_step: dict[str, int] = {}
    """What each rank hands to the others in a step, by purpose: ``gradients``, ``norms`` (on a GPU torch's, and not
    counted) and ``method``, with what the loop reports. Empty on one rank, and in older records."""
    final_losses: dict[str, float] = {}

    @property
    def exchanged(self) -> str:
        """``bytes_a_step`` as it is printed."""
        parts = ", ".join(f"{purpose} {count / 1e6:.3g}" for purpose, count in sorted(self.bytes_a_step.items()))
        return f"{sum(self.bytes_a_step.values()) / 1e6:.3g} MB ({parts})"


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
    headline: str | None = None
    """The target on which the protocol is judged, of which ``summary`` repeats a number; None without one."""
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
    status: Literal["complete", "failed", "unfinished"]
    """Unfinished in the run's folder alone, while scores are still to come."""
    reason: str | None = None
    created: str
    """UTC, ISO 8601."""
    config: RunConfig
    configuration: str
    """What people call it: the method, and the settings that are not its defaults."""
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
    inference_seconds: float | None = None
    """Of a prediction, the median over the images that were scored last; None in older records."""
    plugins: dict[str, str] = {}
    """By name the SHA-256 of the files that a method and a data set from outside the suite were trained with."""
    checkpoint_hash: str | None = None
    """SHA-256 of the file of the model that was scored."""
    statistics_hash: str | None = None
    """SHA-256 of the file of statistics per image; None in older records."""
    protocols: dict[str, ProtocolResult] = {}
    method_facts: dict[str, Any] = {}
    """What the method reports of itself (a codec's bound, a bank's purity)."""
