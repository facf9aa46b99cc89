"""Assignment of pixels to the components of their class by entropic optimal transport (Sinkhorn-Knopp)."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import ONE_RANK, Collectives

REPLICAS = {"cuda": 256}
"""Partial results of each class, by device; else 1. Pixels that write to one place on a GPU wait for each other."""


def sinkhorn(
    log_density: Tensor,
    classes: Tensor,
    num_classes: int,
    iterations: int = 3,
    epsilon: float = 0.05,
    collectives: Collectives = ONE_RANK,
) -> Tensor:
    """Log of the transport plan (N, K) to the components of each pixel's own class, up to a constant per row.

    Its softmax over the rows gives responsibilities, its argmax a hard assignment.

    All classes are solved at once, each by itself with its pixels on all ranks: ``log_density`` (N, K) of a
    class is divided by its largest absolute value and by ``epsilon``; then, ``iterations`` times, every component's
    share of the class's pixels is made equal and every pixel's responsibilities are made to sum to one. In the log
    domain, so that no ``epsilon`` overflows. ``classes`` (N,) int64 is 0..C-1, or C for pixels without a
    class: their rows mean nothing.

    A few iterations do not reach equal shares where densities are peaked; that is intended, balance matters
    while they are flat.
    """
    segments, components = num_classes + 1, log_density.shape[1]
    replicas, targets = _targets(classes)
    by_row = targets.unsqueeze(1).expand_as(log_density)
    shape = (segments * replicas, components)

    largest = log_density.new_zeros(segments * replicas)
    largest = largest.scatter_reduce(0, targets, log_density.abs().amax(dim=1), "amax")
    largest = collectives.all_gather(largest.view(segments, replicas).amax(dim=1)).amax(dim=0)
    tiny = torch.finfo(log_density.dtype).tiny
    scores = log_density / (epsilon * largest.clamp(min=tiny))[classes].unsqueeze(1)
    for iteration in range(iterations):
        if iteration:
            scores = scores - scores.logsumexp(dim=1, keepdim=True)
        peak = scores.new_full(shape, -torch.inf).scatter_reduce(0, by_row, scores, "amax")
        peak = peak.view(segments, replicas, components).amax(dim=1)
        share = scores.new_zeros(shape).index_add_(0, targets, (scores - peak[classes]).exp())
        share = share.view(segments, replicas, components).sum(dim=1)
        everywhere = collectives.all_gather(peak + share.log()).logsumexp(dim=0)
        scores = scores - everywhere[classes]
    return scores


def _targets(classes: Tensor) -> tuple[int, Tensor]:
    """Partial results per class, and the one (N,) to which each pixel of ``classes`` (N,) contributes."""
    replicas = REPLICAS.get(classes.device.type, 1)
    if replicas == 1:
        return 1, classes
    return replicas, classes * replicas + torch.arange(len(classes), device=classes.device) % replicas


def one_hot(log_plan: Tensor) -> Tensor:
    """Hard responsibilities (N, K) from ``log_plan`` (N, K); ties go to the lowest component."""
    best = log_plan.argmax(dim=1, keepdim=True)
    return torch.zeros_like(log_plan).scatter_(1, best, 1)
