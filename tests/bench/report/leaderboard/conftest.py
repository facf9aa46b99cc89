"""Hand-made records and per-image statistics."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.config.tables import DataConfig, NetworkConfig, Recipe, RunConfig
from bench.records import naming
from bench.schema.record import DatasetInfo, Environment, ProtocolResult, Record, Scores

TRAINING = DatasetInfo(name="toyscapes", split="train", images=100, fingerprint="feedfacecafe")


class Bench:
    """Makes records, and remembers their statistics for ``build``."""

    def __init__(self) -> None:
        self.arrays: dict[str, dict[str, np.ndarray]] = {}
        self.asked: list[str] = []
        self.numbers = itertools.count()  # no two records of a results folder have one id

    def statistics(self, run_id: str, under: str = "") -> dict[str, np.ndarray]:
        self.asked.append(run_id)
        return {key: array for key, array in self.arrays.get(run_id, {}).items() if key.startswith(under)}

    def record(
        self,
        method: str = "softmax",
        seed: int = 0,
        miou: float | None = 0.5,
        *,
        protocols: dict[str, ProtocolResult] | None = None,
        config: Mapping[str, Any] | None = None,
        method_version: str = "1",
        network: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        seen: DatasetInfo | None = TRAINING,
        run_id: str | None = None,
        **fields: Any,
    ) -> Record:
        run = RunConfig(
            method_name=method,
            method_version=method_version,
            method=dict(config or {"dim": 64}),
            data=DataConfig(**{"name": "toyscapes", "supervision": "dense", **(data or {})}),
            network=NetworkConfig(**(network or {})),
            recipe=Recipe(**(recipe or {})),
            seed=seed,
            encoder_weights_hash=fields.pop("encoder_weights_hash", None),
        )
        if protocols is None:
            protocols = {"closed-set": closed_set(miou)}
        defaults: dict[str, Any] = {
            "status": "complete",
            "created": "2025-01-01T00:00:00Z",
            "data": seen,
            "environment": Environment(
                **{"commit": "0123456789abcdef", "dirty": False, "hardware": "CPU", **(environment or {})}
            ),
        }
        return Record(
            run_id=run_id or f"{run.run_id()}-{next(self.numbers)}",
            fingerprint=run.fingerprint(),
            config=run,
            configuration=naming.name(run),
            protocols=protocols,
            **{**defaults, **fields},
        )


def info(name: str = "toyscapes", split: str = "test", images: int = 20, fingerprint: str = "abad1dea") -> DatasetInfo:
    return DatasetInfo(name=name, split=split, images=images, fingerprint=fingerprint)


def closed_set(miou: float | None, version: str = "1", target: str = "test", **metrics: float | None) -> ProtocolResult:
    scores = Scores(dataset=info(split=target), metrics={"miou": miou, **metrics})
    return ProtocolResult(version=version, headline=target, targets={target: scores}, summary={"miou": miou})


def anomaly(
    by_score: Mapping[str, Mapping[str, float | None]],
    target: str = "road_anomaly/test",
    prevalence: float = 0.02,
) -> ProtocolResult:
    name, split = target.split("/")
    scores = Scores(
        dataset=info(name, split),
        metrics={"prevalence": prevalence, "positives": 20.0, "negatives": 980.0},
        by_score={key: dict(values) for key, values in by_score.items()},
    )
    return ProtocolResult(version="1", targets={target: scores}, summary={"closed_set_miou": 0.6})


def confusions(accuracy: float, images: int = 40, classes: int = 3, seed: int = 0, data_seed: int = 7) -> np.ndarray:
    """(n, C, C) of images; their difficulty depends on ``data_seed``, errors on ``seed``."""
    difficulty = np.random.default_rng(data_seed).normal(0, 0.05, size=(images, 1))
    rng = np.random.default_rng(seed)
    right = rng.binomial(1000, np.clip(accuracy + difficulty, 0, 1), size=(images, classes))
    counts = np.zeros((images, classes, classes), np.int64)
    for c in range(classes):
        counts[:, c, c] = right[:, c]
        counts[:, c, (c + 1) % classes] = 1000 - right[:, c]
    return counts


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers of parts of records."""
    return SimpleNamespace(info=info, closed_set=closed_set, anomaly=anomaly, confusions=confusions)
