"""Methods on the features of a finished run."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.data.whole_images import whole_batches
from bench.records.store import Store
from bench.runs.execute import load
from datasets.toyscapes_mini import ToyscapesMini
from methods.base import upsample
from methods.temperature import best_temperature
from tests.bench.runs.test_execute import assert_refused

SOURCE = ("run", "--method", "softmax", "--dataset", "toyscapes_mini", "--encoder", "resnet18", "--seed", "3")
SHORT = ("--set", "recipe.steps=3", "--protocol", "closed-set")


@pytest.fixture(scope="module")
def finished(finish):
    """A results folder with a short run of softmax, seed 3."""
    return finish(*SOURCE, *SHORT)


def of(results, method):
    (path,) = (results / "records").glob(f"toyscapes_mini-dense-{method}-*.json")
    record = json.loads(path.read_text())
    return record, load_file(results / "runs" / record["run_id"] / "model.safetensors")


def network(state):
    return {name: tensor for name, tensor in state.items() if name.startswith("network.")}


def test_they_are_fitted_to_its_network_as_it_is_with_its_data_recipe_and_seed(bench, results):
    source, trained = of(results, "softmax")
    outcome = bench("run", "--method", "linear", "--method", "gmmseg", "--features", source["run_id"], *SHORT[2:])
    assert outcome.exit_code == 0, outcome.output
    for method, steps in (("linear", 0), ("gmmseg", 3)):
        record, state = of(results, method)
        assert record["training"]["steps"] == steps
        assert record["config"]["seed"] == 3
        for part in ("data", "network", "recipe"):
            assert record["config"][part] == source["config"][part]
        assert record["config"]["features"]["hash"] == source["checkpoint_hash"]
        assert network(state).keys() == network(trained).keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in network(trained).items())
    written = ("--format", "md", "--out", str(results / "tables"))
    assert bench("leaderboard", str(results), "--all", *written).exit_code == 0
    rows = (results / "tables" / "leaderboard.md").read_text()
    assert all(f"| {name} | 1 |" in rows for name in ("softmax", "linear on softmax", "gmmseg on softmax"))


def test_a_temperature_is_fitted_to_the_predictions_on_val_and_leaves_the_classes_as_they_are(bench, results, mini):
    source, trained = of(results, "softmax")
    outcome = bench("run", "--method", "temperature", "--features", source["run_id"], "--protocol", "closed-set")
    assert outcome.exit_code == 0, outcome.output
    record, state = of(results, "temperature")
    assert {name.removeprefix("network.method."): tensor for name, tensor in state.items()}.keys() == {
        *trained,
        "temperature",
    }
    assert all(torch.equal(state[f"network.method.{name}"], tensor) for name, tensor in trained.items())
    test = [r["protocols"]["closed-set"]["targets"]["test"]["metrics"] for r in (source, record)]
    assert test[0]["miou"] == test[1]["miou"]

    known = Store(results).read(source["run_id"])
    method = load(Store(results), known)
    logits, labels = [], []
    for batch in whole_batches(
        ToyscapesMini(mini.roots, "val"), known.config.recipe.inference, torch.device("cpu"), method
    ):
        with torch.no_grad():
            scores = upsample(method.predict(batch.images).logits, batch.labels.shape[-2:])
        labelled = batch.labels < scores.shape[1]
        logits.append(scores.movedim(1, -1)[labelled])
        labels.append(batch.labels[labelled])
    expected = best_temperature(torch.cat(logits), torch.cat(labels), torch.ones(sum(map(len, labels))))
    assert record["method_facts"]["temperature"] == pytest.approx(expected, rel=0.05)

    again = bench("evaluate", record["run_id"], "--protocol", "closed-set")
    assert again.exit_code == 0, again.output
    assert_refused(
        bench("run", "--method", "linear", "--features", record["run_id"]), "reads the predictions of", source["run_id"]
    )


def test_a_temperature_of_no_run_or_without_a_split_to_fit_it_to_is_one_sentence(bench, results, monkeypatch):
    assert_refused(bench("run", "--method", "temperature", "--dataset", "toyscapes_mini"), "give --features RUN")
    monkeypatch.setattr(ToyscapesMini, "selection_split", None)
    source, _ = of(results, "softmax")
    asked = bench("run", "--method", "temperature", "--features", source["run_id"])
    assert_refused(asked, "toyscapes_mini has none", "take a run on another data set")


def test_another_model_in_its_place_is_refused_and_another_run_is_another_one(bench, results):
    source, state = of(results, "softmax")
    path = results / "runs" / source["run_id"] / "model.safetensors"
    save_file({name: tensor + 0 if tensor.is_floating_point() else tensor for name, tensor in state.items()}, path)
    asked = ("run", "--method", "linear", "--features", source["run_id"], *SHORT[2:])
    assert_refused(bench(*asked), "is not the one that its run trained")
    path.unlink()
    assert_refused(bench(*asked), "there is no model")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dataset", "toyscapes_mini"], ["leave out --dataset"]),
        (["--recipe", "standard"], ["leave out", "--recipe"]),
        (["--encoder", "resnet34"], ["takes the network of"]),
        (["--supervision", "points"], ["takes the data of"]),
        (["--features", "toyscapes_mini-dense-nothing"], ["is not in"]),
    ],
)
def test_what_would_be_another_network_or_other_data_is_one_sentence(bench, results, options, words):
    source, _ = of(results, "softmax")
    assert_refused(bench("run", "--method", "linear", "--features", source["run_id"], *options), *words)


def test_neither_data_set_nor_features_is_one_sentence(bench):
    assert_refused(bench("run", "--method", "linear"), "--dataset NAME", "--features RUN")
