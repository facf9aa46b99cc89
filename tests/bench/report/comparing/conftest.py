"""Hand-made results: two methods, seeds, images, and what was counted of each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from bench.records.ledger import ledger
from bench.report.comparing.results import Results
from bench.schema.record import ProtocolResult, Record, Scores
from bench.scoring.protocols import ClosedSet
from tests.bench.report.leaderboard.conftest import Bench, confusions, info

IDS = np.array([f"i{i:02d}" for i in range(40)])


class Made(Bench):
    """Makes records with the statistics from which their numbers follow."""

    def scored(
        self, method: str, seed: int, accuracy: float, *, protocol: str = "closed-set", targets=("test",), **fields
    ) -> Record:
        result = ProtocolResult(version="1", headline=targets[0] if protocol == "closed-set" else None)
        arrays = {}
        for place, target in enumerate(targets):
            name, split = target.split("/") if "/" in target else ("toyscapes", target)
            counts = confusions(
                accuracy - 0.1 * place, seed=zlib.crc32(f"{method} {seed} {target}".encode()), data_seed=place
            )
            total = counts.sum(0)
            metrics = {
                key: float(value) for key, value in ClosedSet.metrics(ClosedSet.condensed({"confusion": total})).items()
            }
            classes = dict(zip("abc", map(float, ClosedSet.per_class({"confusion": total})["iou"]), strict=True))
            result.targets[target] = Scores(
                dataset=info(name, split, images=len(counts)), metrics=metrics, per_class={"iou": classes}
            )
            arrays |= {f"{protocol}/{target}/confusion": counts, f"{protocol}/{target}/ids": IDS}
        record = self.record(method, seed, protocols={protocol: result}, **fields)
        self.arrays[record.run_id] = arrays
        return record


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def results(made: Made) -> Callable[[Iterable[Record]], Results]:
    def of(records: Iterable[Record]) -> Results:
        return Results.made(ledger(list(records)), made.statistics)

    return of
