"""Trainings of a few steps."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from bench.config import grid as sweeps
from bench.plugins import registry
from bench.training import loop as training
from bench.training.checkpoint import Checkpoint


def build(*assignments, method="softmax"):
    assignments = ["network.encoder=resnet18", "recipe.steps=4", *assignments]
    ((_, made),) = sweeps.grid([registry.methods.get(method)], "toyscapes_mini", "quick", [0], [], assignments).runs
    return made


def train(run_config, mini, fabric, folder, method_class=None, **kwargs):
    method_class = method_class or registry.methods.get(run_config.method_name)
    return training.train(method_class, run_config, mini, fabric, folder, folder / "cache", **kwargs)


def states_equal(one, two):
    return all(torch.equal(t, two[n]) for n, t in one.items()) and one.keys() == two.keys()


class Kill(BaseException):
    pass


@contextmanager
def killed_at_a_checkpoint():
    """What trains inside ends as soon as it has kept its state."""
    keep = Checkpoint.save

    def save(*args):
        keep(*args)
        raise Kill

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        with pytest.raises(Kill):
            yield
