"""Interrupted training continues as if nothing had happened, and from nothing else."""

import errno
import io
import os

import pytest
import torch

from bench.common import files
from bench.common.errors import UserError
from bench.common.tensors import serialised
from bench.model import weights as models
from bench.training import checkpoint as checkpoints
from tests.bench.short import build, killed_at_a_checkpoint, states_equal, train


@pytest.mark.parametrize("method", ["softmax", "gmmseg"])
def test_interrupted_training_ends_in_the_same_weights(mini, fabric, tmp_path, method):
    run_config = build(method=method)
    straight = train(run_config, mini, fabric, tmp_path / "straight").method.state_dict()

    with killed_at_a_checkpoint():
        train(run_config, mini, fabric, tmp_path / "resumed")
    assert (tmp_path / "resumed" / checkpoints.CHECKPOINT).exists()
    resumed = train(run_config, mini, fabric, tmp_path / "resumed").method.state_dict()
    assert states_equal(straight, resumed)
    logs = [(tmp_path / n / "losses.csv").read_text() for n in ("straight", "resumed")]
    assert logs[0] == logs[1]


def test_damaged_checkpoint_is_one_sentence(mini, fabric, tmp_path):
    (tmp_path / checkpoints.CHECKPOINT).write_bytes(b"half a file")
    with pytest.raises(UserError, match="damaged") as caught:
        train(build(), mini, fabric, tmp_path)
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_run_is_refused(mini, fabric, tmp_path):
    with killed_at_a_checkpoint():
        train(build(), mini, fabric, tmp_path)
    with pytest.raises(UserError, match="another run"):
        train(build("recipe.optimiser.lr=0.5"), mini, fabric, tmp_path)


def test_a_checkpoint_of_an_edited_plugin_is_refused(mini, fabric, tmp_path):
    def start(digest):
        return train(build("recipe.checkpoint_every=2"), mini, fabric, tmp_path, plugins={"proto.py": digest})

    with killed_at_a_checkpoint():
        start("first")
    with pytest.raises(UserError, match=r"another proto.py.*--force"):
        start("second")
    assert start("first").training.steps == 4


def test_a_checkpoint_of_other_data_is_refused_and_one_that_does_not_say_is_not(mini, fabric, tmp_path):
    def start(content):
        return train(build("recipe.checkpoint_every=2"), mini, fabric, tmp_path, content=content)

    with killed_at_a_checkpoint():
        start("data")
    before = (tmp_path / checkpoints.CHECKPOINT).read_bytes()
    with pytest.raises(UserError, match=r"other data.*--force"):
        start("other data")
    assert (tmp_path / checkpoints.CHECKPOINT).read_bytes() == before
    state = torch.load(io.BytesIO(files.read_sealed(tmp_path / checkpoints.CHECKPOINT, checkpoints.ABOUT)))
    del state["content"]
    files.write_sealed(tmp_path / checkpoints.CHECKPOINT, serialised(state), checkpoints.ABOUT)
    assert start("other data").training.steps == 4


@pytest.mark.parametrize("target", [checkpoints.CHECKPOINT, models.MODEL])
def test_full_disk_while_weights_are_written_is_the_error_of_the_disk(mini, fabric, tmp_path, monkeypatch, target):
    def full(handle):
        if target in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left.*{target}"):
        train(build("recipe.checkpoint_every=2"), mini, fabric, tmp_path)
    assert not [path for path in tmp_path.iterdir() if target in path.name]
