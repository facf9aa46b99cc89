"""AGMM's loss terms as pure functions, with logarithms of probabilities in place of probabilities.

log r = -d^2 and log p come as they are; log(1 - r) and log(1 - p) are evaluated so that they are exact for r and
p next to 1. ``eps`` is added to probabilities inside logarithms as the released code does, in the log domain.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from methods.agmm.mixture import Distance, Pairs, Points, squared_distances
from methods.base import ONE_RANK, Collectives, upsample

SMALLEST_ENERGY = 1e-12
"""log(1 - exp(-e)) is taken at no smaller e: a pixel that lies on another class's centre costs 28 nats, not
infinitely many, and has no direction in which to leave."""
CHUNK_ELEMENTS = 1 << 22
"""Energies of labelled pixels held at once: 16 MiB in float32."""
DENSE_SHARE = 1 / 16
"""Share of labelled pixels from which whole maps cost a GPU less than pixels one by one."""


class _LogComplement(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_p: Tensor) -> Tensor:
        top = log_p.argmax(dim=1, keepdim=True)
        rest = log_p.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
        result = log_p.exp().neg_().log1p_().scatter_(1, top, rest)
        ctx.save_for_backward(log_p, result, top, rest)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        log_p, result, top, rest = ctx.saved_tensors
        to_top = gradient.gather(1, top)
        own: Tensor = (log_p - result).exp_().mul_(gradient).neg_().scatter_(1, top, 0)
        through_rest = (log_p - rest).scatter_(1, top, -torch.inf).exp_().mul_(to_top)
        return own.add_(through_rest)


def log_complement(log_p: Tensor) -> Tensor:
    """log(1 - p) (B, C, ...) from log p (B, C, ...), normalised over C >= 2 classes.

    For the most likely class, the only one that can come near 1, it is the logsumexp of all others, in both
    directions of differentiation.
    """
    result: Tensor = _LogComplement.apply(log_p)
    return result


def log1mexp(energy: Tensor) -> Tensor:
    """log(1 - exp(-e)) for e >= 0, with gradient zero below ``SMALLEST_ENERGY``."""
    return (-torch.expm1(-energy.clamp(min=SMALLEST_ENERGY))).log()


def log_plus(log_value: Tensor, eps: float) -> Tensor:
    """log(v + eps) from log v."""
    if eps == 0:
        return log_value
    return torch.logaddexp(log_value, log_value.new_tensor(math.log(eps)))


def cross_entropy(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean over labelled pixels of -log p of the label: log p (B, C, H, W), labels (B, H, W)."""
    labelled = labels < log_p.shape[1]
    total = F.nll_loss(log_p, torch.where(labelled, labels, -100), ignore_index=-100, reduction="sum")
    return total / labelled.sum().clamp(min=1)


def absent_classes(log_q: Tensor, tags: Tensor, domain: Tensor, eps: float) -> Tensor:
    """Mean over ``domain`` (B, H, W) bool of -sum_k log(1 - p_k) over the classes that no tag names.

    ``log_q`` (B, C, H, W) is log(1 - p), ``tags`` (B, C) bool. An image without any tag is one without
    annotation, not one without classes: it has no such term.
    """
    absent = (~tags & tags.any(dim=1, keepdim=True)).to(log_q.dtype)
    weights = domain.flatten(1).to(log_q.dtype).unsqueeze(2)
    sums = torch.bmm(log_plus(log_q, eps).flatten(2), weights).squeeze(2)
    return -(sums * absent).sum() / domain.sum().clamp(min=1)


def self_training(
    log_p: Tensor,
    log_q: Tensor,
    affinity: Tensor,
    pairs: Pairs,
    domain: Tensor,
    eps: float,
    detach: Literal["none", "r", "p"],
) -> Tensor:
    """Mean over ``domain`` of the binary cross-entropy that prediction and affinity have for each other.

    Per pixel, half of -r_k log p_k - (1 - r_k) log(1 - p_k), averaged over the classes labelled in the image.
    ``log_p``, ``log_q`` = log(1 - p) and ``affinity`` r are (P, H, W); ``domain`` (B, H, W) bool. Pixels of an
    image without labelled class count as zero. ``detach`` names the side that gets no gradient.
    """
    if detach == "r":
        affinity = affinity.detach()
    elif detach == "p":
        log_p, log_q = log_p.detach(), log_q.detach()
    log_p, log_q = log_plus(log_p, eps), log_plus(log_q, eps)
    agreement = torch.addcmul(log_q, affinity, log_p - log_q)
    inside = domain.to(log_p.dtype).index_select(0, pairs.image)
    sums = (agreement * inside).flatten(1).sum(dim=1)
    return -(sums / _twice_the_classes(pairs, sums.dtype)[pairs.image]).sum() / domain.sum().clamp(min=1)


def _twice_the_classes(pairs: Pairs, dtype: torch.dtype) -> Tensor:
    """2 * sum_k a_k (B,), at least 2."""
    return 2 * pairs.present.sum(dim=1).clamp(min=1).to(dtype)


