"""The command shown with a run gives the run again."""

from __future__ import annotations

import shlex

import pytest

from bench.commands.cli import main
from bench.config import tables
from bench.config.command import command
from bench.config.grid import grid
from bench.plugins import registry


def again(text, method):
    """What ``bench run`` makes of the command's options."""
    words = shlex.split(text)[2:]
    options = list(zip(*[iter(words)] * 2, strict=True))
    known = {option for parameter in main.commands["run"].params for option in parameter.opts}
    assert {name for name, _ in options} <= known
    given = dict(options)
    changes = [{"data": {"supervision": given.get("--supervision", "dense")}}]
    sets = [value for name, value in options if name == "--set"]
    found = grid([method], given["--dataset"], given["--recipe"], [int(given["--seed"])], changes, sets)
    ((_, config),) = found.runs
    return config


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["recipe.steps=7", "recipe.optimiser.lr=0.5", "recipe.class_balanced=true"],
        ["recipe.inference.short_side=none", "recipe.augmentation.crop=[64, 96]"],
        ["network.encoder=resnet18", "network.encoder_weights=none", "network.decoder.decoder_dropout=0.0"],
        ["method.preset=paper", "method.components=3", "method.class_norm=none"],
        ["data.allow_partial=true"],
    ],
    ids=str,
)
@pytest.mark.parametrize(("recipe", "supervision"), [("quick", "dense"), ("settled", "points")])
def test_it_gives_the_same_configuration(recipe, supervision, settings):
    method = registry.methods.get("gmmseg")
    changes = [{"data": {"supervision": supervision}}]
    ((_, config),) = grid([method], "toyscapes", recipe, [4], changes, settings).runs
    text = command(config, method)
    assert again(text, method).fingerprint() == config.fingerprint()
    assert text.count("--set") <= max(1, len(settings)) + 1


def test_of_defaults_it_sets_nothing():
    method = registry.methods.get("softmax")
    config = tables.build(method, "toyscapes", "quick", 0)
    assert command(config, method) == "bench run --method softmax --dataset toyscapes --recipe quick --seed 0"
