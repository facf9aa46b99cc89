"""Von Mises-Fisher mixtures of one concentration on the unit sphere. Shapes: N vectors, D dimensions, M components."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 24
"""Entries of the (vectors, components) matrix that exist at a time."""
FLOOR = 1e-30
"""What stands for the sum over no component, to keep its logarithm finite. Far below exp(-kappa)."""


def log_normaliser(dim: int, kappa: float) -> float:
    """log C_D(kappa), in nats, of the density C_D(kappa) * exp(kappa * mu . v) on the unit sphere of R^D.

    C_D(kappa) = kappa^nu / ((2 pi)^(D/2) I_nu(kappa)) with nu = D/2 - 1. The Bessel function is summed as its power
    series in log space, for its value underflows in many dimensions.
    """
    nu = dim / 2 - 1
    m = torch.arange(2 * math.ceil(kappa) + 100, dtype=torch.float64)
    terms = (2 * m + nu) * math.log(kappa / 2) - torch.lgamma(m + 1) - torch.lgamma(m + nu + 1)
    return nu * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - float(terms.logsumexp(0))


def weighted_sums(vectors: Tensor, means: Tensor, weights: Tensor, kappa: float) -> Tensor:
    """Sum over components of weight * exp(kappa * mu . v), for G groups of components at once: (N, G).

    ``vectors`` (N, D) and ``means`` (M, D) are unit, ``weights`` (M, G) not negative.
    """
    rows = max(CHUNK_ELEMENTS // max(len(means), 1), 1)
    scaled = (kappa * means).t()
    return torch.cat([(chunk @ scaled).exp_() @ weights for chunk in vectors.split(rows)])
