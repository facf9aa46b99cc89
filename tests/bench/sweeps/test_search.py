"""A search goes by what records say of the split for selection, and the same command goes on where it was."""

from __future__ import annotations

import sys

import pytest

from bench.records.store import Store
from bench.sweeps import plan, search
from tests.command_line import assert_refused
from tests.command_line import call as in_process

GRID = """
methods = ["majority"]
datasets = ["toyscapes_mini"]
protocols = ["closed-set"]
seeds = [0, 1]
set = ["recipe.steps=1"]

[search]
trials = 24
round = 4
settings."recipe.optimiser.lr" = { low = 1e-5, high = 1.0, log = true }
settings."recipe.batch_size" = { low = 1, high = 8 }
settings."recipe.optimiser.schedule" = ["poly", "constant"]
"""


@pytest.fixture(scope="module")
def record(finish):
    results = finish("run", "--method", "majority", "--dataset", "toyscapes_mini", "--protocol", "closed-set")
    (record,) = Store(results).records()
    record.statistics_hash = None
    return record


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def goodness(config) -> float:
    """Best at a rate of 0.01 and a constant schedule; the seed adds nothing to the mean."""
    optimiser = config.recipe.optimiser
    distance = abs(optimiser.lr - 0.01) / (optimiser.lr + 0.01)
    return 0.8 - 0.5 * distance - 0.2 * (optimiser.schedule == "poly") + 0.05 * (-1) ** config.seed


class Folder:
    """A results folder in which runs leave a record and do nothing else."""

    def __init__(self, root, record, fails=lambda run: False):
        self.store, self.record, self.fails, self.made = Store(root), record, fails, []

    def search(self, path, rounds=None):
        """Go through all rounds, or so many; returns the one study."""
        sweep = plan.read(path)
        (study,) = studies = search.studies(sweep, sweep.search)
        for count, runs in enumerate(search.rounds(studies, self.store)):
            if count == rounds:
                break
            for run in runs:
                if not self.store.record_path(run.run).exists():
                    self.make(run)
        return study

    def make(self, run):
        self.made.append(run.run)
        update = {"run_id": run.run, "fingerprint": run.config.fingerprint(), "config": run.config.portable()}
        record = self.record.model_copy(update=update, deep=True)
        good = goodness(run.config)
        for split, value in (("val", good), ("test", 1 - good)):
            record.protocols["closed-set"].targets[split].metrics["miou"] = value
        if self.fails(run):
            record.status, record.reason, record.protocols = "failed", "no reason", {}
        self.store.write(record)


@pytest.fixture
def folder(tmp_path, record):
    return Folder(tmp_path / "results", record)


def settings(study):
    return [trial.settings for trial in study.trials]


def test_trials_come_closer_to_the_best_on_the_split_for_selection(grid, folder):
    study = folder.search(grid)
    values = [trial.value for trial in study.trials]
    assert len(values) == 24
    assert study.best.value == max(values) > 0.7
    assert study.best.value == pytest.approx(sum(goodness(run.config) for run in study.best.runs) / 2)
    assert sum(values[12:]) > sum(values[:12])
    assert study.best.settings["recipe.optimiser.schedule"] == "constant"
    assert {type(trial.settings["recipe.batch_size"]) for trial in study.trials} == {int}
    assert f"{100 * study.best.value:.2f} on val" in study.sentence
    assert len(study.best.runs) == 2


def test_what_was_stopped_goes_on_to_the_same_trials_and_makes_none_twice(grid, folder, tmp_path, record):
    whole = folder.search(grid)
    stopped = Folder(tmp_path / "stopped", record)
    stopped.search(grid, rounds=3)
    assert len(stopped.made) == 3 * 4 * 2
    for run in stopped.made[-3:]:  # as of a round that was cut off
        stopped.store.record_path(run).unlink()
    again = stopped.search(grid)
    assert settings(again) == settings(whole)
    assert stopped.made[24:27] == stopped.made[21:24]
    assert sorted({*stopped.made}) == sorted({*folder.made})
    folder.made.clear()
    assert settings(folder.search(grid)) == settings(whole)
    assert folder.made == []


def test_a_round_that_is_not_made_ends_the_search(grid, folder):
    folder.make = lambda run: None
    study = folder.search(grid)
    assert study.trials == []
    assert "no trial" in study.sentence


