"""What a grid would do and cost, before a GPU hour is spent on it."""

from __future__ import annotations

import pytest

from bench.records.store import Store
from bench.runs.forecast import forecasts
from tests.command_line import assert_refused

SHORT = ("--dataset", "toyscapes_mini", "--protocol", "closed-set", "--set", "recipe.batch_size=2")


@pytest.fixture(scope="module")
def finished(finish):
    return finish("run", "--method", "softmax", *SHORT, "--set", "recipe.steps=2")


def lines(outcome):
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout.splitlines()


def test_it_says_what_is_finished_and_goes_by_runs_that_are_alike(bench, finished):
    asked = ("run", "--method", "softmax", "--method", "gmmseg", *SHORT, "--dry-run")
    softmax, gmmseg, total = lines(bench(*asked, "--set", "recipe.steps=2", results=finished))
    assert softmax.endswith(": finished")
    assert "new, 2 steps, about" in gmmseg
    assert "by runs of softmax" in gmmseg
    assert total.startswith("in all 1 run to make")
    first, *_ = lines(bench(*asked, "--set", "recipe.steps=2", "--protocol", "calibration", results=finished))
    assert first.endswith(": to be scored")
    longer, *_ = lines(bench(*asked, "--set", "recipe.steps=20000", results=finished))
    (record,) = Store(finished).records()
    expected = (10000 * record.training.seconds + record.protocols["closed-set"].seconds) / 60
    assert f"about {expected:.0f} min" in longer
    assert "by its own finished runs" in longer


def test_runs_on_the_same_hardware_count_where_there_are_any(finished, tmp_path):
    (record,) = Store(finished).records()
    elsewhere = {"run_id": "elsewhere", "environment": record.environment.model_copy(update={"hardware": "another"})}
    store = Store(tmp_path)
    for made in (record, record.model_copy(update=elsewhere)):
        store.write(made.model_copy(update={"statistics_hash": None}))
    longer = record.config.model_copy(update={"recipe": record.config.recipe.model_copy(update={"steps": 9})})
    for here, named in (("another", "on another"), ("a third", " and ")):
        (forecast,) = forecasts([longer], store, here)
        assert named in forecast.basis


def test_runs_of_the_same_network_tell_by_their_pixels_where_none_is_alike(bench, finished):
    (record,) = Store(finished).records()
    recipe = record.config.recipe
    larger = recipe.model_copy(update={"batch_size": 8 * recipe.batch_size, "accumulate": 3, "steps": 1000})
    (forecast,) = forecasts([record.config.model_copy(update={"recipe": larger})], Store(finished), "")
    per_step = record.training.seconds / record.training.steps / 60
    assert forecast.minutes == pytest.approx(1000 * 24 * per_step)
    assert forecast.megabytes == pytest.approx(8 * record.training.peak_memory_mb)
    assert "by the pixels of its own finished runs with other data or batches, without scoring," in forecast.sentence
    other = ("run", "--method", "softmax", *SHORT, "--encoder", "resnet18", "--dry-run")
    line, _ = lines(bench(*other, results=finished))
    assert line.endswith("no finished run here has its network, `bench profile` times a few steps")


def test_it_makes_nothing(bench, tmp_path):
    new, _ = lines(bench("run", "--method", "softmax", *SHORT, "--dry-run"))
    assert "no finished run here has its network" in new
    assert not (tmp_path / "results").exists()


def test_a_mistake_is_found_before_anything_is_made(bench, tmp_path):
    outcome = bench("run", "--method", "softmax", *SHORT, "--dry-run", "--set", "recipe.stepz=2")
    assert_refused(outcome)
