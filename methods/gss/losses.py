"""What the prior is trained on: cross-entropy over very many tokens, and which tokens a label map gives.

Void means without a class here: ``IGNORE`` and ``UNLABELLED`` pixels alike, since neither can be encoded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNK_ELEMENTS = 1 << 24
"""Token logits held at once: 64 MiB in float32."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum over rows of the cross-entropy of ``rows @ weight.T + bias``; see ``linear_cross_entropy``."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype, step: int
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        accumulate = torch.promote_types(weight.dtype, torch.float32)
        total = torch.zeros((), dtype=accumulate, device=rows.device)
        d_rows = torch.empty_like(rows) if wanted else None
        d_weight, d_bias = (torch.zeros_like(p, dtype=accumulate) if wanted else None for p in (weight, bias))
        kernel, offset = weight.to(dtype), bias.to(dtype)
        for first in range(0, len(rows), step):
            part, target = rows[first : first + step].to(dtype), targets[first : first + step, None]
            scores = F.linear(part, kernel, offset).to(accumulate)
            normaliser = scores.logsumexp(dim=1, keepdim=True)
            total += (normaliser - scores.gather(1, target)).sum()
            if d_rows is None or d_weight is None or d_bias is None:
                continue
            # d/dscores of the sum is softmax - one-hot, in [-1, 1]: safe in half precision, unlike that of the mean.
            surprise = scores.sub_(normaliser).exp_()
            surprise.scatter_add_(1, target, surprise.new_full((1, 1), -1).expand_as(target))
            d_bias += surprise.sum(dim=0)
            surprise = surprise.to(dtype)
            d_rows[first : first + step] = surprise @ kernel
            d_weight += surprise.t() @ part
        if d_rows is not None and d_weight is not None and d_bias is not None:
            ctx.save_for_backward(d_rows, d_weight.to(weight.dtype), d_bias.to(bias.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        d_rows, d_weight, d_bias = ctx.saved_tensors
        scaled = (d * gradient.to(d.dtype) for d in (d_rows, d_weight, d_bias))
        return (*scaled, None, None, None)


def linear_cross_entropy(
    rows: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, chunk_elements: int = CHUNK_ELEMENTS
) -> Tensor:
    """Sum of ``cross_entropy(linear(rows, weight, bias), targets)`` in float32, without ever holding all logits.

    The last layer and the loss go over chunks of rows together, and the gradient is taken on the way: nothing is
    computed twice, and beyond the gradients of the arguments only one chunk of at most ``chunk_elements`` logits is
    held (and copies of it), where logits, their softmax and their gradient would each be (N, V). Matrix products run
    in the autocast's precision. Differentiable once.

    Args:
        rows: (N, D) input of the last layer.
        weight: (V, D).
        bias: (V,).
        targets: (N,) int64 in 0..V-1.
        chunk_elements: logits held at once.
    """
    kind = rows.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype
    step = max(1, chunk_elements // len(weight))
    with torch.autocast(kind, enabled=False):
        total: Tensor = _LinearCrossEntropy.apply(rows, weight, bias, targets, dtype, step)
    return total


def void_share(void: Tensor, stride: int) -> Tensor:
    """Share (B, ceil(H/f), ceil(W/f)) of void pixels in each cell of f = ``stride`` pixels of ``void`` (B, H, W).

    Cells that reach over the image's edge count their pixels inside it only.
    """
    return F.avg_pool2d(void.float()[:, None], stride, ceil_mode=True)[:, 0]


def fill_with_classes(labels: Tensor, void: Tensor, classes: Tensor, stride: int) -> Tensor:
    """``labels`` (B, H, W) with ``classes`` (B, h, w), cells of ``stride`` pixels, in place of ``void`` ones."""
    height, width = labels.shape[-2:]
    enlarged = classes.repeat_interleave(stride, dim=1).repeat_interleave(stride, dim=2)
    return torch.where(void, enlarged[:, :height, :width], labels)


def gaussian_nll(mean: Tensor, variance: Tensor, target: Tensor) -> Tensor:
    """-log N(target; mean, diag(variance)) in nats up to its constant, summed over channels: (B, C, h, w) to (B, h, w).

    Computed in float32.
    """
    mean, variance = mean.float(), variance.float()
    return 0.5 * ((target - mean).square() / variance + variance.log()).sum(dim=1)
