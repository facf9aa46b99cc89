"""Segment sorting: the likelihood of each pixel under the right segments' von Mises-Fisher densities.

With l_c(i) = logsumexp over the segments s of class c of kappa * mu_s . v_i, without the pixel's own segment, the
paper's neighbourhood loss is the cross-entropy of the class scores l(i) with the pixel's label: the log of the sum
over all segments less the log of the sum over those of the pixel's class. Both sums, and the gradients, are taken
chunk by chunk in the forward pass, since a mean's gradient does not wait for what follows it; so nothing of size
(N, S) outlives its chunk.

Shapes: N pixels, S segments (in the batch and in the memory), D dimensions. Similarities are cosines, so
exp(kappa * cosine) needs no maximum subtracted while kappa stays below ``MAX_KAPPA``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.base import UNLABELLED

MAX_KAPPA = 40.0
"""Largest concentration for which exp(+-kappa) and sums of it are normal float32 numbers."""
CHUNK_ELEMENTS = 1 << 21
"""Entries of the (pixels, segments) matrix that exist at a time: what a core's cache holds."""
DEVICE_CHUNK_ELEMENTS = 1 << 27
"""The same on other devices, where launching the operations of small chunks takes longer than they do: 512 MiB."""


def neighbourhood_loss(
    pixels: Tensor,
    labels: Tensor,
    own: Tensor,
    prototypes: Tensor,
    prototype_labels: Tensor,
    kappa: float,
    leave_one_out: bool = True,
) -> Tensor:
    """vMF-N: mean over pixels of -log(A / (A + B)), A over the segments of the pixel's class and B over the others.

    ``pixels`` (N, D) and ``prototypes`` (S, D) are unit vectors with gradient, ``labels`` (N,) and
    ``prototype_labels`` (S,) their classes, ``own`` (N,) each pixel's segment, which is of its class. With
    ``leave_one_out`` the own segment counts in neither A nor B, unless its class has no other. N must not be 0.
    """
    loss: Tensor = _Neighbourhood.apply(pixels, prototypes, labels, own, prototype_labels, float(kappa), leave_one_out)
    return loss


def own_segment_loss(pixels: Tensor, own: Tensor, prototypes: Tensor, kappa: float) -> Tensor:
    """Plain vMF: mean over pixels of -log of the own segment's share among all segments, for unlabelled training.

    ``pixels`` (N, D), ``own`` (N,) and ``prototypes`` (S, D) as in ``neighbourhood_loss``.
    """
    loss: Tensor = _OwnSegment.apply(pixels, prototypes, own, float(kappa))
    return loss


