import math

import pytest
from pydantic import ValidationError

from methods.gmmseg import GMMSegConfig
from methods.gmmseg.config import time_constants


def test_the_paper_preset_fills_only_what_is_not_given():
    assert (GMMSegConfig().reduce, GMMSegConfig().class_norm) == ("max", "layernorm")
    paper = GMMSegConfig(preset="paper")
    assert (paper.reduce, paper.class_norm) == ("logsumexp", "temperature")
    mixed = GMMSegConfig(preset="paper", class_norm="none")
    assert (mixed.reduce, mixed.class_norm) == ("logsumexp", "none")
    assert GMMSegConfig.model_validate(paper.model_dump()) == paper


@pytest.mark.parametrize(
    "wrong", [{"preset": "thesis"}, {"preset": 3}, {"memory": 10}, {"components": 0}, {"ridge": 0}, {"k": 3}]
)
def test_wrong_values_are_rejected(wrong):
    with pytest.raises(ValidationError):
        GMMSegConfig(**wrong)


def test_a_reference_run_and_longer_ones_keep_the_published_constants():
    for steps in (80000, 160000):
        constants = time_constants(GMMSegConfig(), steps)
        assert constants == (0.999, 0.0, 32000)


def test_short_runs_keep_the_share_of_the_run_that_constants_span():
    config = GMMSegConfig(gamma_var=0.99)
    constants = time_constants(config, 8000)
    assert constants.memory == 3200
    full, short = (math.log(0.999) * 80000, math.log(constants.gamma_mean) * 8000)
    assert short == pytest.approx(full)
    assert constants.gamma_var == pytest.approx(0.99**10)


def test_the_memory_keeps_ten_pushes_but_never_grows():
    assert time_constants(GMMSegConfig(), 100).memory == 200
    assert time_constants(GMMSegConfig(push=50), 100).memory == 500
    assert time_constants(GMMSegConfig(memory=120), 100).memory == 120
    assert time_constants(GMMSegConfig(), 0).memory == 200


def test_scaling_can_be_switched_off():
    assert time_constants(GMMSegConfig(scale_time_constants=False), 100) == (0.999, 0.0, 32000)
