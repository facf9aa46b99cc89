"""The example of docs/wrapping-a-checkpoint.md is a working plugin, scored without the data that it was trained on."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch

from bench.model.predictor import LOG_ZERO
from bench.plugins import registry
from tests.datasets.miniatures import MINIATURES, assert_one_sentence

PAGE = Path(__file__).parents[2] / "docs" / "wrapping-a-checkpoint.md"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The example as a file; what it registers is forgotten after the test."""
    registry.methods.names()
    monkeypatch.setattr(registry.methods, "_classes", {**registry.methods._classes})
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "wrapped.py"
    path.write_text(example)
    return path


@pytest.fixture
def checkpoint(plugin, tmp_path):
    """The authors' file, written by their own model."""
    spec = importlib.util.spec_from_file_location("theirs", plugin)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    path = tmp_path / "theirs.pt"
    torch.save(module.Theirs().state_dict(), path)
    return path


@pytest.fixture
def root(tmp_path):
    """Other domains and anomalies, and no Cityscapes."""
    root = tmp_path / "data"
    MINIATURES["camvid"]["png"](root)
    MINIATURES["idd_lite"]["direct"](root)
    MINIATURES["road_anomaly"]["direct"](root)
    return root


@pytest.fixture
def run(bench, plugin, checkpoint, root):
    def call(*arguments, dataset="cityscapes"):
        settings = (f"method.checkpoint={checkpoint}", "data.allow_partial=true", "recipe.inference.short_side=32")
        options = [part for change in settings for part in ("--set", change)]
        options += ["--plugin", str(plugin), "--data-root", str(root)]
        return bench("run", "--method", "wrapped", "--dataset", dataset, *options, *arguments)

    return call


def record(results, dataset):
    (path,) = (results / "records").glob(f"{dataset}-*.json")
    return json.loads(path.read_text())


def test_it_is_scored_across_domains_and_on_anomalies_without_its_training_data(run, bench, plugin, root, tmp_path):
    outcome = run()
    assert outcome.exit_code == 0, outcome.output
    found = record(tmp_path / "results", "cityscapes")
    protocols = found["protocols"]
    assert {name: [*result["targets"]] for name, result in protocols.items()} == {
        "closed-set": [],
        "cross-domain": ["camvid/test", "idd_lite/val"],
        "anomaly": ["road_anomaly/test"],
    }
    scored = protocols["cross-domain"]["targets"]["camvid/test"]["metrics"]
    assert scored["miou"] is not None
    assert scored["drop"] is scored["source_miou"] is None
    assert found["encoder_weights"] == "trained elsewhere: Cityscapes train, 40k steps (Example et al. 2024)"
    network = found["config"]["network"]
    assert (network["architecture"], network["encoder"]) == ("theirs", "small")
    assert found["training"]["parameters"] == 3 * 9 * 16 + 16 + 16 * 9 * 32 + 32 + 32 * 19 + 19
    assert found["config"]["method"] == {"checkpoint": "theirs.pt"}
    assert found["data"] is None
    again = bench(
        "evaluate", found["run_id"], "--plugin", str(plugin), "--protocol", "anomaly", "--data-root", str(root)
    )
    assert again.exit_code == 0, again.output
    assert (
        record(tmp_path / "results", "cityscapes")["protocols"]["anomaly"]["targets"] == protocols["anomaly"]["targets"]
    )


def test_tables_say_where_it_comes_from(run, bench, tmp_path):
    assert run("--protocol", "cross-domain").exit_code == 0
    shown = bench("leaderboard", str(tmp_path / "results"), "--format", "md", "--out", str(tmp_path / "tables"))
    assert shown.exit_code == 0, shown.output
    table = (tmp_path / "tables" / "leaderboard.md").read_text()
    assert "network theirs/small" in table
    assert "trained elsewhere: Cityscapes train, 40k steps (Example et al. 2024)" in table


def test_another_data_set_is_scored_in_its_classes(run, tmp_path):
    outcome = run(dataset="camvid")
    assert outcome.exit_code == 0, outcome.output
    protocols = record(tmp_path / "results", "camvid")["protocols"]
    assert {name: result["status"] for name, result in protocols.items()} == {
        "closed-set": "complete", "cross-domain": "skipped", "anomaly": "skipped"
    }  # fmt: skip
    assert protocols["anomaly"]["reason"].endswith("anomaly targets of that data set with --dataset cityscapes")
    scores = protocols["closed-set"]["targets"]["test"]
    assert set(scores["per_class"]["iou"]) == {*registry.datasets.get("camvid").classes.names}
    assert scores["notes"]
    # Across domains the same images are scored under the same map, there without the classes that it leaves out.
    assert run("--protocol", "cross-domain").exit_code == 0
    crossed = record(tmp_path / "results", "cityscapes")["protocols"]["cross-domain"]["targets"]["camvid/test"]
    for name, iou in crossed["per_class"]["iou"].items():
        assert scores["per_class"]["iou"][name] == pytest.approx(iou, abs=0.05)


def test_probabilities_of_classes_are_summed_through_the_map():
    from bench.runs.elsewhere import Translated
    from datasets.base import IGNORE, ClassMap, ClassSet
    from methods.base import Prediction
    from methods.softmax import Softmax
    from tests.methods.conftest import TinyNetwork

    target = ClassSet("two", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    mapping = ClassMap("four", "two", (0, 0, 1, IGNORE), "Our own map.")
    method = Softmax(Softmax.Config(), TinyNetwork(), range(4))
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().view(1, 4, 1, 1)
    method.predict = lambda images: Prediction(logits, log_density=logits, anomaly={"own": logits[:, 0]})
    translated = Translated(method, mapping, target)
    found = translated.predict(torch.zeros(1, 3, 4, 4))
    assert found.logits.exp().flatten().tolist()[:2] == pytest.approx([0.3, 0.3])
    assert found.logits.flatten()[2] == LOG_ZERO
    assert found.log_density is None
    assert torch.equal(found.anomaly["own"], logits[:, 0])
    assert translated.notes == ["Our own map.", "softmax has no class for c, which count as wrong."]


def test_the_example_honours_the_contract_in_the_classes_that_it_names(bench, plugin, checkpoint):
    checked = bench("check", "wrapped", "--plugin", str(plugin), "--set", f"method.checkpoint={checkpoint}")
    assert checked.exit_code == 0, checked.output
    assert "n/a   training lowers the loss: it takes no gradient step" in checked.stdout
    assert "ok    prediction has the contracts shapes" in checked.stdout


def test_mistakes_are_one_sentence(run, bench, plugin):
    for arguments, parts in (
        (("--encoder", "resnet18"), ["wrapped brings its own network, theirs/small", "network.encoder"]),
        (("--supervision", "points"), ["wrapped was trained elsewhere", "supervision"]),
        (("--set", "method.checkpoint=/nowhere/theirs.pt"), ["there is no checkpoint", "method.checkpoint"]),
    ):
        outcome = run(*arguments)
        assert outcome.exit_code in (1, 2), outcome.output
        assert all(part in outcome.output for part in parts), outcome.output
        assert "Traceback" not in outcome.output
    nowhere = run(dataset="pascal_voc")
    assert nowhere.exit_code == 2
    assert_one_sentence(
        nowhere.stderr.strip().splitlines()[-1], "no class map leads", "pascal_voc", "--dataset cityscapes"
    )
    assert bench("check", "wrapped", "--plugin", str(plugin)).exit_code == 2  # it needs a checkpoint