def _rows_at_once(prototypes: Tensor) -> int:
    """Pixels of a chunk."""
    elements = CHUNK_ELEMENTS if prototypes.device.type == "cpu" else DEVICE_CHUNK_ELEMENTS
    return max(elements // max(len(prototypes), 1), 1)


class _Neighbourhood(torch.autograd.Function):
    """``neighbourhood_loss``. Pixels and prototypes are sorted by class, so that positives are a slice."""

    @staticmethod
    def forward(
        ctx: Any,
        pixels: Tensor,
        prototypes: Tensor,
        labels: Tensor,
        own: Tensor,
        prototype_labels: Tensor,
        kappa: float,
        leave_one_out: bool,
    ) -> Tensor:
        """Mean loss; gradients are computed on the way if anything needs them."""
        needs_gradient = any(ctx.needs_input_grad)
        pixel_order, prototype_order = labels.argsort(), prototype_labels.argsort()
        v, mu = pixels.detach()[pixel_order], prototypes.detach()[prototype_order]
        position = torch.empty_like(prototype_order)
        position[prototype_order] = torch.arange(len(mu), device=mu.device)
        own = position[own[pixel_order]].unsqueeze(1)
        bounds = torch.arange(UNLABELLED + 1, device=mu.device)  # to ask which are used would be one more wait
        sorted_labels = labels[pixel_order], prototype_labels[prototype_order]
        ends = [torch.searchsorted(values, bounds) for values in sorted_labels]
        pixel_counts, prototype_counts = torch.stack(ends).diff(dim=1).tolist()

        total = v.new_zeros((), dtype=torch.float64)
        sums, right_sums = v.new_empty(len(v), 1), v.new_empty(len(v), 1)
        grad_v, grad_mu = (torch.empty_like(v), torch.zeros_like(mu)) if needs_gradient else (None, None)
        pull = torch.empty_like(v) if needs_gradient else None
        rows = _rows_at_once(mu)
        scaled = (kappa * mu).t()
        end = high = 0
        for pixel_count, prototype_count in zip(pixel_counts, prototype_counts):
            begin, end = end, end + pixel_count
            low, high = high, high + prototype_count
            for first in range(begin, end, rows):
                chunk = slice(first, min(first + rows, end))
                x = v[chunk]
                every = (x @ scaled).exp_()
                if leave_one_out and prototype_count > 1:
                    every.scatter_(1, own[chunk], 0)
                right = every[:, low:high]
                torch.sum(every, dim=1, keepdim=True, out=sums[chunk])
                torch.sum(right, dim=1, keepdim=True, out=right_sums[chunk])
                total += (sums[chunk].log() - right_sums[chunk].log()).sum()
                if grad_v is not None and pull is not None and grad_mu is not None:
                    torch.mm(every, mu, out=grad_v[chunk])
                    torch.mm(right, mu[low:high], out=pull[chunk])
                    grad_mu.addmm_(every.t(), x / sums[chunk])
                    grad_mu[low:high].addmm_(right.t(), x / right_sums[chunk], alpha=-1)
        if grad_v is not None and pull is not None and grad_mu is not None:
            grad_v.div_(sums).sub_(pull.div_(right_sums))
            ctx.save_for_backward(
                torch.empty_like(grad_v).index_copy_(0, pixel_order, grad_v).mul_(kappa / len(v)),
                torch.empty_like(grad_mu).index_copy_(0, prototype_order, grad_mu).mul_(kappa / len(v)),
            )
        return (total / len(v)).to(pixels.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the saved gradients."""
        grad_pixels, grad_prototypes = ctx.saved_tensors
        return grads[0] * grad_pixels, grads[0] * grad_prototypes, None, None, None, None, None


class _OwnSegment(torch.autograd.Function):
    """``own_segment_loss``: only the sum over all segments needs the (N, S) matrix."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, prototypes: Tensor, own: Tensor, kappa: float) -> Tensor:
        """Mean loss; gradients are computed on the way if anything needs them."""
        needs_gradient = any(ctx.needs_input_grad)
        v, mu = pixels.detach(), prototypes.detach()
        total = v.new_zeros((), dtype=torch.float64)
        grad_v, grad_mu = (torch.empty_like(v), torch.zeros_like(mu)) if needs_gradient else (None, None)
        rows = _rows_at_once(mu)
        scaled = (kappa * mu).t()
        for first in range(0, len(v), rows):
            chunk = slice(first, first + rows)
            x, centre = v[chunk], mu[own[chunk]]
            every = (x @ scaled).exp_()
            sums = every.sum(dim=1, keepdim=True)
            total += (sums.squeeze(1).log() - kappa * (x * centre).sum(dim=1)).sum()
            if grad_v is not None and grad_mu is not None:
                grad_v[chunk] = (every @ mu).div_(sums).sub_(centre)
                grad_mu.addmm_(every.t(), x / sums)
        if grad_v is not None and grad_mu is not None:
            grad_mu.index_add_(0, own, v, alpha=-1)
            ctx.save_for_backward(grad_v.mul_(kappa / len(v)), grad_mu.mul_(kappa / len(v)))
        return (total / len(v)).to(pixels.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the saved gradients."""
        grad_pixels, grad_prototypes = ctx.saved_tensors
        return grads[0] * grad_pixels, grads[0] * grad_prototypes, None, None
