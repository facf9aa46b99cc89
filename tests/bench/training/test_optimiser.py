"""Parameter groups and learning rates."""

import pytest
import torch

from bench.config.tables import OptimiserConfig
from bench.model import weights as models
from bench.training import optimiser as optimisation
from methods.softmax import Softmax
from tests.bench.short import build, states_equal, train


def test_frozen_encoder_does_not_change(mini, fabric, tmp_path):
    run_config = build("recipe.optimiser.encoder_lr_factor=0")
    before = models.build_method(Softmax, run_config, mini.classes).network.encoder.state_dict()
    after = train(run_config, mini, fabric, tmp_path).method.network.encoder.state_dict()
    assert states_equal(before, after)


def test_encoder_factor_and_decay_go_to_the_right_parameters(mini):
    method = models.build_method(Softmax, build(), mini.classes)
    groups = optimisation.parameter_groups(method, OptimiserConfig(encoder_lr_factor=0.1, weight_decay=0.3))
    encoder = {id(p) for p in method.network.encoder.parameters()}
    counted = 0
    for group in groups:
        for parameter in group["params"]:
            assert group["factor"] == (0.1 if id(parameter) in encoder else 1.0)
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)
            counted += 1
    assert counted == len(list(method.parameters()))


def test_polynomial_schedule():
    c = OptimiserConfig(schedule="poly", power=0.9, warmup_steps=10, warmup_ratio=0.1)
    assert optimisation.schedule(c, 0, 100) == pytest.approx(0.1)
    assert optimisation.schedule(c, 5, 100) == pytest.approx(0.55 * 0.95**0.9)
    assert optimisation.schedule(c, 50, 100) == pytest.approx(0.5**0.9)
    assert optimisation.schedule(c, 100, 100) == 0


def test_one_cycle_schedule_is_torchs():
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    steps = 100
    reference = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=steps + 1, cycle_momentum=False)
    c = OptimiserConfig(schedule="onecycle")
    for step in range(steps):
        # torch's peak is at 0.3 * (total - 1) - 1, one step earlier than 0.3 of the run
        assert optimisation.schedule(c, step, steps) == pytest.approx(reference.get_last_lr()[0], abs=0.03)
        optimiser.step()
        reference.step()
