"""The recipe's optimiser and learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from bench.config.tables import OptimiserConfig
from methods.base import Method


def parameter_groups(method: Method, config: OptimiserConfig) -> list[dict[str, Any]]:
    """Encoder and other parameters, each with and without weight decay (none on norms and biases)."""
    encoder = {id(p) for p in getattr(method.network, "encoder", nn.Identity()).parameters()}
    if config.encoder_lr_factor == 0:
        for parameter in method.network.encoder.parameters():
            parameter.requires_grad_(False)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in encoder, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "factor": config.encoder_lr_factor if in_encoder else 1.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), parameters in groups.items()
    ]


def make_optimiser(method: Method, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The recipe's optimiser over ``parameter_groups``."""
    groups = parameter_groups(method, config)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))


def schedule(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of ``step`` (from 0) relative to its peak.

    ``poly``: (1 - step/steps)^power; ``onecycle``: half a cosine up from 1/25 over the first 30 % of the steps, then
    half a cosine down to 1e-4/25 (Smith and Topin 2019, with PyTorch's defaults); both end at ``steps``.
    """
    if config.schedule == "onecycle":
        peak = 0.3 * steps
        if step < peak:
            return _cosine(1 / 25, 1.0, step / peak)
        return _cosine(1.0, 1e-4 / 25, (step - peak) / max(steps - peak, 1))
    factor = (1 - step / steps) ** config.power if config.schedule == "poly" else 1.0
    if step < config.warmup_steps:
        factor *= config.warmup_ratio + (1 - config.warmup_ratio) * step / config.warmup_steps
    return factor


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2
