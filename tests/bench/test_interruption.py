"""Stopping between two steps."""

import signal

import pytest
import torch

from bench import checkpoints, interruption
from methods.softmax import Softmax
from tests.bench.short import build, train


def test_ctrl_c_finishes_the_step_and_keeps_it(mini, fabric, tmp_path):
    class Interrupting(Softmax):
        name = "interrupting"

        def after_step(self, batch, context):
            if context.step == 0:
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(interruption.Interrupted, match="step 1 of 4"):
        train(build(), mini, fabric, tmp_path, Interrupting)
    state = torch.load(tmp_path / checkpoints.CHECKPOINT, weights_only=True)
    assert state["step"] == 1
    assert signal.getsignal(signal.SIGINT) is before
