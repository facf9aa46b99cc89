"""Models of one set of streets are scored on all others that are there; what is not there is a line."""

from __future__ import annotations

import json

import pytest

from bench.plugins import registry
from tests.datasets.miniatures import MINIATURES

SMALL = ("recipe.steps=1", "recipe.batch_size=2", "recipe.augmentation.crop=[32,32]", "recipe.inference.short_side=32")
OF_CITYSCAPES = [
    "camvid/test",
    "idd_lite/val",
    "kitti_semantics/training",
    "bdd100k/val",
    "acdc/val",
    "acdc/val-fog",
    "acdc/val-night",
    "acdc/val-rain",
    "acdc/val-snow",
    "dark_zurich/val",
    "nighttime_driving/test",
    "foggy_cityscapes/val-beta-0.005",
    "foggy_cityscapes/val-beta-0.01",
    "foggy_cityscapes/val-beta-0.02",
    "foggy_cityscapes_sfsu/val-beta-0.005",
    "foggy_cityscapes_sfsu/val-beta-0.01",
    "foggy_cityscapes_sfsu/val-beta-0.02",
    "mapillary_vistas_19/val",
    "wilddash/val",
    "idd/val",
]


@pytest.fixture
def scored(bench, tmp_path):
    """Trains softmax for a step on a source beside ``others``: the cross-domain part of its record, and the notes."""

    def scored(source, *others):
        root = tmp_path / "data"
        for name in (source, *others):
            MINIATURES[name][next(iter(MINIATURES[name]))](root)
        settings = [part for change in (*SMALL, "data.allow_partial=true") for part in ("--set", change)]
        settings += ["--encoder", "resnet18", "--data-root", str(root)]
        outcome = bench("run", "--method", "softmax", "--dataset", source, *settings)
        assert outcome.exit_code == 0, outcome.output
        (path,) = (tmp_path / "results" / "records").glob(f"{source}-*.json")
        return json.loads(path.read_text())["protocols"]["cross-domain"], outcome.stderr.splitlines()

    return scored


def test_cityscapes_models_are_scored_on_every_street_that_is_there(scored):
    others = dict.fromkeys(target.partition("/")[0] for target in OF_CITYSCAPES)
    result, _ = scored("cityscapes", *others)
    assert [*result["targets"]] == OF_CITYSCAPES


def test_streets_that_are_not_there_are_one_line_each(scored):
    result, lines = scored("cityscapes", "nighttime_driving")
    assert [*result["targets"]] == ["nighttime_driving/test"]
    for target in OF_CITYSCAPES:
        name, split = target.split("/")
        notes = [line for line in lines if line.startswith(f"skipped: {name}: no image of split {split!r}")]
        assert len(notes) == (name != "nighttime_driving"), target


def test_models_of_synthia_are_scored_on_its_classes_alone(scored):
    result, _ = scored("synthia", "cityscapes")
    (scores,) = result["targets"].values()
    assert set(scores["per_class"]["iou"]) == {*registry.datasets.get("synthia").classes.names}


def test_models_of_gta5_need_no_map(scored):
    result, _ = scored("gta5", "cityscapes", "bdd100k", "mapillary_vistas_19")
    assert [*result["targets"]] == ["cityscapes/val", "bdd100k/val", "mapillary_vistas_19/val"]
    for scores in result["targets"].values():
        assert len(scores["per_class"]["iou"]) == 19
