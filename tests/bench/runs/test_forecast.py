"""What a grid would do and cost, before a GPU hour is spent on it."""

from __future__ import annotations

import pytest

from bench.records.store import Store
from bench.runs.forecast import forecasts

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


def test_it_makes_nothing(bench, tmp_path):
    new, _ = lines(bench("run", "--method", "softmax", *SHORT, "--dry-run"))
    assert "no finished run here is like it" in new
    assert not (tmp_path / "results").exists()


def test_a_mistake_is_found_before_anything_is_made(bench, tmp_path):
    outcome = bench("run", "--method", "softmax", *SHORT, "--dry-run", "--set", "recipe.stepz=2")
    assert (outcome.exit_code, len(outcome.stderr.splitlines())) == (2, 1)
