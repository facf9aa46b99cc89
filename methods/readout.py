"""What read-outs share: they are fitted to the features of a network that stays as it is, without gradient steps.

On the features of a finished run (``bench run --method gaussian --features RUN``) they tell what is owed to its
features and what to the way in which they are read. The network is passed over the training images once; of their
cells a read-out keeps sums, or a sample of each class, so memory does not grow with the data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from methods.base import Context, Method, downsample_labels
from methods.capabilities import NotTrained

CHUNK = 1 << 14
"""Cells that are compared with every class at a time."""

UNSEEN = 1e-6
"""Weight of the uniform distribution in the classes' frequencies, so that an absent class is finite."""


class ReadOut(NotTrained, Method):
    """A method that is fitted once to labelled cells of the network's dense features."""

    def labelled(self, context: Context) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (n, D) float32 and classes (n,) int64 of the labelled cells of each training image, on the CPU.

        All ranks read the same images and so fit alike.
        """
        for batch in context.progress(context.images(), f"fitting {self.name}", None):
            dense = self.network(batch.images).dense.float()
            labels = downsample_labels(batch.labels, (dense.shape[-2], dense.shape[-1]))
            known = labels < len(self.classes)
            yield dense.movedim(1, -1)[known].cpu(), labels[known].cpu()

    def log_prior(self, counts: Tensor) -> Tensor:
        """(C,) float32 logarithms of the classes' frequencies from ``counts`` (C,) of cells."""
        frequency = counts.double() / counts.sum().clamp(min=1)
        return ((1 - UNSEEN) * frequency + UNSEEN / len(counts)).log().float()


class Sample(NamedTuple):
    """Up to so many cells of each class, drawn uniformly from all of the class, in the order of the classes."""

    features: Tensor
    """(m, D) float32."""
    labels: Tensor
    """(m,) int64, ascending."""
    counts: Tensor
    """(C,) int64: how many cells of each class there were."""

    @property
    def stands_for(self) -> Tensor:
        """(C,) float32: how many cells of its class a drawn one stands for."""
        return self.counts / torch.bincount(self.labels, minlength=len(self.counts)).clamp(min=1)


def sample(cells: Iterable[tuple[Tensor, Tensor]], num_classes: int, per_class: int, seed: int) -> Sample:
    """Draw up to ``per_class`` of each class's ``cells``, features (n, D) and labels (n,), for memory of twice as many.

    Each cell draws a key, and those with the smallest stay: a uniform sample in random order, in one pass.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = torch.zeros(num_classes, dtype=torch.int64)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    size = 0
    for features, labels in cells:
        counts += torch.bincount(labels, minlength=num_classes)
        kept.append((features, labels, torch.rand(len(labels), dtype=torch.float64, generator=generator)))
        size += len(labels)
        if size > 2 * num_classes * per_class:
            kept = [_smallest(kept, per_class)]
            size = len(kept[0][1])
    if not kept:
        return Sample(torch.empty(0, 0), torch.empty(0, dtype=torch.int64), counts)
    features, labels, _ = _smallest(kept, per_class)
    return Sample(features, labels, counts)


def _smallest(kept: list[tuple[Tensor, Tensor, Tensor]], per_class: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells with the ``per_class`` smallest keys of each class, sorted by class and key."""
    features, labels, keys = (torch.cat(parts) for parts in zip(*kept))
    order = (labels + keys).argsort()
    ordered = labels[order]
    rank = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    order = order[rank < per_class]
    return features[order], labels[order], keys[order]
