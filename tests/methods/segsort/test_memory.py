import torch
from torch.nn import functional as F

from methods.segsort.memory import PrototypeMemory


def generator():
    return torch.Generator().manual_seed(0)


def batch(rows, label, dim=3):
    return F.normalize(torch.randn(rows, dim), dim=1), torch.full((rows,), label)


def test_the_last_batches_are_remembered_first_in_first_out():
    memory = PrototypeMemory(2, 5, 3)
    assert len(memory.contents()[0]) == 0
    batches = [batch(rows, label) for label, rows in enumerate((3, 5, 2))]
    for prototypes, labels in batches:
        memory.push(prototypes, labels, generator())
    features, labels = memory.contents()
    assert sorted(labels.tolist()) == [1] * 5 + [2] * 2
    expected = torch.cat([batches[1][0], batches[2][0]])
    assert torch.equal(features.sort(dim=0).values, expected.sort(dim=0).values)


def test_too_many_prototypes_are_thinned_at_random_and_none_leaves_a_gap():
    memory = PrototypeMemory(2, 4, 3)
    prototypes, labels = batch(50, 1)
    memory.push(prototypes, labels, generator())
    features, _ = memory.contents()
    assert len(features) == 4
    assert all((prototypes == row).all(dim=1).any() for row in features)
    memory.push(prototypes[:0], labels[:0], generator())
    memory.push(prototypes[:0], labels[:0], generator())
    assert len(memory.contents()[0]) == 0


def test_noise_is_unit_and_of_the_first_class():
    memory = PrototypeMemory(2, 100, 4)
    memory.fill_with_noise(generator())
    features, labels = memory.contents()
    assert features.shape == (200, 4)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(200))
    assert (labels == 0).all()
