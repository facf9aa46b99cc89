"""A sweep makes what its lines make by hand, goes on where it was stopped, and says from the folder how far it is."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from bench.common import claims
from bench.common.claims import claimed
from bench.plugins import registry
from bench.records.store import Store
from bench.sweeps import launchers, plan, schedule
from bench.sweeps.states import state
from tests.command_line import assert_refused
from tests.command_line import call as in_process

GRID = """
datasets = ["toyscapes_mini"]
protocols = ["closed-set"]
set = ["recipe.steps=2", "recipe.batch_size=2", "recipe.workers=0"]

[[grids]]
methods = ["majority"]
seeds = [0, 1]

[[grids]]
methods = ["gmmseg"]
supervisions = ["dense", "points"]
set = ["recipe.steps=2", "recipe.workers=1", "method.components=2,3", 'recipe.description="a, b"']
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


@pytest.fixture
def call(data_root, tmp_path):
    def call(*arguments):
        where = ["--results", str(tmp_path / "results")]
        data = ["--data-root", str(data_root), "--device", "cpu"] if arguments[0] != "status" else []
        return in_process(*map(str, arguments), *where, *data)

    return call


def majority(path) -> list[plan.Planned]:
    return [run for run in plan.planned(plan.read(path)) if run.config.method_name == "majority"]


def test_the_lines_of_a_plan_make_its_runs(grid, call):
    runs = plan.planned(plan.read(grid))
    assert len(runs) == 2 + 4
    for run in runs:
        outcome = call(*run.words, "--dry-run")
        assert outcome.stdout.startswith(f"{run.run}: new"), (outcome.output, run.words)
    assert {run.config.recipe.workers for run in runs} == {0, 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methods = ['softmax']", "grids.0.datasets"),
        ("methods = ['softmax']\ndatasets = ['camvid']\nseed = [1]", "unknown key 'seed'"),
        ("methods = ['softmx']\ndatasets = ['camvid']", "softmax"),
        ("grids = 3", "list of tables"),
        ("[", "TOML"),
    ],
)
def test_a_mistake_in_a_grid_is_one_sentence(tmp_path, call, text, said):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    outcome = call("sweep", path)
    assert_refused(outcome, said)


