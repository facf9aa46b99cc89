"""``bench verify``: a record that holds, one that does not, and that nothing of the run is touched."""

from __future__ import annotations

import json

import pytest

from bench.records.store import Store
from bench.runs import verify
from bench.schema.record import Environment
from tests.bench.runs.test_execute import assert_refused

RUN = (
    "run", "--method", "softmax", "--dataset", "toyscapes_mini", "--encoder", "resnet18", "--set", "recipe.steps=3",
    "--protocol", "closed-set", "--protocol", "calibration",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(finish):
    return finish(*RUN)


@pytest.fixture
def path(results):
    (path,) = (results / "records").glob("*.json")
    return path


def contents(results):
    return {path.relative_to(results): path.read_bytes() for path in results.rglob("*") if path.is_file()}


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_record_holds_to_the_last_digit_and_nothing_is_touched(bench, results, path):
    before = contents(results)
    outcome = bench("verify", path.stem[:30], "--tolerance", "0")
    assert outcome.exit_code == 0, outcome.output
    assert "numbers hold within 0" in outcome.output
    lines = [line for line in outcome.output.splitlines() if line.startswith("holds")]
    assert any("closed-set, test: miou" in line for line in lines)
    assert any("calibration, test: ece" in line for line in lines)
    assert contents(results) == before


def test_a_number_that_was_changed_is_named(bench, results, path):
    changed(path, lambda r: r["protocols"]["closed-set"]["targets"]["test"]["metrics"].update(pixel_accuracy=0.123))
    outcome = bench("verify", str(path))
    assert outcome.exit_code == 1
    (line,) = [line for line in outcome.output.splitlines() if line.startswith("DIFFERS")]
    assert line.startswith("DIFFERS     closed-set, test: pixel_accuracy 0.123000, now ")
    assert "does not hold" in outcome.output


def test_a_class_that_was_changed_is_named(bench, path):
    def change(record):
        of_class = record["protocols"]["closed-set"]["targets"]["test"]["per_class"]["iou"]
        of_class["road"] += 1e-4

    changed(path, change)
    assert bench("verify", str(path), "--tolerance", "1e-3").exit_code == 0
    outcome = bench("verify", str(path))
    assert outcome.exit_code == 1
    assert "DIFFERS     closed-set, test: iou of road" in outcome.output


def test_trained_again_the_weights_are_the_same(bench, results, path):
    before = contents(results)
    (results / "runs" / path.stem / "model.safetensors").unlink()  # a record alone is enough
    outcome = bench("verify", str(path), "--retrain", "--tolerance", "0")
    assert outcome.exit_code == 0, outcome.output
    assert "the weights are the same" in outcome.output
    model = next(name for name in before if name.name == "model.safetensors")
    assert contents(results) == {name: content for name, content in before.items() if name != model}


def test_trained_again_to_other_weights_does_not_hold(bench, path):
    changed(path, lambda record: record.update(checkpoint_hash="0" * 64))
    outcome = bench("verify", str(path), "--retrain")
    assert outcome.exit_code == 1
    assert "the weights are others" in outcome.output


def test_another_model_in_its_place_is_refused(bench, results, path):
    model = results / "runs" / path.stem / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert_refused(bench("verify", str(path)), f"model {model} is not the one that its run trained and scored")
    model.unlink()
    assert_refused(bench("verify", str(path)), "train again with --retrain")


def test_other_training_data_is_refused(bench, path):
    changed(path, lambda record: record["data"].update(fingerprint="0" * 64))
    for more in ([], ["--retrain"]):
        assert_refused(bench("verify", str(path), *more), "other data than")


def test_other_data_of_a_target_was_not_scored(bench, path):
    changed(path, lambda r: r["protocols"]["calibration"]["targets"]["test"]["dataset"].update(fingerprint="0" * 64))
    outcome = bench("verify", str(path))
    assert outcome.exit_code == 0, outcome.output
    assert "not scored  calibration, test: ece" in outcome.output
    assert "could not be scored here" in outcome.output


def test_weights_of_a_file_are_asked_for(bench, path):
    def change(record):
        record["config"]["encoder_weights_hash"] = "ab" * 32
        record["config"]["network"]["encoder_weights"] = "some.safetensors"

    assert_refused(bench("verify", str(path), "--encoder-weights", "x"), "add --retrain")
    assert_refused(bench("verify", str(path), "--retrain", "--encoder-weights", "x"), "which is no file")
    changed(path, change)
    assert_refused(bench("verify", str(path), "--retrain"), "some.safetensors is not that file")
    assert_refused(bench("verify", str(path), "--retrain", "--encoder-weights", str(path)), "name it with")


def test_a_run_of_another_version_is_refused(bench, path):
    changed(path, lambda record: record["config"].update(method_version="0"))
    for more in ([], ["--retrain"]):
        assert_refused(bench("verify", str(path), *more), "version 0, this is version")


def test_undefined_numbers_hold_if_both_are(path):
    record = Store(path.parent.parent).find(path.stem)
    target = record.protocols["closed-set"].targets["test"]
    one, two = (record.model_copy(deep=True) for _ in range(2))
    one.protocols["closed-set"].targets["test"].metrics["miou"] = None
    assert {n.holds for n in verify.compared(one, one)} == {True}
    assert {n.holds for n in verify.compared(one, two) if n.metric == "miou" and n.where == "closed-set, test"} == {
        False
    }
    assert target.metrics["miou"] is not None


def test_what_rounds_otherwise_is_named():
    before = Environment(hardware="A", threads=1, packages={"torch": "2.8", "timm": "1", "genseg-bench": "0.1"})
    now = Environment(hardware="A", threads=2, packages={"torch": "2.9", "timm": "1", "genseg-bench": "0.2"})
    assert verify.changed(before, now) == ["threads 1, now 2", "torch 2.8, now 2.9"]
    assert verify.changed(before, before) == []


def test_data_that_is_not_here_is_one_sentence(bench, path, tmp_path):
    changed(path, lambda record: record["config"]["data"].update(name="camvid"))
    nowhere = ("--data-root", str(tmp_path / "nowhere"))
    assert_refused(bench("verify", str(path), "--retrain", *nowhere), "camvid")


def test_a_run_on_features_is_fitted_to_them_again(bench, results, path):
    made = bench("run", "--method", "linear", "--features", path.stem, "--protocol", "closed-set")
    assert made.exit_code == 0, made.output
    (fitted,) = results.glob("records/*-linear-*.json")
    outcome = bench("verify", str(fitted), "--retrain", "--tolerance", "0")
    assert outcome.exit_code == 0, outcome.output
    assert "the weights are the same" in outcome.output
    model = results / "runs" / path.stem / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    assert_refused(bench("verify", str(fitted), "--retrain"), f"model {model} is not the one")
