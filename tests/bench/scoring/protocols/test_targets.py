"""Data sets that declare themselves targets of a source that does not name them."""

from __future__ import annotations

from typing import ClassVar

import pytest

from bench.common.errors import UserError
from bench.plugins import registry
from bench.scoring.protocols import Anomaly, CrossDomain
from bench.scoring.protocols.targets import cross_domain
from datasets.base import ClassMap, ClassSet, Dataset, Split, Target

OURS = ClassSet("ours", ("road", "car"), ((1, 1, 1), (2, 2, 2)))
THEIRS = ClassSet("theirs", ("ground", "thing"), ((1, 1, 1), (2, 2, 2)))
MAP = ClassMap.by_name(OURS, THEIRS, {"road": "ground", "car": "thing"})


class Source(Dataset):
    name = "a_source"
    classes = OURS
    splits: ClassVar = {"train": Split(None), "val": Split(None)}

    def find(self):
        return []


class Elsewhere(Source):
    name = "elsewhere"
    classes = THEIRS
    splits: ClassVar = {"val": Split(None), "test": Split(None), "odd": Split(None, task="anomaly")}
    eval_splits = ("test", "val")
    target_of: ClassVar = {"a_source": MAP}


@pytest.fixture
def register(monkeypatch):
    """Registers data sets until the end of the test."""
    registry.datasets.names()
    monkeypatch.setattr(registry.datasets, "_classes", {**registry.datasets._classes})

    def register(*classes):
        for dataset in classes:
            registry.datasets.register(dataset)

    return register


def variant(**facts):
    return type("Variant", (Elsewhere,), facts)


def test_a_source_gets_the_headline_and_the_anomaly_splits_of_those_that_name_it(register):
    assert CrossDomain.targets(Source) == Anomaly.targets(Source) == []
    register(Source, Elsewhere)
    assert cross_domain(Source) == [Target("elsewhere", "test", MAP)]
    assert CrossDomain.targets(Source) == [("elsewhere", "test")]
    assert Anomaly.targets(Source) == [("elsewhere", "odd")]
    assert CrossDomain.targets(Elsewhere) == Anomaly.targets(Elsewhere) == []


def test_a_sources_own_targets_come_first_and_stand(register):
    other = ClassMap.by_name(OURS, THEIRS, {"road": "ground"})
    own = (Target("camvid", "test", other), Target("elsewhere", "test", other))
    naming = type("Naming", (Source,), {"cross_domain": own})
    register(naming, Elsewhere, variant(name="further", target_of={"a_source": MAP}))
    assert cross_domain(naming) == [*own, Target("further", "test", MAP)]


def test_an_anomaly_set_needs_no_map(register):
    odd = {"odd": Split(None, task="anomaly")}
    register(variant(name="oddities", splits=odd, eval_splits=(), target_of={"a_source": None}))
    assert CrossDomain.targets(Source) == []
    assert Anomaly.targets(Source) == [("oddities", "odd")]


@pytest.mark.parametrize("name", ["camvid", "cityscapes", "toyscapes", "toyscapes_mini", "idd_lite", "ade20k"])
def test_built_in_sources_have_the_targets_that_they_name(name):
    source = registry.datasets.get(name)
    assert CrossDomain.targets(source) == [(t.dataset, t.split) for t in source.cross_domain]
    assert Anomaly.targets(source) == [(t.dataset, t.split) for t in source.anomaly]


@pytest.mark.parametrize(
    ("class_map", "words"),
    [
        (None, "no class map, but a_source and elsewhere have other classes"),
        (ClassMap.by_name(THEIRS, OURS, {"ground": "road"}), "from theirs to ours; give it one from ours to theirs"),
        (ClassMap("ours", "theirs", (0,)), "give it one from ours to theirs"),
    ],
)
def test_a_map_that_does_not_fit_is_one_sentence(register, class_map, words):
    register(variant(target_of={"a_source": class_map}))
    with pytest.raises(UserError, match=words) as caught:
        CrossDomain.targets(Source)
    assert "elsewhere" in str(caught.value)
    assert "\n" not in str(caught.value)