def mixture_supervision(energy: Tensor, points: Points, pairs: Pairs, eps: float) -> Tensor:
    """Mean over labelled pixels of the same binary cross-entropy, between one-hot label and affinity.

    ``energy`` (P, N) is -log r of the cells. A pixel's r is the bilinear mixture of the r of four cells; its
    logarithm and that of 1 - r are taken by logsumexp over the four, so that no r is too small to be pulled up.
    """
    slots = max(pairs.slots, 1)
    cells = energy.shape[1]
    index = torch.arange(len(pairs.image), device=energy.device)
    pair_of_slot = pairs.to_slots(index)
    label_of_slot = pairs.to_slots(pairs.label + 1) - 1  # -1 where the image has fewer pairs
    divisor = _twice_the_classes(pairs, energy.dtype)
    flat = energy.flatten()

    def part(flat: Tensor, image: Tensor, label: Tensor, four: Tensor, weights: Tensor) -> Tensor:
        where = pair_of_slot[image].unsqueeze(2) * cells + four.unsqueeze(1)
        own_energy = flat.index_select(0, where.flatten()).view(where.shape)
        log_weights = weights.log().unsqueeze(1)
        log_r = log_plus((log_weights - own_energy).logsumexp(dim=2), eps)
        log_1mr = log_plus((log_weights + log1mexp(own_energy)).logsumexp(dim=2), eps)
        slot_label = label_of_slot[image]
        surprise = -torch.where(slot_label == label.unsqueeze(1), log_r, log_1mr)
        return (torch.where(slot_label >= 0, surprise, 0).sum(dim=1) / divisor[image]).sum()

    total = flat.sum() * 0
    step = max(1, CHUNK_ELEMENTS // (4 * slots))
    count = len(points.image)
    for start in range(0, count, step):
        chunk = [tensor[start : start + step] for tensor in points]
        # many labelled pixels: recompute a chunk in the backward pass rather than keep all of them
        value = part(flat, *chunk) if count <= step else checkpoint(part, flat, *chunk, use_reentrant=False)
        total = total + value
    return total / max(count, 1)


def mixture_supervision_of_maps(energy: Tensor, labels: Tensor, points: Points, pairs: Pairs, eps: float) -> Tensor:
    """``mixture_supervision`` by whole maps, from ``energy`` (P, h, w) and the ``labels`` (B, H, W) of the points.

    The 1 - r of a pixel's other classes, never too small for float32, are enlarged as maps, which needs a pass over
    memory where gathering every class's four cells needs dozens. Only the r of the pixel's class is gathered.
    """
    size = (labels.shape[1], labels.shape[2])
    complement = -torch.expm1(-energy.clamp(min=SMALLEST_ENERGY))
    log_1mr = log_plus(upsample(complement.unsqueeze(1), size).squeeze(1).log(), eps)
    own = labels.index_select(0, pairs.image)
    other = (own < pairs.present.shape[1]) & (own != pairs.label.view(-1, 1, 1))
    total = torch.where(other, log_1mr, 0).flatten(1).sum(dim=1) / _twice_the_classes(pairs, energy.dtype)[pairs.image]

    pair = pairs.to_classes(torch.arange(len(pairs.image), device=energy.device))[points.image, points.label]
    where = pair.unsqueeze(1) * energy[0].numel() + points.cells
    four = energy.flatten().index_select(0, where.flatten()).view(where.shape)
    log_r = log_plus((points.weights.log() - four).logsumexp(dim=1), eps)
    log_r = log_r / _twice_the_classes(pairs, energy.dtype)[points.image]
    return -(total.sum() + log_r.sum()) / len(points.image)


def supervise_mixture(energy: Tensor, labels: Tensor, points: Points, pairs: Pairs, eps: float) -> Tensor:
    """``mixture_supervision`` of ``energy`` (P, h, w) at the ``labels`` (B, H, W), in the form that costs least.

    Maps suit GPUs, which memory and the number of operations bound, and labels that are not sparse. The CPU keeps
    to points, in which its caches hold a chunk, and results their bits.
    """
    if energy.is_cuda and len(points.image) >= DENSE_SHARE * labels.numel():
        return mixture_supervision_of_maps(energy, labels, points, pairs, eps)
    return mixture_supervision(energy.flatten(1), points, pairs, eps)


def class_vectors(
    centres: Tensor, pairs: Pairs, reduce: Literal["sum", "mean"], collectives: Collectives = ONE_RANK
) -> Tensor:
    """Vectors (V, D) of the V classes labelled anywhere in all ranks' batch, from this one's pairs' centres (P, D)."""
    count = collectives.all_reduce_sum(pairs.present.sum(dim=0))
    vectors = centres.new_zeros(count.shape[0], centres.shape[1]).index_add(0, pairs.label, centres)
    vectors = collectives.all_reduce_sum(vectors)
    if reduce == "mean":
        vectors = vectors / count.clamp(min=1).unsqueeze(1)
    return vectors[count > 0]


def separation(vectors: Tensor, distance: Distance) -> Tensor:
    """Mean over unordered pairs of class vectors (V, D) of exp(-d^2); 0 for fewer than two.

    ``distance="diag"`` has no variance here and counts as ``l2``.
    """
    count = vectors.shape[0]
    if count < 2:
        return vectors.sum() * 0
    metric: Distance = "l1mean" if distance == "l1mean" else "l2"
    closeness = (-squared_distances(vectors.unsqueeze(0), vectors.unsqueeze(0), metric)).exp()[0]
    first, second = torch.triu_indices(count, count, offset=1, device=vectors.device)
    return closeness[first, second].mean()
