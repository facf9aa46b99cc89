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

from methods.base import ONE_RANK, Collectives, Context, Method, downsample_labels
from methods.capabilities import NotTrained

CHUNK = 1 << 14
"""Cells that are compared with every class at a time."""

UNSEEN = 1e-6
"""Weight of the uniform distribution in the classes' frequencies, so that an absent class is finite."""


class ReadOut(NotTrained, Method):
    """A method that is fitted once to labelled cells of the network's dense features."""

    def labelled(self, context: Context) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (n, D) float32 and classes (n,) int64 of the labelled cells of a rank's images, each on the CPU."""
        for _, batch in context.progress(context.share(), f"fitting {self.name}", None):
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


def sample(
    cells: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    per_class: int,
    seed: int,
    collectives: Collectives = ONE_RANK,
) -> Sample:
    """Draw up to ``per_class`` of each class's ``cells``, features (n, D) and labels (n,), for memory of twice as many.

    Each cell draws a key, and those with the smallest stay: a uniform sample in random order, in one pass. Ranks take
    turns, image by image, at the keys that one would draw, and all have the sample that one would have.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = torch.zeros(num_classes, dtype=torch.int64)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    size = 0
    for features, labels, number in _in_turn(cells, collectives):
        keys = [torch.rand(n, dtype=torch.float64, generator=generator) for n in number]
        counts += torch.bincount(labels, minlength=num_classes)
        kept.append((features, labels, keys[collectives.rank]))
        size += len(labels)
        if size > 2 * num_classes * per_class:
            kept = [_smallest(kept, per_class)]
            size = len(kept[0][1])
    if not kept:
        return Sample(torch.empty(0, 0), torch.empty(0, dtype=torch.int64), counts)
    everywhere = [collectives.gather_rows(part) for part in _smallest(kept, per_class)]
    features, labels, _ = _smallest([(everywhere[0], everywhere[1], everywhere[2])], per_class)
    return Sample(features, labels, collectives.all_reduce_sum(counts))


def _in_turn(
    cells: Iterable[tuple[Tensor, Tensor]], collectives: Collectives
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """The ``cells`` of each image, with how many cells the image of each rank has; none where another has one more."""
    images = iter(cells)
    features, labels = torch.empty(0, 0), torch.empty(0, dtype=torch.int64)
    while True:
        image = next(images, None)
        features, labels = (features[:0], labels[:0]) if image is None else image
        told = collectives.all_gather(torch.tensor([-1 if image is None else len(labels), features.shape[1]]))
        most, channels = told.amax(dim=0).tolist()
        if most < 0:
            return
        # A rank that never had an image learns here how many channels there are.
        yield features if len(features) else torch.empty(0, channels), labels, told[:, 0].clamp(min=0).tolist()


def _smallest(kept: list[tuple[Tensor, Tensor, Tensor]], per_class: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells with the ``per_class`` smallest keys of each class, sorted by class and key."""
    features, labels, keys = (torch.cat(parts) for parts in zip(*kept))
    order = (labels + keys).argsort()
    ordered = labels[order]
    rank = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    order = order[rank < per_class]
    return features[order], labels[order], keys[order]
