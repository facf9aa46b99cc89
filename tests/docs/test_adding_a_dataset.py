"""The example of docs/adding-a-dataset.md is a working plugin."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.plugins import registry
from datasets.base import DataError, Dataset
from tests.datasets.miniatures import MINIATURES, grey, one_sentence, photo

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-dataset.md"
SMALL = ("recipe.steps=1", "recipe.batch_size=2", "recipe.augmentation.crop=[32,32]", "recipe.inference.short_side=32")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The example as a file; what it registers is forgotten after the test."""
    registry.datasets.names()
    monkeypatch.setattr(registry.datasets, "_classes", {**registry.datasets._classes})
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "my_streets.py"
    path.write_text(example)
    return path


@pytest.fixture
def root(tmp_path):
    """Data in the layout that the page shows, beside a Cityscapes of a few images."""
    root = tmp_path / "own data"
    for name, splits, ids in (("my_streets", ("train", "val"), range(5)), ("my_oddities", ("test",), (0, 1, 255))):
        for split in splits:
            for number in range(2):
                photo(root / name / "images" / split / f"{split}{number}.jpg", number)
                grey(root / name / "labels" / split / f"{split}{number}.png", ids, number)
    MINIATURES["cityscapes"]["labelIds"](root)
    return root


def run(bench, plugin, root, *arguments, dataset="my_streets"):
    settings = [part for change in (*SMALL, "data.allow_partial=true") for part in ("--set", change)]
    settings += ["--encoder", "resnet18", "--plugin", str(plugin), "--data-root", str(root)]
    return bench("run", "--method", "softmax", "--dataset", dataset, *settings, *arguments)


def test_the_page_tells_of_every_attribute_of_the_contract():
    table = PAGE.read_text().partition("## The contract in order")[2].partition("\n\n**Opening**")[0]
    told = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition("|")[2].partition("|")[0])
    }
    contract = {name for name, kind in Dataset.__annotations__.items() if "ClassVar" in str(kind)}
    assert told == contract


def test_the_example_trains_and_is_scored_under_every_protocol(bench, plugin, root, tmp_path):
    outcome = run(bench, plugin, root)
    assert outcome.exit_code == 0, outcome.output
    (path,) = (tmp_path / "results" / "records").glob("*.json")
    protocols = json.loads(path.read_text())["protocols"]
    assert {name: [*result["targets"]] for name, result in protocols.items()} == {
        "closed-set": ["val"],
        "cross-domain": ["cityscapes/val"],
        "anomaly": ["my_oddities/test"],
    }
    scored = protocols["cross-domain"]["targets"]["cityscapes/val"]
    assert set(scored["per_class"]["iou"]) == {"road", "vegetation", "person", "car"}
    assert scored["notes"] == ["Our own map. Buses and trucks are vehicles here and separate classes there."]


def test_models_of_a_built_in_source_are_scored_on_the_example(bench, plugin, root, tmp_path):
    outcome = run(bench, plugin, root, "--protocol", "cross-domain", "--protocol", "anomaly", dataset="cityscapes")
    assert outcome.exit_code == 0, outcome.output
    (path,) = (tmp_path / "results" / "records").glob("*.json")
    protocols = json.loads(path.read_text())["protocols"]
    assert [*protocols["anomaly"]["targets"]] == ["my_oddities/test"]
    assert [*protocols["cross-domain"]["targets"]] == ["my_streets/val"]
    scored = protocols["cross-domain"]["targets"]["my_streets/val"]
    assert set(scored["per_class"]["iou"]) == {"road", "plant", "person", "vehicle"}
    assert scored["notes"] == ["Our own map."]


def test_the_example_honours_the_contract(bench, plugin, root):
    for name in ("my_streets", "my_oddities"):
        checked = bench("check", name, "--plugin", str(plugin), "--data-root", str(root))
        assert checked.exit_code == 0, checked.output
        assert f"{name} honours the data set contract" in checked.stdout


def test_the_example_is_shown_with_its_facts(bench, plugin):
    shown = bench("show", "my_streets", "--plugin", str(plugin)).stdout
    for fact in ("My streets", "train", "another part of the town", "road, plant, person, vehicle", "cityscapes/val"):
        assert fact in shown
    assert "Target of: cityscapes, camvid" in bench("show", "my_oddities", "--plugin", str(plugin)).stdout
    source = bench("show", "cityscapes", "--plugin", str(plugin)).stdout
    assert "Cross-domain targets: camvid/test, idd_lite/val, " in source
    assert "idd/val, my_streets/val" in source, "after its own targets"


def test_the_example_trains_from_own_points(bench, plugin, root, tmp_path):
    for number in range(2):
        grey(root / "my_streets/labels-points/train" / f"train{number}.png", [0, 1, 2, 3, *[254] * 40, 255], number)
    outcome = run(bench, plugin, root, "--supervision", "points", "--protocol", "closed-set")
    assert outcome.exit_code == 0, outcome.output
    (path,) = (tmp_path / "results" / "records").glob("*.json")
    seen = json.loads(path.read_text())["supervision"]
    assert seen["source"] == "official: my_streets/labels-points, the user's own"
    assert 0.05 < seen["labelled_fraction"] < 0.15


def test_unlabelled_pixels_in_the_examples_dense_labels_are_a_users_mistake(bench, plugin, root):
    plugin.write_text(plugin.read_text().replace("{0: IGNORE, ", "{254: 254, 0: IGNORE, "))
    grey(root / "my_streets/labels/train/train0.png", [1, 2, 3, 4, 254], 0)
    outcome = run(bench, plugin, root, "--protocol", "closed-set")
    assert outcome.exit_code == 2, outcome.output
    assert "Traceback" not in outcome.output
    assert "--supervision KIND" in outcome.stderr.strip().splitlines()[-1]


def test_what_the_page_says_of_missing_labels_and_unknown_ids_holds(plugin, root):
    registry.load_plugin(plugin)
    streets = registry.datasets.get("my_streets")
    grey(root / "my_streets/labels/val/val0.png", [1, 77], 0)
    with one_sentence(DataError, "val0.png", "77"):
        streets(root, "val")[0]
    (root / "my_streets/labels/val/val1.png").unlink()
    with one_sentence(DataError, "1 of 2", "val1", "labels/SPLIT/NAME.png"):
        streets(root, "val")
