"""Stopping between two steps."""

import io
import signal

import pytest
import torch

from bench.common import files, interruption
from bench.training import checkpoint as checkpoints
from methods.softmax import Softmax
from tests.bench.short import build, train


def test_ctrl_c_finishes_the_step_and_keeps_it(mini, fabric, tmp_path, capsys):
    class Interrupting(Softmax):
        name = "interrupting"

        def after_step(self, observed, context):
            if context.step == 0:
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        interruption.run(lambda: train(build(), mini, fabric, tmp_path, Interrupting))
    assert ended.value.code == 130
    assert "step 1 of 4" in capsys.readouterr().err
    content = files.read_sealed(tmp_path / checkpoints.CHECKPOINT, checkpoints.ABOUT)
    state = torch.load(io.BytesIO(content), weights_only=True)
    assert state["step"] == 1
    assert signal.getsignal(signal.SIGINT) is before
