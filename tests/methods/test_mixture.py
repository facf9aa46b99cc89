import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from methods.mixture import FLOOR, Mixture, Mixtures, by_class, fit


def rows(n, seed=0, channels=3):
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(4, channels, generator=generator)
    part = torch.randint(4, (n,), generator=generator)
    return (centres[part] + torch.randn(n, channels, generator=generator)).double()


def test_it_ends_where_scikit_learn_ends_from_the_same_start(monkeypatch):
    monkeypatch.setattr("methods.mixture.TOLERANCE", 1e-9)
    monkeypatch.setattr("methods.mixture.ITERATIONS", 1000)
    cells, labels = torch.cat([rows(300), rows(120, seed=1)]), torch.tensor([0] * 300 + [1] * 120)
    found = fit(*by_class(cells, labels, 2), components=3)
    for c in range(2):
        own = cells[labels == c].numpy()
        start = np.broadcast_to(1 / (own.var(0) + FLOOR), (3, 3))
        reference = GaussianMixture(
            3, covariance_type="diag", tol=1e-10, max_iter=2000, reg_covar=FLOOR,
            means_init=own[:3], weights_init=[1 / 3] * 3, precisions_init=start,
        ).fit(own)  # fmt: skip
        np.testing.assert_allclose(found.means[c].numpy(), reference.means_, atol=1e-3)
        np.testing.assert_allclose(found.weights[c].numpy(), reference.weights_, atol=1e-3)
        np.testing.assert_allclose(found.variances[c].numpy(), reference.covariances_, rtol=2e-3)


def test_density_is_that_of_a_mixture_of_normals():
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, 4)
    made = Mixtures(
        torch.rand(2, 3, generator=generator).softmax(1), torch.randn(shape, generator=generator),
        torch.rand(shape, generator=generator) + 0.1,
    )  # fmt: skip
    cells = torch.randn(50, 4, generator=generator)
    for c in range(2):
        normals = Independent(Normal(made.means[c], made.variances[c].sqrt()), 1)
        expected = MixtureSameFamily(Categorical(made.weights[c]), normals).log_prob(cells)
        torch.testing.assert_close(made.log_joint(cells)[c].logsumexp(-1), expected, atol=1e-4, rtol=1e-4)


def test_prediction_is_in_the_units_of_the_features(fitted):
    cells = rows(300).float() * torch.tensor([0.1, 1.0, 50.0]) + 3
    labels = (torch.arange(300) >= 200).long()
    found = fitted(Mixture, cells, labels, 3, components=1).predict(cells.t()[None, :, None])
    for c in range(2):
        own = cells[labels == c].double()
        expected = Normal(own.mean(0), own.std(0, correction=0)).log_prob(cells.double()).sum(1)
        torch.testing.assert_close(found.log_density[0, c, 0].double(), expected, atol=1e-2, rtol=1e-3)
    prior = torch.tensor([2 / 3, 1 / 3]).log()
    torch.testing.assert_close((found.logits - found.log_density)[0, :2, 0, 0], prior, atol=1e-4, rtol=0)
    assert (found.logits.argmax(1) != 2).all()  # which has no cell


def test_a_class_of_fewer_cells_than_components_is_finite(fitted):
    cells = rows(103).float()
    labels = (torch.arange(103) >= 100).long()
    found = fitted(Mixture, cells, labels, 2, components=8).predict(cells.t()[None, :, None])
    assert found.logits.isfinite().all()
