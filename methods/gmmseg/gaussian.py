"""Diagonal Gaussians and mixtures of them: densities and moments, as pure functions.

Shapes: N points of D dimensions, C classes of K components each, J = C * K components in class-major order.
``stds`` are standard deviations, never variances.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Reduce = Literal["max", "logsumexp"]

CHUNK_ELEMENTS = 1 << 24
"""Densities held at once where no gradient needs them all: 64 MiB in float32."""


def component_log_density(points: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """Log-density in nats (N, J) of ``points`` (N, D) under Gaussians with ``means`` and ``stds`` (J, D).

    The quadratic form is linear in [x * x, x], so one matrix product of shapes (N, 2D) and (2D, J) evaluates
    it, and no (N, J, D) tensor exists in either direction of differentiation.
    """
    precisions = stds.square().reciprocal()
    linear = precisions * means
    weights = torch.cat([-0.5 * precisions, linear], dim=1)
    bias = -0.5 * (linear * means).sum(dim=1) - stds.log().sum(dim=1) - 0.5 * math.log(2 * math.pi) * means.shape[1]
    return F.linear(torch.cat([points * points, points], dim=1), weights, bias)


def mixture_log_density(log_density: Tensor, components: int, reduce: Reduce) -> Tensor:
    """Class scores (N, C) from component log-densities (N, C * K) with K = ``components``.

    ``max`` is the log-density of the best component, ``logsumexp`` that of the mixture with weights 1 / K.
    """
    by_class: Tensor = log_density.unflatten(1, (-1, components))
    if reduce == "max":
        return by_class.max(dim=2).values
    return by_class.logsumexp(dim=2) - math.log(components)


def of_class(values: Tensor, classes: Tensor, components: int) -> Tensor:
    """The K columns (N, K) of ``values`` (N, C * K) that belong to each row's class.

    ``classes`` is (N,) int64; what is above C - 1 counts as C - 1.
    """
    by_class: Tensor = values.unflatten(1, (-1, components))
    index = classes.clamp(max=by_class.shape[1] - 1).view(-1, 1, 1).expand(-1, 1, components)
    return by_class.gather(1, index).squeeze(1)


def class_log_density(points: Tensor, means: Tensor, stds: Tensor, reduce: Reduce) -> Tensor:
    """Class scores (N, C) of ``points`` (N, D) under ``means`` and ``stds`` (C, K, D), in chunks of points.

    For use without gradient: the densities of the components, K times the size of the result, are never all
    held.
    """
    classes, components, _ = means.shape
    flat_means, flat_stds = means.flatten(0, 1), stds.flatten(0, 1)
    rows = max(1, CHUNK_ELEMENTS // (classes * components))
    return torch.cat(
        [
            mixture_log_density(component_log_density(chunk, flat_means, flat_stds), components, reduce)
            for chunk in points.split(rows)
        ]
    )


def spherical_mean(first: Tensor) -> Tensor:
    """Unit vectors (..., D) in the direction of the sums ``first`` (..., D)."""
    return F.normalize(first, dim=-1)


def variance_about(centre: Tensor, mass: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Weighted mean of (x - centre)^2 per dimension, (..., D), from sums of weights, w x and w x^2.

    ``mass`` is (...), the others (..., D). Cancellation cannot make it negative.
    """
    mass = mass.unsqueeze(-1)
    return (second / mass - 2 * centre * (first / mass) + centre * centre).clamp(min=0)


def shrunk(variance: Tensor, mass: Tensor, prior: float, weight: float) -> Tensor:
    """Posterior mean of variances (..., D) that were estimated from ``mass`` (...) vectors each.

    The ``prior`` counts as ``weight`` vectors: a scaled inverse chi-squared prior of that many degrees of freedom.
    """
    share = (weight / (weight + mass)).unsqueeze(-1)
    return variance + share * (prior - variance)
