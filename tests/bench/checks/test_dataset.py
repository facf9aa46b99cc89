"""``bench check`` on data sets: good ones pass, and every rule catches one that breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from bench.checks.dataset import check
from bench.plugins import registry
from datasets.base import IGNORE, ClassMap, ClassSet, Dataset, Item, Split, Target, list_files
from datasets.class_sets import CITYSCAPES_19
from tests.datasets.miniatures import MINIATURES, grey, photo

CLASSES = ClassSet("two", ("a", "b"), ((0, 0, 0), (1, 1, 1)))


class Good(Dataset):
    name = "good"
    classes = CLASSES
    splits: ClassVar = {"train": Split(None), "val": Split(None), "odd": Split(None, task="anomaly")}
    selection_split = None
    raw_ids: ClassVar = {0: 0, 1: 1, 2: IGNORE}

    def find(self) -> list[Item]:
        return [
            Item(p.stem, p, self.root / "good/labels" / p.name) for p in list_files(self.root / "good/images", ".png")
        ]


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        photo(tmp_path / f"good/images/{number}.png", number)
        grey(tmp_path / f"good/labels/{number}.png", [0, 0, 0, 1], number)
    return tmp_path


def failures(dataset, root):
    return {rule: problem for rule, problem in check(dataset, root) if problem is not None}


def test_a_good_data_set_passes_with_the_share_of_each_class(root):
    outcomes = dict(check(Good, root))
    assert [*outcomes.values()] == [None] * 6
    assert "split train: 3 images; labels of 3: a 75.0%, b 25.0%" in outcomes
    assert "split odd: 3 images; labels of 3: in-distribution 75.0%, anomaly 25.0%" in outcomes


def test_void_and_classes_that_never_occur_are_named(root):
    for number in range(3):
        grey(root / f"good/labels/{number}.png", [0, 2], number)
    found = [*dict(check(type("NoAnomalies", (Good,), {"splits": {"train": Split(3), "val": Split(3)}}), root))]
    assert "split train: 3 images; labels of 3: a 50.0%, void 50.0%; in none of them: b" in found


@pytest.mark.parametrize("name", MINIATURES)
def test_built_in_data_sets_pass_on_their_miniatures(tmp_path, name):
    """All but the number of images, which only the release has."""
    MINIATURES[name][next(iter(MINIATURES[name]))](tmp_path)
    plugin = registry.datasets.get(name)
    small = {split: replace(facts, count=None) for split, facts in plugin.splits.items()}
    outcomes = dict(check(type("Small", (plugin,), {"splits": small}), tmp_path))
    assert not {rule: problem for rule, problem in outcomes.items() if problem is not None}
    assert len(outcomes) == 3 + len(small)


def test_toyscapes_mini_passes(data_root):
    assert not failures(registry.datasets.get("toyscapes_mini"), data_root)


BACK = ClassMap.by_name(CITYSCAPES_19, CLASSES, {"road": "a"})
BEYOND = ClassMap("two", "cityscapes-19", (0, 19))
BROKEN = {
    "label type": ({"label": lambda self, index: Dataset.label(self, index).long()}, "split train", "int64, not uint8"),
    "name": ({"name": "Not-A-Name"}, "facts", "identifier"),
    "classes": ({"classes": ClassSet("one", ("a",), ((0, 0, 0),))}, "facts", "1 classes"),
    "unknown split": ({"eval_splits": ("test",)}, "facts", "eval_splits names 'test'"),
    "anomaly split": ({"eval_splits": ("odd",)}, "facts", "an anomaly split"),
    "trained on": ({"eval_splits": ("train",)}, "facts", "the training split"),
    "unmeasured": ({"eval_splits": ()}, "facts", "not be measured"),
    "spoilt": ({"selection_split": "val"}, "facts", "headline"),
    "withheld": ({"withheld": {"val": "no"}}, "facts", "both offered and withheld"),
    "no such class": ({"raw_ids": {0: 0, 1: 1, 2: 2}}, "label ids", "raw_ids leads to 2"),
    "class not reached": ({"raw_ids": {0: 0, 1: 0, 2: 0}}, "label ids", "leads to b"),
    "anomaly ids": ({"anomaly_ids": {0: 0, 1: 2}}, "label ids", "anomaly_ids leads to 2"),
    "unknown target": ({"cross_domain": (Target("cityscape", "val"),)}, "targets", "cityscapes"),
    "split of target": ({"cross_domain": (Target("cityscapes", "test"),)}, "targets", "cityscapes/test"),
    "task of target": ({"anomaly": (Target("cityscapes", "val"),)}, "targets", "no anomaly split"),
    "no map": ({"cross_domain": (Target("cityscapes", "val"),)}, "targets", "no class map"),
    "map backwards": ({"cross_domain": (Target("cityscapes", "val", BACK),)}, "targets", "from two to cityscapes-19"),
    "map out of range": ({"cross_domain": (Target("cityscapes", "val", BEYOND),)}, "targets", "ids without class"),
    "unknown source": ({"target_of": {"cityscape": BACK}}, "targets", "cityscapes"),
    "map of source": ({"target_of": {"camvid": BACK}}, "targets", "camvid"),
    "too few": ({"splits": {"train": Split(4), "val": Split(3)}}, "split train", "should have 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_class_fails_by_the_rule_that_it_breaks(root, case):
    facts, rule, words = BROKEN[case]
    found = failures(type("Broken", (Good,), facts), root)
    assert words in found[rule]
    assert "\n" not in found[rule]


def test_ids_that_occur_twice_are_named(root):
    class Twice(Good):
        def find(self):
            return [item._replace(id="same") for item in super().find()]

    assert "same" in failures(Twice, root)["split val"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: grey(d / "labels/1.png", [0, 7], 0), "id 7"),
        (lambda d: grey(d / "labels/1.png", [0], 0, size=(5, 7)), "7x5"),
        (lambda d: (d / "labels/1.png").unlink(), "1 of 3"),
        (lambda d: (d / "images/1.png").write_bytes(b"no image"), "1.png"),
    ],
)
def test_damaged_files_are_named(root, damage, words):
    damage(root / "good")
    assert words in failures(Good, root)["split train"]


def test_whatever_a_data_set_raises_is_a_failed_check(root):
    class Raising(Good):
        def find(self):
            raise ZeroDivisionError("by nothing")

    assert failures(Raising, root)["split train"] == "ZeroDivisionError: by nothing"


def test_the_command_knows_methods_and_data_sets(bench):
    outcome = bench("check", "camvit")
    assert outcome.exit_code == 2
    assert "softmax" in outcome.stderr
    assert "did you mean camvid" in outcome.stderr


def test_the_command_fails_a_data_set_without_data(bench, tmp_path):
    outcome = bench("check", "camvid", "--data-root", str(tmp_path / "nowhere"))
    assert outcome.exit_code == 1
    assert "ok    targets" in outcome.stdout
    assert "FAIL  split train: camvid: no image" in outcome.stdout
    assert "camvid breaks 5 rule(s) of the data set contract" in outcome.stderr
