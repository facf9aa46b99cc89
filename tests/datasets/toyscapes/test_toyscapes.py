"""The data set as the harness sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datasets.base import DataError, Dataset
from datasets.toyscapes import Toyscapes
from datasets.toyscapes.render import STREAMS, VERSION
from datasets.toyscapes_mini import ToyscapesMini


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("plugin", [Toyscapes, ToyscapesMini])
def test_protocols_find_their_splits(plugin: type[Dataset]):
    assert set(plugin.splits) == set(STREAMS)
    targets = [*plugin.cross_domain, *plugin.anomaly]
    assert {target.dataset for target in targets} == {plugin.name}
    assert {target.split for target in plugin.cross_domain} == {"night", "fog", "rain", "other-town"}
    assert [plugin.splits[target.split].task for target in plugin.anomaly] == ["anomaly"]
    assert {*plugin.eval_splits, plugin.train_split, plugin.selection_split} <= set(plugin.splits)


def test_class_names_and_colours_are_those_of_cityscapes():
    classes = dict(zip(Toyscapes.classes.names, Toyscapes.classes.colours, strict=True))
    assert classes["road"] == (128, 64, 128)
    assert classes["sky"] == (70, 130, 180)
    assert classes["bicycle"] == (119, 11, 32)
    assert len(classes) == 14


@pytest.mark.parametrize("split", STREAMS)
def test_samples(root: Path, split: str):
    data = ToyscapesMini(root, split)
    assert len(data) == ToyscapesMini.splits[split].count
    sample = data[len(data) - 1]
    assert sample.image.shape == (3, 64, 128)
    assert sample.image.dtype == torch.uint8
    assert sample.label.shape == (64, 128)
    assert sample.label.dtype == torch.uint8
    assert sample.label.max() < (2 if split == "anomaly" else 14)


def test_only_the_split_asked_for_is_rendered(tmp_path: Path):
    ToyscapesMini(tmp_path, "val")
    rendered = [path.name for path in (tmp_path / "toyscapes_mini" / VERSION).iterdir() if path.is_dir()]
    assert rendered == ["val"]


def test_identifiers_are_distinct_across_splits(root: Path):
    idents = [item.id for split in STREAMS for item in ToyscapesMini(root, split).items]
    assert len(set(idents)) == len(idents)


def test_unknown_split(root: Path):
    with pytest.raises(DataError, match="no split 'dusk'"):
        ToyscapesMini(root, "dusk")


def test_a_damaged_label_is_rendered_again(tmp_path: Path):
    path = ToyscapesMini(tmp_path, "val").items[0].label
    path.write_bytes(b"")
    assert ToyscapesMini(tmp_path, "val")[0].label.shape == (64, 128)
