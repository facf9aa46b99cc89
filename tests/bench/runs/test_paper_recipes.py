"""The papers' recipes run: two steps on miniatures with small encoders, and what they leave is scored."""

from __future__ import annotations

import json
from statistics import harmonic_mean

import pytest

from tests.datasets.miniatures import MINIATURES

SMALL = (
    "recipe.steps=2",
    "recipe.batch_size=2",
    "recipe.optimiser.warmup_steps=0",
    "recipe.augmentation.crop=[64,64]",
    "recipe.augmentation.short_side=64",
    "recipe.inference.mode=whole",
    "recipe.inference.short_side=64",
    "recipe.workers=0",
    "network.encoder_weights=none",
    "data.allow_partial=true",
)

OF_GSS = (
    "method.codec_steps=2",
    "method.codec_width=8",
    "method.codec_crop=32",
    "method.vocabulary=16",
    "method.depth=1",
    "method.hidden=32",
)

RECIPES = {
    "paper-gmmseg-ade20k": ("gmmseg", "ade20k", "archive", "dense", "mit_b0", ()),
    "paper-gmmseg-cityscapes": ("gmmseg", "cityscapes", "labelIds", "dense", "mit_b0", ()),
    "paper-gmmseg-coco_stuff": ("gmmseg", "coco_stuff_10k", "official", "dense", "mit_b0", ()),
    "paper-segsort-voc": ("segsort", "pascal_voc_aug", "sbd", "dense", "resnet18", ()),
    "paper-segsort-cityscapes": ("segsort", "cityscapes", "labelIds", "dense", "resnet18", ()),
    "paper-agmm-voc": ("agmm", "pascal_voc_aug", "converted", "points", "resnet18", ()),
    "paper-agmm-cityscapes": ("agmm", "cityscapes", "labelIds", "clicks-20", "resnet18", ()),
    "paper-gss-cityscapes": ("gss", "cityscapes", "labelIds", "dense", "resnet18", OF_GSS),
    "paper-gss-ade20k": ("gss", "ade20k", "archive", "dense", "resnet18", OF_GSS),
    "paper-gss-mseg": ("gss", "mseg", "direct", "dense", "resnet18", OF_GSS),
}
"""Method, data set, miniature, supervision, encoder and what makes the method small."""

ZERO_SHOT = {
    "pascal_voc": "archive",
    "pascal_context_60": "official",
    "camvid_11": "official",
    "wilddash": "official",
    "kitti_semantics": "official",
    "scannet": "official",
}


@pytest.fixture
def protocols(bench, tmp_path):
    """Run a method; the protocols of the record that it leaves."""

    def run(method, dataset, recipe, supervision, encoder, changes):
        settings = [part for change in (*SMALL, *changes) for part in ("--set", change)]
        where = ["--data-root", str(tmp_path), "--supervision", supervision, "--encoder", encoder]
        outcome = bench("run", "--method", method, "--dataset", dataset, "--recipe", recipe, *where, *settings)
        assert outcome.exit_code == 0, outcome.output
        (record,) = (tmp_path / "results" / "records").glob("*.json")
        return json.loads(record.read_text())["protocols"]

    return run


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_paper_recipe_trains_and_is_scored(protocols, tmp_path, recipe):
    method, dataset, miniature, *others = RECIPES[recipe]
    MINIATURES[dataset][miniature](tmp_path)
    assert protocols(method, dataset, recipe, *others)["closed-set"]["status"] == "complete"


def test_a_model_of_mseg_is_scored_by_the_harmonic_mean_over_the_six_zero_shot_targets(protocols, tmp_path):
    MINIATURES["mseg"]["direct"](tmp_path)
    for name, miniature in ZERO_SHOT.items():
        MINIATURES[name][miniature](tmp_path)
    result = protocols("softmax", "mseg", "quick", "dense", "resnet18", ())["cross-domain"]
    assert [target.partition("/")[0] for target in result["targets"]] == [*ZERO_SHOT]
    mious = [scores["metrics"]["miou"] for scores in result["targets"].values()]
    assert result["summary"]["harmonic_mean"] == pytest.approx(harmonic_mean(mious))
    assert result["targets"]["wilddash/val"]["notes"] != result["targets"]["camvid_11/test"]["notes"]