def test_a_trial_that_failed_counts_as_one_without_a_value(grid, tmp_path, record):
    folder = Folder(tmp_path / "results", record, fails=lambda run: run.config.recipe.optimiser.lr > 0.01)
    study = folder.search(grid)
    assert len(study.trials) == 24
    assert {trial.value is None for trial in study.trials} == {True, False}
    assert study.best.settings["recipe.optimiser.lr"] <= 0.01


def test_settings_that_exclude_each_other_are_a_trial_without_a_value(grid, folder):
    head = GRID.partition("[search]")[0].replace("majority", "gmmseg")
    ranges = 'settings."method.memory" = { low = 20, high = 100 }\nsettings."method.push" = { low = 1, high = 100 }\n'
    grid.write_text(f"{head}[search]\ntrials = 8\nround = 2\n{ranges}")
    study = folder.search(grid)
    impossible = [trial for trial in study.trials if not trial.runs]
    assert len(study.trials) == 8
    assert 0 < len(impossible) < 8
    assert {trial.value for trial in impossible} == {None}
    assert all(trial.settings["method.push"] > trial.settings["method.memory"] for trial in impossible)
    assert study.best.settings["method.push"] <= study.best.settings["method.memory"]


def test_a_metric_of_which_less_is_better_is_made_small(grid):
    grid.write_text(
        GRID.replace('["closed-set"]', '["closed-set", "calibration"]').replace(
            "[search]", "[search]\nprotocol = 'calibration'\nmetric = 'ece'"
        )
    )
    sweep = plan.read(grid)
    (study,) = search.studies(sweep, sweep.search)
    study.trials = [search.Trial({}, [], value) for value in (0.3, None, 0.1, 0.2)]
    assert study.best.value == 0.1
    assert study._study.direction.name == "MINIMIZE"


def call(path, results, data_root, *options):
    where = ["--results", str(results), "--data-root", str(data_root), "--device", "cpu"]
    return in_process("sweep", str(path), *where, *options)


def test_a_search_makes_its_runs_and_says_what_it_found(tmp_path, data_root):
    path = tmp_path / "small.toml"
    path.write_text(
        "methods = ['majority']\ndatasets = ['toyscapes_mini']\nprotocols = ['closed-set']\n"
        "[search]\ntrials = 2\nsettings.'recipe.steps' = [1, 2]\n"
    )
    planned = call(path, tmp_path / "results", data_root, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "1 runs: 1 queued; 1 to make" in planned.stdout
    assert not (tmp_path / "results").exists()
    made = call(path, tmp_path / "results", data_root)
    assert made.exit_code == 0, made.output
    assert "majority on toyscapes_mini (dense): the best of 2 trials is recipe.steps=" in made.stdout
    assert 1 <= len(Store(tmp_path / "results").records()) <= 2
    again = call(path, tmp_path / "results", data_root)
    assert again.stdout.splitlines()[-1] == made.stdout.splitlines()[-1]
    assert "1 to make" not in again.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("recipe.optimiser.lr", "recipe.optimizer.lr", "recipe.optimizer"),
        ("1e-5", "2.0", "low should be less than high"),
        ("high = 8", "high = 5000", "recipe.batch_size"),
        ('"recipe.steps=1"', '"recipe.steps=1,2"', "[search.settings]"),
        ('"recipe.steps=1"', '"recipe.batch_size=2"', "recipe.batch_size is searched for and set"),
        ("trials = 24", "trials = 24\nmetric = 'iou'", "miou"),
        ("trials = 24", "trials = 24\nprotocol = 'calibration'", "add it to protocols"),
        ("toyscapes_mini", "cityscapes", "no split to select on"),
        ('protocols = ["closed-set"]', 'protocols = ["anomaly"]', "add it to protocols"),
    ],
)
def test_a_mistake_in_a_search_is_one_sentence_before_any_run(grid, tmp_path, data_root, old, new, said):
    grid.write_text(GRID.replace(old, new))
    outcome = call(grid, tmp_path / "results", data_root)
    assert_refused(outcome, said)
    assert not (tmp_path / "results").exists()


def test_without_optuna_it_is_one_sentence(grid, tmp_path, data_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    outcome = call(grid, tmp_path / "results", data_root)
    assert_refused(outcome, "genseg-bench[search]")
