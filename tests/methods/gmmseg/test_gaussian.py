import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from methods.gmmseg import gaussian


def problem(n=50, classes=4, components=3, dim=8, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = F.normalize(torch.randn(n, dim, generator=generator, dtype=dtype), dim=1)
    means = F.normalize(torch.randn(classes, components, dim, generator=generator, dtype=dtype), dim=2)
    stds = 0.1 + 0.3 * torch.rand(classes, components, dim, generator=generator, dtype=dtype)
    return points, means, stds


def exact(points, means, stds):
    return Independent(Normal(means.flatten(0, 1), stds.flatten(0, 1)), 1).log_prob(points.unsqueeze(1))


def test_density_agrees_with_torch_distributions():
    points, means, stds = problem()
    found = gaussian.component_log_density(points, means.flatten(0, 1), stds.flatten(0, 1))
    torch.testing.assert_close(found, exact(points, means, stds), rtol=1e-12, atol=1e-10)


def test_density_in_float32_is_exact_to_a_thousandth_of_a_nat():
    points, means, stds = problem(n=500, dim=64)
    stds = stds.clamp(max=0.12)
    found = gaussian.component_log_density(points.float(), means.flatten(0, 1).float(), stds.flatten(0, 1).float())
    assert (found.double() - exact(points, means, stds)).abs().max() < 1e-3


def test_density_gradient():
    points, means, stds = problem(n=5)
    points.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: gaussian.component_log_density(x, means.flatten(0, 1), stds.flatten(0, 1)), points
    )


def test_the_density_is_not_bound_to_unit_vectors():
    points, means, stds = problem()
    points, means = 7 * points + 1, 5 * means
    found = gaussian.component_log_density(points, means.flatten(0, 1), stds.flatten(0, 1))
    torch.testing.assert_close(found, exact(points, means, stds))


def test_mixture_agrees_with_torch_distributions():
    points, means, stds = problem()
    mixture = MixtureSameFamily(Categorical(logits=torch.zeros(4, 3)), Independent(Normal(means, stds), 1))
    found = gaussian.class_log_density(points, means, stds, "logsumexp")
    torch.testing.assert_close(found, mixture.log_prob(points.unsqueeze(1)))


def test_max_is_the_best_component_and_never_above_the_mixture_by_more_than_log_k():
    points, means, stds = problem()
    best = gaussian.class_log_density(points, means, stds, "max")
    torch.testing.assert_close(best, exact(points, means, stds).view(50, 4, 3).amax(dim=2))
    mixture = gaussian.class_log_density(points, means, stds, "logsumexp")
    assert (mixture <= best + 1e-12).all()
    assert (mixture >= best - math.log(3) - 1e-12).all()


@pytest.mark.parametrize("elements", [1, 12 * 7, 12 * 50])
def test_chunks_do_not_show(monkeypatch, elements):
    points, means, stds = problem()
    whole = gaussian.class_log_density(points, means, stds, "max")
    monkeypatch.setattr(gaussian, "CHUNK_ELEMENTS", elements)
    torch.testing.assert_close(gaussian.class_log_density(points, means, stds, "max"), whole)


def test_columns_of_a_class():
    values = torch.arange(24).view(2, 12)
    assert torch.equal(
        gaussian.of_class(values, torch.tensor([1, 4]), 3),
        values[:, 3:].gather(1, torch.tensor([[0, 1, 2], [6, 7, 8]])),
    )


def test_moments_agree_with_their_definition():
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(6, 40, 5, generator=generator, dtype=torch.float64)
    weights = torch.rand(6, 40, generator=generator, dtype=torch.float64)
    mass = weights.sum(1)
    first = (weights.unsqueeze(2) * samples).sum(1)
    second = (weights.unsqueeze(2) * samples**2).sum(1)
    centre = gaussian.spherical_mean(first)
    torch.testing.assert_close(centre.norm(dim=1), torch.ones(6, dtype=torch.float64))
    expected = (weights.unsqueeze(2) * (samples - centre.unsqueeze(1)) ** 2).sum(1) / mass.unsqueeze(1)
    torch.testing.assert_close(gaussian.variance_about(centre, mass, first, second), expected)


def test_variance_of_identical_points_is_not_negative():
    point = torch.full((1, 3), 1 / math.sqrt(3))
    variance = gaussian.variance_about(point, torch.tensor([1000.0]), 1000 * point, 1000 * point**2)
    assert (variance >= 0).all()
    assert variance.max() < 1e-6


def test_shrunk_variance_is_that_of_the_vectors_and_of_as_many_of_the_prior():
    generator = torch.Generator().manual_seed(0)
    own, weight, prior = torch.randn(40, 3, generator=generator, dtype=torch.float64), 60, 0.25
    variance = own.square().mean(dim=0)
    imagined = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(30).view(-1, 1) * prior**0.5
    pooled = torch.cat([own, imagined.expand(-1, 3)]).square().mean(dim=0)
    torch.testing.assert_close(gaussian.shrunk(variance, torch.tensor(40.0), prior, weight), pooled)
    assert torch.equal(gaussian.shrunk(variance, torch.tensor(40.0), prior, 0), variance)
