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


READ_OUTS = ("linear", "gaussian", "mixture", "neighbours", "temperature")


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("segsort", ["clusters=9", "inference_clusters=9"]),
        pytest.param("agmm", [], marks=pytest.mark.long),
        pytest.param("gss", ["codec=patch", "samples=0", "hidden=32", "heads=2"], marks=pytest.mark.long),
    ],
)
def test_every_read_out_reads_the_features_of_methods_that_put_more_than_a_layer_on_them(
    bench, tmp_path, method, settings
):
    results = tmp_path / "results"
    own = [word for setting in settings for word in ("--set", f"method.{setting}")]
    assert bench("run", "--method", method, *SOURCE[3:], *SHORT, *own).exit_code == 0
    source, trained = of(results, method)
    fitted = [word for name in READ_OUTS for word in ("--method", name)]
    outcome = bench("run", *fitted, "--features", source["run_id"], *SHORT[2:])
    assert outcome.exit_code == 0, outcome.output
    for name in READ_OUTS:
        record, state = of(results, name)
        assert (record["status"], record["training"]["steps"]) == ("complete", 0)
        assert record["configuration"].startswith(f"{name} on {method}")
        lent = "network.method." if name == "temperature" else ""
        assert all(torch.equal(state[lent + key], tensor) for key, tensor in network(trained).items())
    assert record["protocols"]["closed-set"]["targets"]["test"]["metrics"]["miou"] == pytest.approx(
        source["protocols"]["closed-set"]["targets"]["test"]["metrics"]["miou"]
    )


def test_another_setting_of_a_read_out_is_another_fit_to_the_same_network_and_trains_nothing(
    bench, results, monkeypatch
):
    source, trained = of(results, "softmax")
    optimised = []
    monkeypatch.setattr("bench.training.loop._optimise", lambda *_, **__: optimised.append(True))
    outcome = bench(
        "run", "--method", "linear", "--features", source["run_id"], *SHORT[2:], "--set", "method.l2=1e-5,0.1"
    )
    assert outcome.exit_code == 0, outcome.output
    assert not optimised
    runs = sorted((results / "runs").glob("*-linear-*"))
    weak, strong = (load_file(run / "model.safetensors") for run in runs)
    assert not torch.equal(weak["weight"], strong["weight"])
    for state in (weak, strong):
        assert all(torch.equal(state[name], tensor) for name, tensor in network(trained).items())
    before = {run: (run / "model.safetensors").stat().st_mtime_ns for run in runs}
    assert bench("run", "--method", "linear", "--features", source["run_id"], *SHORT[2:]).exit_code == 0
    assert before == {run: (run / "model.safetensors").stat().st_mtime_ns for run in sorted(before)}


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
