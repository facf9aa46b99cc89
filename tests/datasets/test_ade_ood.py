"""ADE-OoD: a target of models of ADE20K alone."""

from __future__ import annotations

from bench.plugins import registry
from datasets.ade_ood import ADEOoD
from datasets.base import IGNORE
from tests.datasets.miniatures import MINIATURES


def test_masks_are_found_by_the_names_of_the_images(tmp_path):
    MINIATURES["ade_ood"]["official"](tmp_path)
    data = ADEOoD(tmp_path, "test", allow_partial=True)
    assert [item.label.name for item in data.items] == ["0a1b2c3d4e5f6071_mask.png", "ADE_val_00000071_mask.png"]
    assert set(data.label(0).unique().tolist()) == {0, 1, IGNORE}


def test_models_of_ade20k_and_of_no_other_are_scored_on_it():
    sources = [
        name
        for name in registry.datasets.names()
        for target in registry.datasets.get(name).anomaly
        if target.dataset == "ade_ood"
    ]
    assert sources == ["ade20k"]
