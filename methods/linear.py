"""Linear: the softmax layer refitted to features that stay as they are, by a convex solver instead of steps."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Classes, Context, MethodConfig, Network, Prediction
from methods.readout import ReadOut, sample

PER_CLASS = 16384
"""Cells of each class that the layer is fitted to; each counts as often as the class is."""
ITERATIONS = 300
TOLERANCE = 1e-6


class LinearConfig(MethodConfig):
    """Hyper-parameters of ``Linear``."""

    l2: float = Field(default=1e-5, ge=0, le=1)
    """Weight of the squared weights (of standardised features) beside the mean cross-entropy."""


class Linear(ReadOut):
    """Multinomial logistic regression on the dense features of un-augmented training images."""

    name = "linear"
    Config = LinearConfig
    weight: Tensor
    """(C, D)."""
    bias: Tensor
    """(C,)."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        self.register_buffer("weight", torch.zeros(len(classes), network.out_channels))
        self.register_buffer("bias", torch.zeros(len(classes)))

    def finish(self, context: Context) -> None:
        """Draw cells of each class and solve."""
        found = sample(self.labelled(context), len(self.classes), PER_CLASS, context.seed, context.collectives)
        if not len(found.labels):
            return
        weights = found.stands_for[found.labels]
        weight, bias = logistic_regression(found.features, found.labels, weights, len(self.classes), self.config.l2)
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def predict(self, images: Tensor) -> Prediction:
        """Logits (B, C, h, w) at the resolution of the dense features."""
        dense = self.network(images).dense.float()
        return Prediction(F.conv2d(dense, self.weight[:, :, None, None], self.bias))


def logistic_regression(
    features: Tensor, labels: Tensor, weights: Tensor, num_classes: int, l2: float
) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) float32 that minimise the weighted mean cross-entropy plus ``l2`` |weight|^2 / 2.

    Args:
        features: (n, D); the penalty is on the weights of standardised ones.
        labels: (n,) int64.
        weights: (n,) of each row, in any unit.
        num_classes: C.
        l2: of the penalty.
    """
    share = (weights / weights.sum()).float()
    mean = (share[:, None] * features).sum(0)
    std = (share[:, None] * (features - mean).square()).sum(0).sqrt()
    scale = torch.where(std > 1e-6 * std.max(), 1 / std, torch.zeros_like(std))
    rows = (features - mean) * scale
    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, tolerance_grad=TOLERANCE, history_size=20, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        solver.zero_grad()
        losses = F.cross_entropy(rows @ weight.t() + bias, labels, reduction="none")
        loss = torch.dot(share, losses) + 0.5 * l2 * weight.square().sum()
        loss.backward()
        return loss.item()

    with torch.enable_grad():
        solver.step(objective)
    scaled = weight.detach() * scale
    return scaled, bias.detach() - scaled @ mean
