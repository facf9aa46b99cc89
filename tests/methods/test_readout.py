import pytest
import torch

from methods.readout import sample


def cells(sizes, seed=0, channels=2):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(sizes)])[torch.randperm(sum(sizes))]
    return torch.rand(len(labels), channels, generator=generator), labels


def parts(features, labels, size=37):
    return zip(features.split(size), labels.split(size), strict=True)


def test_a_sample_holds_all_of_small_classes_and_so_many_of_large_ones():
    features, labels = cells([5, 400, 0, 90])
    found = sample(parts(features, labels), 4, 50, seed=0)
    assert found.counts.tolist() == [5, 400, 0, 90]
    assert torch.bincount(found.labels, minlength=4).tolist() == [5, 50, 0, 50]
    assert found.labels.equal(found.labels.sort().values)
    where = (found.features[:, None] == features).all(-1)
    assert where.sum(1).tolist() == [1] * 105
    assert labels[where.int().argmax(1)].equal(found.labels)


def test_a_sample_is_uniform_over_its_class_wherever_a_cell_comes():
    labels = torch.zeros(200, dtype=torch.int64)
    features = torch.arange(200.0)[:, None]
    drawn = torch.cat([sample(parts(features, labels, 7), 1, 20, seed).features[:, 0] for seed in range(500)])
    times = torch.bincount(drawn.long(), minlength=200).double()
    chi_square = ((times - 50).square() / (50 * 0.9)).sum().item()  # without replacement: variance n p (1 - p)
    assert chi_square == pytest.approx(199, abs=4 * (2 * 199) ** 0.5)


def test_a_sample_of_nothing_is_empty():
    found = sample(iter(()), 3, 10, seed=0)
    assert len(found.labels) == 0
    assert found.counts.tolist() == [0, 0, 0]


def test_no_more_than_twice_the_sample_and_one_image_is_held(monkeypatch):
    import methods.readout as readout

    held = []
    smallest = readout._smallest

    def spy(kept, per_class):
        held.append(sum(len(labels) for _, labels, _ in kept))
        return smallest(kept, per_class)

    monkeypatch.setattr(readout, "_smallest", spy)
    sample(parts(*cells([3000, 3000])), 2, 10, seed=0)
    assert len(held) > 10
    assert max(held) <= 2 * 2 * 10 + 37


@pytest.mark.parametrize("images", [1, 4, 5])
def test_ranks_that_read_a_part_each_draw_the_sample_of_one(two_ranks, images):
    features, labels = cells([40, 400, 0, 90])
    every = list(parts(features, labels, -(-len(labels) // images)))
    assert len(every) == images
    expected = sample(every, 4, 20, seed=0)
    for found in two_ranks(lambda ranks: sample(every[ranks.rank :: 2], 4, 20, 0, ranks)):
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
