"""Gaussian: one Gaussian per class, fitted after training to features that stay as they are."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from methods.base import Classes, Context, MethodConfig, Network, Prediction
from methods.readout import CHUNK, ReadOut

RIDGE = 1e-6
"""Of the mean variance, added to every variance: features of dead channels have none."""


class GaussianConfig(MethodConfig):
    """Hyper-parameters of ``Gaussian``."""

    covariance: Literal["shared", "own"] = "own"
    """One covariance for all classes, as the Mahalanobis score of Lee et al. 2018 has it, or one for each, as Deep
    Deterministic Uncertainty has it; in that of a class the shared one counts as D further cells."""


class Gaussian(ReadOut):
    """Class-conditional Gaussians N(mean_c, cov_c) with the classes' frequencies; log p(x | c) is their density."""

    name = "gaussian"
    reference = (
        "Jishnu Mukhoti, Andreas Kirsch, Joost van Amersfoort, Philip H. S. Torr, Yarin Gal: Deep Deterministic "
        "Uncertainty: A New Simple Baseline. CVPR 2023"
    )
    Config = GaussianConfig
    density_score = "gaussian_nll"
    headline_score = "gaussian_nll"
    whitening: Tensor
    """(C, D, D) lower triangular: with the mean taken off it makes a class's features standard normal."""
    mean: Tensor
    """(C, D)."""
    log_frequency: Tensor
    """(C,)."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        channels = network.out_channels
        self.register_buffer("whitening", torch.eye(channels).repeat(len(classes), 1, 1))
        self.register_buffer("mean", torch.zeros(len(classes), channels))
        self.register_buffer("log_frequency", torch.zeros(len(classes)))

    def finish(self, context: Context) -> None:
        """Add up counts, sums and products of each class in one pass."""
        classes, channels = self.mean.shape
        counts = torch.zeros(classes, dtype=torch.float64)
        sums = torch.zeros(classes, channels, dtype=torch.float64)
        products = torch.zeros(classes, channels, channels, dtype=torch.float64)
        for features, labels in self.labelled(context):
            x, member = features.double(), torch.nn.functional.one_hot(labels, classes).double()
            counts += member.sum(0)
            sums += member.t() @ x
            products += ((member[:, :, None] * x[:, None, :]).flatten(1).t() @ x).view_as(products)
        counts, sums, products = map(context.collectives.all_reduce_sum, (counts, sums, products))
        mean, covariance = gaussians(counts, sums, products, shared=self.config.covariance == "shared")
        factor = torch.linalg.cholesky(covariance)
        identity = torch.eye(channels, dtype=torch.float64).expand_as(factor)
        self.whitening.copy_(torch.linalg.solve_triangular(factor, identity, upper=False))
        self.mean.copy_(mean)
        self.log_frequency.copy_(self.log_prior(counts))

    def predict(self, images: Tensor) -> Prediction:
        """log p(x, c) as logits and log p(x | c), (B, C, h, w)."""
        dense = self.network(images).dense.float()
        cells = dense.movedim(1, -1)
        density = torch.cat([self._log_density(part) for part in cells.flatten(0, -2).split(CHUNK)])
        density = density.view(*cells.shape[:-1], -1).movedim(-1, 1)
        return Prediction(density + self.log_frequency[:, None, None], log_density=density)

    def _log_density(self, cells: Tensor) -> Tensor:
        """log p(x | c), (n, C), of ``cells`` (n, D)."""
        whitened = (cells - self.mean[:, None]) @ self.whitening.mT
        log_volume = self.whitening.diagonal(dim1=1, dim2=2).log().sum(1)
        return log_volume - 0.5 * (whitened.square().sum(-1).t() + cells.shape[1] * math.log(2 * math.pi))


def gaussians(counts: Tensor, sums: Tensor, products: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """Means (C, D) and covariances (C, D, D) from ``counts`` (C,), ``sums`` (C, D) and ``products`` (C, D, D), float64.

    A class without cells has the mean of all and the shared covariance.
    """
    channels = sums.shape[1]
    total = counts.sum().clamp(min=1)
    mean = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], sums.sum(0) / total)
    scatter = products - counts[:, None, None] * mean[:, :, None] * mean[:, None, :]
    pooled = scatter.sum(0) / total
    level = pooled.diagonal().mean()
    ridge = torch.eye(channels, dtype=sums.dtype) * (RIDGE * level if level > 0 else 1.0)
    if shared:
        return mean, (pooled + ridge).expand_as(scatter)
    return mean, (scatter + channels * pooled) / (counts + channels)[:, None, None] + ridge
