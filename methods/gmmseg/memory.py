"""The memory that the Gaussians are estimated from: a ring of recent vectors per component, and their sums.

The ring is kept only to know what a new vector displaces; the sums are all that an M-step reads, so its cost
does not depend on the memory's length. Shapes: G groups of pixels, J components, M slots each, D dimensions,
at most P vectors pushed into a component at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Collectives


def evenly_spaced(counts: Tensor, limit: int) -> Tensor:
    """Which of ``counts`` (G,) items to keep: ``limit`` positions (G, limit) from the first item to the last.

    Equal to ``torch.linspace(0, count - 1, limit).long()`` wherever count > limit, on every device, for all
    groups at once; 0, 1, 2, ... where all items are kept, of which only the first ``count`` are valid.
    """
    slots = torch.arange(limit, device=counts.device)
    last = (counts.unsqueeze(1) - 1).float()
    step = last / max(limit - 1, 1)
    # linspace works from both ends; the second half rounds the product and the difference together.
    from_end = torch.addcmul(last, step, (limit - 1 - slots).float(), value=-1)
    spread = torch.where(slots < max(limit // 2, 1), step * slots, from_end).long()
    return torch.where(counts.unsqueeze(1) > limit, spread, slots)


def select(
    values: Tensor, groups: Tensor, num_groups: int, limit: int, collectives: Collectives
) -> tuple[Tensor, Tensor]:
    """At most ``limit`` rows of each group, evenly spaced over the pixels of all ranks in rank order.

    ``values`` is (N, V); ``groups`` (N,) int64 is 0..G-1, or G for pixels to leave out. Returns rows (G,
    limit, V), zero where a group has fewer, and how many of them are valid, (G,); both are the same on every
    rank. Only counts and the selected rows travel: each rank fills in those that it owns.
    """
    order = groups.argsort(stable=True)
    first = torch.searchsorted(groups[order], torch.arange(num_groups + 1, device=groups.device))
    counts = first.diff()
    everywhere = collectives.all_gather(counts)
    total = everywhere.sum(dim=0)
    kept = total.clamp(max=limit)

    local = evenly_spaced(total, limit) - everywhere[: collectives.rank].sum(dim=0).unsqueeze(1)
    slots = torch.arange(limit, device=groups.device)
    mine = (slots < kept.unsqueeze(1)) & (local >= 0) & (local < counts.unsqueeze(1))
    rows = values[order[torch.where(mine, first[:-1].unsqueeze(1) + local, 0)]]
    return collectives.all_reduce_sum(torch.where(mine.unsqueeze(2), rows, 0)), kept


class Memory(nn.Module):
    """One ring of weighted vectors per component, with the sums of their weights, of w x, and of w x^2.

    It has no buffers, and needs none, until ``allocate``: a model that only predicts carries no memory.
    """

    STATE = ("ring", "weights", "pointers", "mass", "first", "second")
    ring: Tensor
    """(J, M, D) vectors."""
    weights: Tensor
    """(J, M) their weights; 0 marks a slot that was never filled."""
    pointers: Tensor
    """(J,) int64: the slot written next."""
    mass: Tensor
    """(J,) sum of weights."""
    first: Tensor
    """(J, D) sum of w x."""
    second: Tensor
    """(J, D) sum of w x^2."""

    def __init__(self) -> None:
        super().__init__()
        for name in self.STATE:
            self.register_buffer(name, None)

    def allocate(self, components: int, capacity: int, dim: int, device: torch.device) -> None:
        """Make an empty memory of ``capacity`` slots for each of ``components``."""
        self.ring = torch.zeros(components, capacity, dim, device=device)
        self.weights = torch.zeros(components, capacity, device=device)
        self.pointers = torch.zeros(components, dtype=torch.int64, device=device)
        self.mass = torch.zeros(components, device=device)
        self.first = torch.zeros(components, dim, device=device)
        self.second = torch.zeros(components, dim, device=device)

    def fill_with_noise(self, seed: int) -> None:
        """Fill every slot with a random unit vector, the same on every rank."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.ring.shape, generator=generator)
        self.ring.copy_(F.normalize(noise, dim=2))
        self.weights.fill_(1)
        self.mass.copy_(self.weights.sum(dim=1))
        self.first.copy_(self.ring.sum(dim=1))
        self.second.copy_(self.ring.square().sum(dim=1))

    def push(self, vectors: Tensor, weights: Tensor, counts: Tensor) -> None:
        """Write the first ``counts`` (J,) of ``vectors`` (J, P, D) with ``weights`` (J, P) over the oldest
        slots.

        P is at most the capacity. Sums change by what enters less what leaves: after as many pushes as a long
        training has, float32 rounding is still orders of magnitude below the variance ridge.
        """
        components, capacity, dim = self.ring.shape
        positions = torch.arange(vectors.shape[1], device=vectors.device)
        valid = positions < counts.unsqueeze(1)
        slots = (self.pointers.unsqueeze(1) + positions) % capacity
        slots += capacity * torch.arange(components, device=slots.device).unsqueeze(1)
        ring, ring_weights = self.ring.view(-1, dim), self.weights.view(-1)

        old, old_weights = ring[slots], ring_weights[slots]
        new = torch.where(valid.unsqueeze(2), vectors, old)
        new_weights = torch.where(valid, weights, old_weights)
        entering, leaving = new_weights.unsqueeze(2) * new, old_weights.unsqueeze(2) * old
        self.mass += (new_weights - old_weights).sum(dim=1)
        self.first += (entering - leaving).sum(dim=1)
        self.second += (entering * new - leaving * old).sum(dim=1)
        ring.index_copy_(0, slots.flatten(), new.flatten(0, 1))
        ring_weights.index_copy_(0, slots.flatten(), new_weights.flatten())
        self.pointers.copy_((self.pointers + counts) % capacity)
