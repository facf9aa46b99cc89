"""Assignment of pixels to the components of their class by entropic optimal transport (Sinkhorn-Knopp)."""

from __future__ import annotations

import torch
from torch import Tensor


def sinkhorn(
    log_density: Tensor, classes: Tensor, num_classes: int, iterations: int = 3, epsilon: float = 0.05
) -> Tensor:
    """Log of the transport plan (N, K) to the components of each pixel's own class, up to a constant per row.

    Its softmax over the rows gives responsibilities, its argmax a hard assignment.

    All classes are solved at once, each as a problem of its own: ``log_density`` (N, K) of a class is divided
    by its largest absolute value and by ``epsilon``; then, ``iterations`` times, every component's share of
    the class's pixels is made equal and every pixel's responsibilities are made to sum to one. In the log
    domain, so that no ``epsilon`` overflows. ``classes`` (N,) int64 is 0..C-1, or C for pixels without a
    class, whose rows mean nothing.

    A few iterations do not reach equal shares where densities are peaked; that is intended, balance matters
    while they are flat.
    """
    segments = num_classes + 1
    by_row = classes.unsqueeze(1).expand_as(log_density)
    shape = (segments, log_density.shape[1])

    largest = log_density.new_zeros(segments)
    largest = largest.scatter_reduce(0, classes, log_density.abs().amax(dim=1), "amax")
    tiny = torch.finfo(log_density.dtype).tiny
    scores = log_density / (epsilon * largest.clamp(min=tiny))[classes].unsqueeze(1)
    for iteration in range(iterations):
        if iteration:
            scores = scores - scores.logsumexp(dim=1, keepdim=True)
        peak = scores.new_full(shape, -torch.inf).scatter_reduce(0, by_row, scores, "amax")
        share = torch.zeros_like(peak).index_add_(0, classes, (scores - peak[classes]).exp())
        scores = scores - (peak + share.log())[classes]
    return scores


def one_hot(log_plan: Tensor) -> Tensor:
    """Hard responsibilities (N, K) from ``log_plan`` (N, K); ties go to the lowest component."""
    best = log_plan.argmax(dim=1, keepdim=True)
    return torch.zeros_like(log_plan).scatter_(1, best, 1)
