"""The memory bank of training: prototypes of the last few batches, as further positives and negatives.

The released code means to keep such a queue but never updates it: what it trains with are the random vectors, all of
class 0, that the queue starts from. Both are available here, and no memory at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PrototypeMemory(nn.Module):
    """First in, first out: ``batches`` slots of at most ``rows`` prototypes of ``dim`` dimensions."""

    STATE = ("features", "labels", "valid", "next_slot")
    features: Tensor
    """(batches, rows, D) unit vectors, without gradient."""
    labels: Tensor
    """(batches, rows) int64."""
    valid: Tensor
    """(batches, rows) bool: a batch may have fewer prototypes than rows."""
    next_slot: Tensor
    """Scalar int64: the slot written next, the oldest."""

    def __init__(self, batches: int, rows: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(batches, rows, dim))
        self.register_buffer("labels", torch.zeros(batches, rows, dtype=torch.int64))
        self.register_buffer("valid", torch.zeros(batches, rows, dtype=torch.bool))
        self.register_buffer("next_slot", torch.zeros((), dtype=torch.int64))

    def fill_with_noise(self, generator: torch.Generator) -> None:
        """Fill every row with a random unit vector of class 0, as the released code starts and stays."""
        noise = torch.randn(self.features.shape, generator=generator)
        self.features.copy_(F.normalize(noise, dim=2))
        self.labels.zero_()
        self.valid.fill_(True)

    def contents(self) -> tuple[Tensor, Tensor]:
        """The remembered prototypes (P, D) and their labels (P,)."""
        rows = self.valid.flatten().nonzero().squeeze(1)
        return self.features.flatten(0, 1).index_select(0, rows), self.labels.flatten().index_select(0, rows)

    def push(self, prototypes: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        """Replace the oldest batch by ``prototypes`` (S, D) with ``labels`` (S,).

        If there are more than ``rows``, random ones stay. ``generator`` is on the CPU.
        """
        rows = self.features.shape[1]
        chosen = torch.randperm(len(prototypes), generator=generator)[:rows].to(prototypes.device)
        missing = rows - len(chosen)
        features = F.pad(prototypes[chosen].to(self.features.dtype), (0, 0, 0, missing))
        classes = F.pad(labels[chosen], (0, missing), value=-1)
        slot = self.next_slot.unsqueeze(0)  # an index of one entry: the host need not know which
        self.features.index_copy_(0, slot, features.unsqueeze(0))
        self.labels.index_copy_(0, slot, classes.clamp(min=0).unsqueeze(0))
        self.valid.index_copy_(0, slot, (classes >= 0).unsqueeze(0))
        self.next_slot.copy_((self.next_slot + 1) % self.features.shape[0])