def test_a_dry_run_prints_the_plan_and_touches_nothing(grid, call, tmp_path):
    outcome = call("sweep", grid, "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    assert "6 runs: 6 queued; 6 to make" in outcome.stdout
    assert outcome.stdout.count("bench run --method") == 6
    assert not (tmp_path / "results").exists()


def test_a_sweep_makes_its_runs_and_a_failed_one_is_a_row_with_its_reason(call, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(
        "methods = ['majority']\ndatasets = ['toyscapes_mini', 'camvid']\nprotocols = ['closed-set']\n"
        "set = ['recipe.steps=1']\n"
    )
    outcome = call("sweep", path)
    assert outcome.exit_code == 1, outcome.output
    assert "1 done, 1 failed, 0 stopped" in outcome.stdout
    store = Store(tmp_path / "results")
    failed = next(record for record in store.records() if record.status == "failed")
    assert "camvid" in failed.reason
    told = call("status")
    assert f"{failed.run_id} failed: {failed.reason}"[:60] in told.stdout
    assert "1 done, 1 failed" in told.stdout
    assert "0 to make" in call("sweep", path, "--only", "missing").stdout
    assert "2 runs: 1 done, 1 failed; 1 to make" in call("sweep", path, "--only", "failed", "--dry-run").stdout


def test_states_are_read_from_the_folder_alone(grid, call, tmp_path):
    store, (one, two) = Store(tmp_path / "results"), majority(grid)
    plan.keep(store, "grid", [one, two])
    assert "2 queued" in call("status").stdout
    with claimed(store.run_folder(one.run), "it"):
        assert state(store, one.run).state == "running"
        assert "1 queued, 1 running" in call("status").stdout
        (claim,) = store.run_folder(one.run).glob(".claim-*")
        content = json.loads(claim.read_text())
    content["process"] = 2**22 + 1
    claim.write_text(json.dumps(content))
    assert state(store, one.run).state == "stale"
    assert "was last heard of" in call("status").stdout


class Elsewhere:
    """Starts nothing: another process finishes the run meanwhile."""

    slots = 1

    def __init__(self, store, run):
        self.store, self.run, self.started = store, run, []

    def start(self, words, log):
        self.started.append(words)
        self.store.record_path(self.run.run).parent.mkdir(parents=True, exist_ok=True)
        self.store.record_path(self.run.run).write_text('{"status": "complete", "protocols": {}}')
        return Ended(2, "")


def test_a_run_that_another_process_finished_is_done_and_no_failure(grid, tmp_path):
    store, run = Store(tmp_path / "results"), majority(grid)[0]
    outcome = schedule.work([run], store, Elsewhere(store, run))
    assert (outcome.done, outcome.failed) == ([run.run], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_sweep_goes_on(tmp_path, data_root, number):
    path, results = tmp_path / "long.toml", tmp_path / "results"
    path.write_text(
        "methods = ['softmax']\ndatasets = ['toyscapes_mini']\nprotocols = ['closed-set']\n"
        "set = ['recipe.steps=40', 'recipe.batch_size=2', 'recipe.workers=0', 'recipe.checkpoint_every=1']\n"
    )
    command = ["sweep", str(path), "--results", str(results), "--data-root", str(data_root), "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-m", "bench", *command], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(results.glob("runs/*/training.ckpt")) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) in (130, -signal.SIGKILL)
    outcome = in_process(*command)  # waits for what the killed one had started
    assert outcome.exit_code == 0, outcome.output
    (record,) = Store(results).records()
    assert record.status == "complete"
    assert not list(results.rglob(".claim-*"))


class Ends:
    """A launcher of which each job has ended with the next of ``codes``; it takes ``room`` at once."""

    slots = 9

    def __init__(self, *codes, room=9, said=""):
        self.codes, self.room, self.said, self.jobs = iter(codes), room, said, []

    def start(self, words, log):
        if sum(not job.asked for job in self.jobs) >= self.room:
            raise launchers.NotStarted("the queue is full")
        self.jobs.append(Ended(next(self.codes), self.said))
        return self.jobs[-1]


class Ended:
    def __init__(self, code, said):
        self.code, self.said, self.asked = code, said, False

    def ended(self):
        self.asked = True
        return self.code

    def stop(self):
        pass


def test_a_run_that_crashes_is_a_row_and_one_that_is_killed_goes_on(grid, tmp_path, capsys):
    store, (one, two) = Store(tmp_path / "results"), majority(grid)
    outcome = schedule.work([one, two], store, Ends(-signal.SIGSEGV, -signal.SIGKILL))
    assert (outcome.failed, outcome.interrupted) == ([one.run], [two.run])
    assert "Segmentation fault" in store.read(one.run).reason
    assert store.read(two.run) is None
    assert "memory" in capsys.readouterr().err


def test_what_a_cluster_says_of_a_job_is_passed_on(grid, tmp_path, capsys):
    store, (one, two) = Store(tmp_path / "results"), majority(grid)
    outcome = schedule.work([one], store, Ends(1, said="no module named bench"))
    assert (outcome.failed, store.read(one.run).reason) == ([one.run], "no module named bench")
    schedule.work([two], store, Ends(-signal.SIGKILL, said="SLURM says NODE_FAIL"))
    assert f"{two.run} was stopped (SLURM says NODE_FAIL)" in " ".join(capsys.readouterr().err.split())


def test_a_cluster_that_takes_no_more_is_asked_again_when_a_job_has_ended(grid, tmp_path):
    store, (one, two) = Store(tmp_path / "results"), majority(grid)
    assert schedule.work([one, two], store, Ends(1, 1, room=1)).failed == [one.run, two.run]
    with pytest.raises(launchers.NotStarted):
        schedule.work([one, two], Store(tmp_path / "others"), Ends(room=0))


def test_a_run_elsewhere_is_not_started_again_by_a_clock_that_is_ahead(grid, tmp_path, monkeypatch):
    store, run = Store(tmp_path / "results"), majority(grid)[0]
    folder = store.run_folder(run.run)
    folder.mkdir(parents=True)
    (folder / f"{claims.PREFIX}1").write_text(json.dumps({"machine": "another"}))
    clock, polls = time.time, []
    monkeypatch.setattr(time, "time", lambda: clock() + 2 * claims.STALE)

    def end_elsewhere(seconds):
        polls.append(seconds)
        if len(polls) == 2:
            (folder / f"{claims.PREFIX}1").unlink()
            store.record_path(run.run).parent.mkdir()
            store.record_path(run.run).write_text('{"status": "complete", "protocols": {}}')

    monkeypatch.setattr(time, "sleep", end_elsewhere)
    assert schedule.work([run], store, Ends()).done == [run.run]


def test_devices_are_those_that_the_user_left_visible(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    told = []
    monkeypatch.setattr(launchers, "process", lambda words, log, **variables: told.append(variables) or FakeProcess())
    launcher = launchers.Local(None, 2)
    for _ in range(2):
        launcher.start([], tmp_path / "log")
    assert [one["CUDA_VISIBLE_DEVICES"] for one in told] == ["5", "7"]


def test_threads_and_devices_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    told = []
    monkeypatch.setattr(launchers, "process", lambda words, log, **variables: told.append(variables) or FakeProcess())
    launcher = launchers.Local(4, 2)
    for _ in range(4):
        launcher.start([], tmp_path / "log")
    assert [one["CUDA_VISIBLE_DEVICES"] for one in told] == ["0", "1", "0", "1"]
    assert {one["OMP_NUM_THREADS"] for one in told} == {"2"}


class FakeProcess:
    def poll(self):
        return None


def test_a_job_of_submitit_makes_the_run_and_goes_on_after_preemption(grid, data_root, tmp_path):
    submitit = pytest.importorskip("submitit")
    store, run = Store(tmp_path / "results"), majority(grid)[0]
    where = ["--results", str(store.root), "--data-root", str(data_root), "--device", "cpu"]
    launcher = launchers.Slurm(tmp_path / "jobs", {}, cluster="local")
    outcome = schedule.work([run._replace(words=[*run.words, *where])], store, launcher, ["closed-set"])
    assert outcome.done == [run.run]
    work = launchers.Work(["run"], tmp_path / "log")
    work.process = subprocess.Popen(["sleep", "60"])
    again = work.checkpoint()
    assert work.process.returncode == -signal.SIGTERM
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function.words == ["run"]


def test_no_more_jobs_than_asked_for_are_on_a_cluster_at_once(call, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    at_once = []

    class LocalCluster(launchers.Slurm):
        def __init__(self, *arguments):
            super().__init__(*arguments, cluster="local")
            self.submitted = []

        def start(self, words, log):
            self.submitted.append(super().start(words, log))
            at_once.append(sum(job.ended() is None for job in self.submitted))
            return self.submitted[-1]

    monkeypatch.setattr(launchers, "Slurm", LocalCluster)
    path = tmp_path / "small.toml"
    path.write_text(
        "methods = ['majority']\ndatasets = ['toyscapes_mini']\nprotocols = ['closed-set']\nseeds = [0, 1]\n"
    )
    outcome = call("sweep", path, "--launcher", "slurm", "--jobs", "1")
    assert outcome.exit_code == 0, outcome.output
    assert at_once == [1, 1]


def test_the_job_script_of_slurm_asks_for_what_the_grid_says(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr("submitit.SlurmExecutor.affinity", lambda *_: 2)
    made = launchers.Slurm(
        tmp_path, {"timeout_min": 90, "slurm_partition": "gpu", "gpus_per_node": 1, "cpus_per_task": 4}
    )
    script = made.executor._executor._make_submission_file_text("python -m it", "1")
    for line in ("--partition=gpu", "--time=90", "--gpus-per-node=1", "--cpus-per-task=4", "--signal=USR2@90"):
        assert f"#SBATCH {line}" in script, script


def test_a_job_that_slurm_refuses_is_one_sentence(call, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: gpu' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "small.toml"
    path.write_text("methods = ['majority']\ndatasets = ['toyscapes_mini']\n")
    outcome = call("sweep", path, "--launcher", "slurm")
    assert outcome.exit_code == 2, outcome.output
    assert "invalid partition: gpu); correct [slurm]" in outcome.stderr.splitlines()[-1]


def test_words_of_a_plan_are_those_of_its_line(grid, tmp_path):
    store, runs = Store(tmp_path / "results"), majority(grid)
    plan.keep(store, "grid", runs)
    lines = json.loads((store.root / "sweeps" / "grid.json").read_text())
    assert [shlex.split(lines[run.run]) for run in runs] == [["bench", *run.words] for run in runs]
    assert registry.methods.get("majority").name in lines[runs[0].run]
