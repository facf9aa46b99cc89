"""Mixture: a Gaussian mixture per class, fitted by EM after training to features that stay as they are.

Beside GMMSeg it tells what estimating the mixtures online, along with the features, is worth.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Classes, Context, MethodConfig, Network, Prediction
from methods.readout import CHUNK, ReadOut, sample

PER_CLASS = 4096
"""Cells of each class that its mixture is fitted to."""
ITERATIONS = 100
TOLERANCE = 1e-3
"""EM ends when no class gains more nats a cell by an iteration."""
FLOOR = 1e-6
"""Added to the variances of standardised features."""


class MixtureConfig(MethodConfig):
    """Hyper-parameters of ``Mixture``."""

    components: int = Field(default=5, ge=1, le=64)
    """K, Gaussians per class."""


class Mixtures(NamedTuple):
    """C mixtures of K Gaussians with diagonal covariances."""

    weights: Tensor
    """(C, K), the rows sum to one."""
    means: Tensor
    """(C, K, D)."""
    variances: Tensor
    """(C, K, D)."""

    def log_joint(self, cells: Tensor) -> Tensor:
        """log p(x, k | c), (C, n, K), of ``cells`` (n, D) or (C, n, D)."""
        precision = 1 / self.variances
        constant = self.weights.log() - 0.5 * (
            (self.means.square() * precision + self.variances.log()).sum(-1) + cells.shape[-1] * math.log(2 * math.pi)
        )
        linear = cells @ (self.means * precision).mT - 0.5 * cells.square() @ precision.mT
        return linear + constant[:, None]


class Mixture(ReadOut):
    """Class-conditional mixtures of diagonal Gaussians with the classes' frequencies."""

    name = "mixture"
    Config = MixtureConfig
    density_score = "mixture_nll"
    headline_score = "mixture_nll"
    weights: Tensor
    means: Tensor
    variances: Tensor
    log_frequency: Tensor

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        shape = (len(classes), config.components)
        self.register_buffer("weights", torch.full(shape, 1 / config.components))
        self.register_buffer("means", torch.zeros(*shape, network.out_channels))
        self.register_buffer("variances", torch.ones(*shape, network.out_channels))
        self.register_buffer("log_frequency", torch.zeros(len(classes)))

    def finish(self, context: Context) -> None:
        """Draw cells of each class and fit all mixtures at once, on standardised features."""
        found = sample(self.labelled(context), len(self.classes), PER_CLASS, context.seed, context.collectives)
        if not len(found.labels):
            return
        cells = found.features.double()
        centre, scale = cells.mean(0), cells.std(0, correction=0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        rows, present = by_class((cells - centre) / scale, found.labels, len(self.classes))
        fitted = fit(rows, present, self.config.components)
        self.weights.copy_(fitted.weights)
        self.means.copy_(fitted.means * scale + centre)
        self.variances.copy_(fitted.variances * scale.square())
        self.log_frequency.copy_(self.log_prior(found.counts))

    def predict(self, images: Tensor) -> Prediction:
        """log p(x, c) as logits and log p(x | c), (B, C, h, w)."""
        mixtures = Mixtures(self.weights, self.means, self.variances)
        cells = self.network(images).dense.float().movedim(1, -1)
        parts = [mixtures.log_joint(part).logsumexp(-1).t() for part in cells.flatten(0, -2).split(CHUNK)]
        density = torch.cat(parts).view(*cells.shape[:-1], -1).movedim(-1, 1)
        return Prediction(density + self.log_frequency[:, None, None], log_density=density)


def by_class(rows: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """``rows`` (m, D), sorted by ``labels`` (m,), as (C, n, D) filled up with zeros, and which are there, (C, n)."""
    counts = torch.bincount(labels, minlength=num_classes)
    present = torch.arange(int(counts.max())) < counts[:, None]
    padded = rows.new_zeros(*present.shape, rows.shape[1])
    padded[present] = rows
    return padded, present


def fit(rows: Tensor, present: Tensor, components: int) -> Mixtures:
    """Fit a mixture to the ``present`` (C, n) of the ``rows`` (C, n, D) of each class, by EM.

    It starts from the class's variances around its first rows, which are in random order; a class with none keeps a
    standard normal.
    """
    shown = present.to(rows.dtype)[:, :, None]
    counts = present.sum(1)
    total = counts.clamp(min=1)[:, None]
    first = rows.gather(
        1, (torch.arange(components) % total).clamp(max=rows.shape[1] - 1)[:, :, None].expand(-1, -1, rows.shape[2])
    )
    mean = (rows * shown).sum(1) / total
    variance = (((rows - mean[:, None]) * shown).square().sum(1) / total + FLOOR)[:, None].expand_as(first)
    empty = (counts == 0)[:, None, None]
    found = Mixtures(
        rows.new_full(first.shape[:2], 1 / components), first, torch.where(empty, torch.ones_like(variance), variance)
    )
    before = rows.new_full((len(rows),), -math.inf)
    for _ in range(ITERATIONS):
        joint = found.log_joint(rows)
        likelihood = (joint.logsumexp(-1) * shown[:, :, 0]).sum(1) / total[:, 0]
        found = _maximise(rows, joint.softmax(-1) * shown, found, empty)
        if bool((likelihood - before < TOLERANCE).all()):
            break
        before = likelihood
    return found


def _maximise(rows: Tensor, shares: Tensor, old: Mixtures, empty: Tensor) -> Mixtures:
    """The M-step from the components' ``shares`` (C, n, K) of the rows."""
    mass = shares.sum(1) + 10 * torch.finfo(rows.dtype).eps
    means = shares.mT @ rows / mass[:, :, None]
    variances = (shares.mT @ rows.square() / mass[:, :, None] - means.square()).clamp(min=0) + FLOOR
    return Mixtures(
        mass / mass.sum(1, keepdim=True),
        torch.where(empty, old.means, means),
        torch.where(empty, old.variances, variances),
    )
