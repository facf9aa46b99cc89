import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.distributions import MultivariateNormal

from methods.gaussian import Gaussian


def classes(seed=0):
    """Three classes of 500, 50 and 3 cells; the fourth has none."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(3, 3, 3, generator=generator)
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate((500, 50, 3))])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    x = torch.randn(len(labels), 3, generator=generator)
    return (mix[labels] @ x[:, :, None])[:, :, 0] + 2 * labels[:, None], labels


def query(x):
    return x.t()[None, :, None]


def test_density_is_that_of_a_normal_with_the_class_mean_and_a_covariance_drawn_to_the_shared_one(fitted):
    x, y = classes()
    found = fitted(Gaussian, x, y, 4).predict(query(x)).log_density[0, :, 0]
    double = x.double()
    inner = [double[y == c] - double[y == c].mean(0) for c in range(3)]
    pooled = sum(part.t() @ part for part in inner) / len(x)
    for c in range(3):
        covariance = (inner[c].t() @ inner[c] + 3 * pooled) / (len(inner[c]) + 3)
        expected = MultivariateNormal(double[y == c].mean(0), covariance).log_prob(double)
        torch.testing.assert_close(found[c].double(), expected, atol=1e-3, rtol=1e-4)


def test_a_shared_covariance_gives_linear_discriminant_analysis(fitted):
    x, y = classes()
    found = fitted(Gaussian, x, y, 3, covariance="shared").predict(query(x)).logits[0, :, 0].softmax(0).t()
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(x.double().numpy(), y.numpy())
    torch.testing.assert_close(
        found.double(), torch.from_numpy(reference.predict_proba(x.double().numpy())), atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("covariance", ["own", "shared"])
def test_dead_channels_and_absent_classes_stay_finite(fitted, covariance):
    x, y = classes()
    x[:, 2] = 1.5
    found = fitted(Gaussian, x, y, 4, covariance=covariance).predict(query(x))
    assert found.logits.isfinite().all()
    assert (found.logits.argmax(1) != 3).all()


def test_what_is_far_from_every_class_has_the_lowest_density(fitted):
    x, y = classes()
    method = fitted(Gaussian, x, y, 4)
    near, far = (method.predict(query(q)).log_density.amax(1) for q in (x[:20], x[:20] + 100))
    assert far.max() < near.min()


def test_images_of_any_size_and_number_keep_their_cells(fitted):
    method = fitted(Gaussian, *classes(), 4)
    images = torch.rand(2, 3, 5, 7)
    found = method.predict(images)
    assert found.logits.shape == (2, 4, 5, 7)
    one = method.predict(images[1:, :, 3:4, 2:3]).logits.flatten()
    torch.testing.assert_close(found.logits[1, :, 3, 2], one)
