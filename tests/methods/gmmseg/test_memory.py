from collections import deque

import pytest
import torch

from methods.base import Collectives
from methods.gmmseg.memory import Memory, evenly_spaced, select


def test_positions_are_those_of_linspace():
    counts = torch.cat([torch.arange(21, 3000), torch.tensor([32768, 73728, 589824, 2515640])])
    found = evenly_spaced(counts, 20)
    for count, positions in zip(counts.tolist(), found, strict=True):
        assert torch.equal(positions, torch.linspace(0, count - 1, 20).long())


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_positions_for_other_limits(limit):
    found = evenly_spaced(torch.arange(limit + 1, 100), limit)
    for count, positions in zip(range(limit + 1, 100), found, strict=True):
        assert torch.equal(positions, torch.linspace(0, count - 1, limit).long())


def test_groups_that_fit_are_kept_whole():
    assert torch.equal(evenly_spaced(torch.tensor([0, 3, 4]), 4), torch.arange(4).expand(3, 4))


def brute_force(values, groups, num_groups, limit):
    kept = []
    for group in range(num_groups):
        rows = values[groups == group]
        if len(rows) > limit:
            rows = rows[torch.linspace(0, len(rows) - 1, limit).long()]
        kept.append(rows)
    return kept


def test_selection_agrees_with_a_loop_over_groups():
    torch.manual_seed(0)
    values, groups = torch.randn(700, 3), torch.randint(8, (700,)).clamp(max=7)
    groups[groups == 3] = 7
    groups[:5] = 3
    rows, counts = select(values, groups, 7, 20, Collectives())
    for group, expected in enumerate(brute_force(values, groups, 7, 20)):
        assert counts[group] == len(expected)
        assert torch.equal(rows[group, : len(expected)], expected)
        assert not rows[group, len(expected) :].any()


def test_selection_of_nothing():
    rows, counts = select(torch.randn(9, 3), torch.full((9,), 4), 4, 20, Collectives())
    assert not rows.any()
    assert not counts.any()


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_select_what_one_rank_would(two_ranks, world_size):
    torch.manual_seed(1)
    values, groups = torch.randn(world_size * 300, 3), torch.randint(9, (world_size * 300,))
    groups[:300][groups[:300] == 2] = 8
    expected = select(values, groups, 8, 20, Collectives())

    def rank(collectives):
        part = slice(300 * collectives.rank, 300 * (collectives.rank + 1))
        return select(values[part], groups[part], 8, 20, collectives)

    for rows, counts in two_ranks(rank, world_size):
        assert torch.equal(rows, expected[0])
        assert torch.equal(counts, expected[1])


def check(memory, queues, dim):
    """The sums are those of the queues, and the ring holds the queues' vectors."""
    for component, queue in enumerate(queues):
        vectors = torch.stack([v for v, _ in queue]).double() if queue else torch.zeros(0, dim).double()
        weights = torch.tensor([w for _, w in queue], dtype=torch.float64).unsqueeze(1)
        if not queue:
            weights = torch.zeros(0, 1, dtype=torch.float64)
        close = {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(memory.mass[component].double(), weights.sum(), **close)
        torch.testing.assert_close(memory.first[component].double(), (weights * vectors).sum(0), **close)
        torch.testing.assert_close(memory.second[component].double(), (weights * vectors**2).sum(0), **close)
        filled = memory.weights[component] > 0
        assert filled.sum() == len(queue)
        held = {tuple(v.tolist()) for v in memory.ring[component][filled]}
        assert held == {tuple(v.tolist()) for v, _ in queue}


def make(components, capacity, dim=3):
    memory = Memory()
    memory.allocate(components, capacity, dim, torch.device("cpu"))
    return memory


@pytest.mark.parametrize("capacity", [5, 8, 13, 40])
def test_pushes_agree_with_a_queue(capacity):
    torch.manual_seed(2)
    memory, queues = make(4, capacity), [deque(maxlen=capacity) for _ in range(4)]
    for step in range(25):
        counts = torch.tensor([5, step % 6, 0, 1])
        vectors, weights = torch.randn(4, 5, 3), torch.rand(4, 5) + 0.1
        memory.push(vectors, weights, counts)
        for component, queue in enumerate(queues):
            for index in range(counts[component]):
                queue.append((vectors[component, index], weights[component, index].item()))
        check(memory, queues, 3)


@pytest.mark.parametrize(("counts", "pointer"), [((4, 4), 0), ((4, 5), 1), ((3, 5), 0)])
def test_wrap_around(counts, pointer):
    memory = make(1, 8)
    pushed = torch.randn(sum(counts), 3)
    for vectors in pushed.split(counts):
        padded = torch.zeros(1, 6, 3)
        padded[0, : len(vectors)] = vectors
        memory.push(padded, torch.ones(1, 6), torch.tensor([len(vectors)]))
    assert memory.pointers.item() == pointer
    expected = torch.zeros(8, 3)
    expected[: min(len(pushed), 8)] = pushed[:8]
    expected[: max(len(pushed) - 8, 0)] = pushed[8:]
    assert torch.equal(memory.ring[0], expected)


def test_rounding_stays_far_below_the_ridge_over_many_pushes():
    torch.manual_seed(3)
    memory = make(2, 400, 8)
    for _ in range(4000):
        vectors = torch.nn.functional.normalize(torch.randn(2, 20, 8) + 1, dim=2)
        memory.push(vectors, torch.ones(2, 20), torch.tensor([20, 20]))
    assert (memory.mass == 400).all()
    mean_error = (memory.first.double() / 400 - memory.ring.double().mean(1)).abs().max()
    square_error = (memory.second.double() / 400 - memory.ring.double().square().mean(1)).abs().max()
    assert mean_error < 1e-5
    assert square_error < 1e-5


def test_noise_is_unit_vectors_and_the_same_everywhere():
    first, second = make(3, 10), make(3, 10)
    first.fill_with_noise(7)
    second.fill_with_noise(7)
    assert torch.equal(first.ring, second.ring)
    torch.testing.assert_close(first.ring.norm(dim=2), torch.ones(3, 10))
    check(first, [deque((v, 1.0) for v in ring) for ring in first.ring], 3)
