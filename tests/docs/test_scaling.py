"""The tables of docs/scaling.md are what the script computes, from what the code and the recipes are."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.config.tables import Recipe, recipe_tables
from bench.plugins import registry
from bench.scoring.metrics.ranking import NegativeCounts, PositiveScores
from methods.base import Collectives
from methods.segsort.bank import PrototypeBank

ROOT = Path(__file__).parents[2]
SCALING = runpy.run_path(str(ROOT / "benchmarks" / "scaling.py"))


@pytest.mark.parametrize("table", SCALING["TABLES"], ids=lambda make: make.__name__)
def test_the_page_has_the_table_that_the_script_computes(table):
    assert table() in (ROOT / "docs" / "scaling.md").read_text()


def test_a_row_of_the_bank_is_as_large_as_the_table_says():
    import torch

    rows, dim = 7, SCALING["BANK_DIM"]
    counts = torch.arange(rows)
    part = {"features": torch.randn(rows, dim), "purity": torch.ones(rows)}
    bank = PrototypeBank(dim, 3)
    bank.build([{**part, **dict.fromkeys(("labels", "images", "clusters"), counts)}], 0.0, Collectives())
    assert sum(getattr(bank, name).nbytes for name in bank.ROWS) == SCALING["bank_bytes"](rows)


def test_a_level_of_the_ranking_is_as_large_as_the_table_says():
    first = PositiveScores()
    first.update("image", np.arange(1000, dtype=np.float32), np.ones(1000, np.int64))
    second = NegativeCounts(first.finish())
    arrays = (second.levels.scores, second.levels.counts, second._between[1:], second._equal)
    assert sum(array.nbytes for array in arrays) == 1000 * SCALING["LEVEL_BYTES"]


@pytest.mark.parametrize(
    ("recipe", "dataset", "row"),
    [("quick", "camvid", 0), ("standard", "camvid", 2), ("standard", "bdd100k", 3), ("standard", "cityscapes", 4)],
)
def test_runs_are_those_of_the_recipes(recipe, dataset, row):
    made, told = Recipe.model_validate(recipe_tables(recipe, dataset)["recipe"]), SCALING["RUNS"][row]
    assert (made.steps, made.batch_size, made.augmentation.crop) == (told.steps, told.batch, told.crop)


def test_splits_are_as_large_as_the_data_sets_say():
    names = ("cityscapes", "mapillary_vistas", "coco_stuff_164k")
    splits = [registry.datasets.get(name).splits for name in names]
    assert [images for _, images in SCALING["SETS"]] == [split["train"].count for split in splits]
    assert [images for _, images, _ in SCALING["SPLITS"]] == [split["val"].count for split in splits]
