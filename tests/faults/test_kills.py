"""A run that is killed, wherever and however often, ends with the numbers and the weights of one that was not."""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.faults.conftest import arguments, numbers
from tests.faults.injection import At, send

KILL = partial(send, signal.SIGKILL)


def leftovers(results: Path) -> list[Path]:
    """What a finished run does not need."""
    return [*results.rglob(".*.part"), *results.rglob("training.ckpt"), *results.rglob("predictions-*")]


def test_kills_at_every_kind_of_step_change_no_number(forked, finished, data_root, tmp_path):
    results = tmp_path / "results"
    command = arguments("gmmseg", data_root, results)
    for at in (
        At("os.fsync"),  # of the first checkpoint
        At("bench.training.loop.schedule", 4),  # past it
        At("bench.training.loop.save_model"),
        At("bench.runs.resume.save"),  # a model without a word about it
        At("bench.model.predictor.Predictor.__call__", 9),
        At("bench.records.store.Store.write"),
    ):
        assert forked(command, at=at, action=KILL).code == -signal.SIGKILL, at
        assert not list((results / "records").glob("*.json"))
    outcome = forked(command)
    assert outcome.code == 0, outcome.stderr
    assert numbers(results) == numbers(finished("gmmseg"))
    assert not leftovers(results)


POINTS = {
    "os.replace": 8,
    "os.fsync": 8,
    "os.fork": 4,
    "os.mkdir": 2,
    "bench.training.loop.schedule": 4,
    "torch.optim.AdamW.step": 8,
    "bench.model.predictor.Predictor.__call__": 12,
    "datasets.supervision.wrapper.derive": 8,
    "methods.segsort.method.SegSort._bank_rows": 8,
    "methods.base.Method.load_state_dict": 2,
}
"""By what is called, up to which call a process is killed at it."""
CALLS = 300_000
"""Up to which call of any function."""


@pytest.mark.long
@pytest.mark.parametrize("sequence", range(30))
def test_random_sequences_of_kills_change_no_number(forked, finished, data_root, tmp_path, sequence):
    draw = random.Random(sequence)
    method = ("softmax", "gmmseg", "segsort", "agmm", "gss")[sequence % 5]
    command = arguments(method, data_root, tmp_path / "results")
    killed = 0
    for _ in range(draw.randint(2, 5)):
        name = draw.choice([*POINTS, *3 * ["any"]])
        at = int(CALLS ** draw.uniform(0.6, 1)) if name == "any" else At(name, draw.randint(1, POINTS[name]))
        code = forked(command, at=at, action=KILL).code
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
    outcome = forked(command)
    assert outcome.code == 0, outcome.stderr
    assert numbers(tmp_path / "results") == numbers(finished(method)), f"killed {killed} times"
    assert not leftovers(tmp_path / "results")
