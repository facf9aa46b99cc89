import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional as F

from methods.neighbours import LEAST_VOTE, Neighbours


def cells(n=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    return torch.eye(3)[labels] + 0.7 * torch.randn(n, 3, generator=generator), labels


@pytest.mark.parametrize("k", [1, 7])
def test_votes_and_distances_are_those_of_a_brute_force_search(fitted, k):
    x, y = cells()
    queries, _ = cells(60, seed=1)
    found = fitted(Neighbours, x, y, 3, neighbours=k).predict(queries.t()[None, :, None])
    unit, asked = F.normalize(x, dim=1).numpy(), F.normalize(queries, dim=1).numpy()
    reference = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(unit, y.numpy())
    votes = (1 - LEAST_VOTE) * reference.predict_proba(asked) + LEAST_VOTE / 3
    np.testing.assert_allclose(found.logits[0, :, 0].t().softmax(1).numpy(), votes, atol=1e-5)
    distances = np.sort(1 - asked @ unit.T, axis=1)[:, k - 1]
    np.testing.assert_allclose(found.anomaly["neighbours_distance"][0, 0].numpy(), distances, atol=1e-5)


def test_a_kept_cell_votes_for_those_that_were_not_kept(fitted, monkeypatch):
    monkeypatch.setattr("methods.neighbours.PER_CLASS", 10)
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(4000, generator=generator) < 0.1).long()
    x = torch.randn(4000, 3, generator=generator)
    method = fitted(Neighbours, x, labels, 2, neighbours=1000)  # more than are kept: all vote
    posterior = method.predict(torch.ones(1, 3, 1, 1)).logits.softmax(1).flatten()
    share = labels.float().mean()
    torch.testing.assert_close(posterior, torch.stack([1 - share, share]), atol=1e-4, rtol=0)


def test_before_anything_is_kept_every_class_is_equally_likely(tiny_network, tiny_classes):
    method = Neighbours(Neighbours.Config(), tiny_network(), tiny_classes(4)).eval()
    torch.testing.assert_close(method.predict(torch.rand(1, 3, 8, 8)).logits.softmax(1), torch.full((1, 4, 2, 2), 0.25))
