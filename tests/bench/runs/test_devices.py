"""Commands of which several processes share the work, started by Fabric."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench as suite
from tests.faults.conftest import SHORT, numbers


def on_two(*command):
    environment = {**os.environ, "PYTHONPATH": str(Path(suite.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    full = [sys.executable, "-m", "bench", *command, "--devices", "2"]
    return subprocess.run(full, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_two_processes_score_to_the_numbers_of_one(bench, data_root, tmp_path):
    results = tmp_path / "results"
    short = ["--set", "recipe.steps=2"]
    made = bench("run", "--method", "gmmseg", *SHORT, *short, results=results)
    assert made.exit_code == 0, made.output
    expected = numbers(results)
    ((run),) = [path.stem for path in (results / "records").glob("*.json")]
    where = ["--data-root", str(data_root), "--results", str(results)]
    ended = on_two("evaluate", run, "--device", "cpu", "--protocol", "closed-set", *where)
    assert ended.returncode == 0, ended.stderr
    assert numbers(results) == expected
    record = json.loads((results / "records" / f"{run}.json").read_text())
    assert record["scoring_environment"]["ranks"] == 2


@pytest.mark.long
def test_a_grid_trains_on_two_processes_and_says_so_without_their_noise(data_root, tmp_path):
    where = ["--data-root", str(data_root), "--results", str(tmp_path)]
    ended = on_two("run", "--method", "softmax", "--method", "gmmseg", *SHORT, "--set", "recipe.steps=2", *where)
    assert ended.returncode == 0, ended.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json")]
    assert sorted(record["config"]["method_name"] for record in records) == ["gmmseg", "softmax"]
    assert [record["environment"]["ranks"] for record in records] == [2, 2]
    assert "distributed" not in ended.stderr
    assert "reducer" not in ended.stderr


def test_a_batch_that_the_processes_cannot_share_is_one_sentence(bench, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    ended = bench("run", "--method", "softmax", *SHORT, "--set", "recipe.batch_size=4")
    assert ended.exit_code == 2
    assert "a batch of 4 images cannot be shared evenly by 3 processes; set" in ended.output
