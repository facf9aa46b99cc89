"""A rank that is killed or interrupted: one line, no record of a failure, and the run continues to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from tests.faults import injection
from tests.faults.conftest import arguments, numbers

KILL, INT, TERM = signal.SIGKILL, signal.SIGINT, signal.SIGTERM
TRAINING, SCORING = "bench.training.loop.schedule", "bench.model.predictor.Predictor.__call__"
NEVER = (TERM, "call", TRAINING, 0, 0)


def two_ranks(command: list[str], struck: tuple) -> subprocess.CompletedProcess[str]:
    """``bench`` under torchrun on the CPU, with ``struck``: a signal, to whom, at which call and of which rank."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    number, *where = struck
    full = [*launcher, injection.__file__, str(int(number)), *map(str, where), "--", *command]
    environment = {**os.environ, "PYTHONPATH": str(Path(bench.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(full, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.long
def test_a_run_of_two_ranks_of_which_some_are_killed_ends_in_the_same_bits(data_root, tmp_path):
    whole = two_ranks(arguments("gmmseg", data_root, tmp_path / "whole"), NEVER)
    assert whole.returncode == 0, whole.stderr
    results = tmp_path / "results"
    command = arguments("gmmseg", data_root, results)
    for said, *struck in (
        ("stopped at step 1 of 4", TERM, "call", TRAINING, 1, 1),
        ("rank 1 of 2 is gone", KILL, "call", TRAINING, 3, 1),
        ("stopped at step 4 of 4", INT, "launcher", TRAINING, 2, 0),
        ("rank 0 of 2 is gone", KILL, "call", "bench.training.loop.save_model", 1, 0),
        ("rank 1 of 2 is gone", KILL, "call", SCORING, 3, 1),
        ("rank 0 of 2 is gone", KILL, "call", SCORING, 5, 0),
        ("rank 0 of 2 is gone", KILL, "call", "bench.runs.resume.save", 1, 0),
    ):
        ended = two_ranks(command, tuple(struck))
        assert ended.returncode != 0, struck
        lines = [line for line in ended.stderr.splitlines() if line.startswith("interrupted")]
        assert len(lines) == 1, ended.stderr
        assert said in lines[0]
        assert lines[0].endswith("; the same command continues")
        assert "RuntimeError" not in ended.stderr
        assert not list((results / "records").glob("*.json"))
    ended = two_ranks(command, NEVER)
    assert ended.returncode == 0, ended.stderr
    assert numbers(results) == numbers(tmp_path / "whole")


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_fails_alone_ends_a_grid_within_seconds_and_the_row_says_why(data_root, tmp_path, rank):
    command = [*arguments("softmax", data_root, tmp_path), "--seed", "0", "--seed", "1"]
    ended = two_ranks(command, (0, "call", TRAINING, 3, rank))
    assert ended.returncode != 0
    assert f"rank {rank} of 2 failed alone (struck)" in ended.stderr
    (record,) = map(json.loads, (path.read_text() for path in (tmp_path / "records").glob("*.json")))
    assert (record["status"], record["config"]["seed"]) == ("failed", 0)
    assert "struck" in record["reason"]
    assert two_ranks(command, NEVER).returncode == 0
    assert {path.stem[-11:-9] for path in (tmp_path / "records").glob("*.json")} == {"s0", "s1"}
