import math

import pytest
import torch

from methods.agmm import losses
from methods.agmm.losses import (
    absent_classes,
    class_vectors,
    log1mexp,
    log_complement,
    log_plus,
    mixture_supervision,
    mixture_supervision_of_maps,
    self_training,
    separation,
)
from methods.agmm.mixture import find_pairs, labelled_points, present_classes


def test_the_complement_of_a_certain_prediction_is_exact():
    logits = torch.tensor([[40.0, 0.0, -3.0], [1.0, 1.0, 0.5], [-200.0, 30.0, 29.0]], requires_grad=True)
    found = log_complement(logits.log_softmax(1))
    exact = logits.detach().double().requires_grad_()
    log_p = exact.log_softmax(1)
    others = [torch.cat([log_p[:, :k], log_p[:, k + 1 :]], 1).logsumexp(1) for k in range(3)]
    expected = torch.stack(others, 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.0, 2.0], [1.0, 1.0, -1.0]])
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=1e-5, atol=1e-6)


def test_the_complement_of_an_affinity_is_finite_at_the_centre():
    energy = torch.tensor([0.0, 1e-9, 0.5, 200.0], requires_grad=True)
    value = log1mexp(energy)
    expected = [math.log(losses.SMALLEST_ENERGY), math.log(1e-9), math.log(-math.expm1(-0.5)), 0]
    assert value.tolist() == pytest.approx(expected, rel=1e-5)
    value.sum().backward()
    assert energy.grad[0] == 0
    assert energy.grad.isfinite().all()


def test_eps_is_added_to_the_probability():
    log_p = torch.tensor([0.0, -3.0, -50.0])
    torch.testing.assert_close(log_plus(log_p, 1e-3), (log_p.exp() + 1e-3).log())
    assert log_plus(log_p, 0) is log_p


def one_pair(p, r, domain=None):
    """Self-training of one image with one class among two: p and r are (1, H, W)."""
    pairs = find_pairs(torch.tensor([[True, False]]))
    domain = torch.ones(p.shape, dtype=torch.bool) if domain is None else domain
    return self_training(p.log(), (1 - p).log(), r, pairs, domain, 0.0, "none")


def test_self_training_pulls_affinities_to_the_side_the_prediction_is_on():
    p = torch.tensor([[[0.5, 0.9, 0.1]]])
    r = torch.full((1, 1, 3), 0.3, requires_grad=True)
    (gradient,) = torch.autograd.grad(one_pair(p, r), r)
    expected = -0.5 * (p / (1 - p)).log() / 3
    torch.testing.assert_close(gradient, expected)
    assert gradient[0, 0, 0] == 0


@pytest.mark.parametrize("detach", ["none", "r", "p"])
def test_either_side_of_self_training_can_be_detached(detach):
    log_p = torch.tensor([[[-1.0]]], requires_grad=True)
    r = torch.tensor([[[0.4]]], requires_grad=True)
    pairs = find_pairs(torch.tensor([[True, False]]))
    loss = self_training(log_p, log1mexp(-log_p), r, pairs, torch.ones(1, 1, 1, dtype=torch.bool), 0.0, detach)
    to_p, to_r = torch.autograd.grad(loss, (log_p, r), allow_unused=True)
    assert (to_p is None) == (detach == "p")
    assert (to_r is None) == (detach == "r")


def test_self_training_is_a_mean_over_the_domain_only():
    p, r = torch.rand(1, 2, 3) * 0.8 + 0.1, torch.rand(1, 2, 3)
    domain = torch.tensor([[[True, False, True], [True, True, False]]])
    inside = domain[0].flatten().nonzero().flatten()
    alone = one_pair(p.flatten()[inside].view(1, 1, -1), r.flatten()[inside].view(1, 1, -1))
    torch.testing.assert_close(one_pair(p, r, domain), alone)


def test_untagged_images_suppress_no_class():
    log_q = torch.full((2, 3, 1, 2), -0.5)
    tags = torch.tensor([[True, False, False], [False, False, False]])
    domain = torch.ones(2, 1, 2, dtype=torch.bool)
    # two absent classes on two of the four pixels
    assert absent_classes(log_q, tags, domain, 0.0).item() == pytest.approx(0.5)


def supervision_case():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (3, 12, 16), generator=generator)
    labels[labels == 4] = 255
    labels[1] = 254
    labels[2][labels[2] == 1] = 254
    pairs = find_pairs(present_classes(labels, 4))
    energy = torch.rand(len(pairs.image), 12, generator=generator, dtype=torch.float64).requires_grad_()
    return energy, labelled_points(labels, 4, (3, 4), torch.float64), pairs


def test_supervision_in_chunks_is_supervision_at_once(monkeypatch):
    energy, points, pairs = supervision_case()
    whole = mixture_supervision(energy, points, pairs, 0.0)
    (expected,) = torch.autograd.grad(whole, energy)
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 500)
    chunked = mixture_supervision(energy, points, pairs, 0.0)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(torch.autograd.grad(chunked, energy)[0], expected)


@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize(("label_size", "size"), [((12, 16), (3, 4)), ((13, 17), (4, 5)), ((10, 14), (4, 5))])
def test_supervision_by_maps_is_that_of_the_points(label_size, size, eps):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 5, (3, *label_size), generator=generator)
    labels[labels == 4] = 255
    labels[1] = 254
    labels[2][labels[2] == 1] = 254
    pairs, points = find_pairs(present_classes(labels, 4)), labelled_points(labels, 4, size, torch.float64)
    energy = torch.rand(len(pairs.image), *size, generator=generator, dtype=torch.float64)
    energy[0] += 1000  # makes r zero in floating point
    energy.requires_grad_()
    one = mixture_supervision(energy.flatten(1), points, pairs, eps)
    two = mixture_supervision_of_maps(energy, labels, points, pairs, eps)
    torch.testing.assert_close(two, one)
    torch.testing.assert_close(torch.autograd.grad(two, energy), torch.autograd.grad(one, energy))


def test_the_affinity_of_a_labelled_pixel_is_pulled_up_however_small_it_is():
    labels = torch.full((1, 4, 4), 254)
    labels[0, 1, 1] = 0
    pairs = find_pairs(present_classes(labels, 2))
    energy = torch.full((1, 1), 500.0, requires_grad=True)
    loss = mixture_supervision(energy, labelled_points(labels, 2, (1, 1)), pairs, 0.0)
    assert loss.item() == pytest.approx(250)
    loss.backward()
    assert energy.grad.item() == pytest.approx(0.5)


def test_summed_class_vectors_grow_with_the_images_and_hide_how_close_classes_are():
    pairs = find_pairs(torch.ones(2, 2, dtype=torch.bool))
    centres = torch.tensor([[1.0, 0.0], [0.0, 1.5]] * 2)
    mean, total = class_vectors(centres, pairs, "mean"), class_vectors(centres, pairs, "sum")
    torch.testing.assert_close(total, 2 * mean)
    assert separation(total, "l1mean") < separation(mean, "l1mean")
    assert separation(mean, "l1mean").item() == pytest.approx(math.exp(-(1.25**2)))
    assert separation(mean, "l2").item() == pytest.approx(math.exp(-(1 + 2.25) / 2))
    assert separation(mean, "diag") == separation(mean, "l2")


def test_a_single_class_is_not_separated():
    vectors = torch.rand(1, 4, requires_grad=True)
    separation(vectors, "l1mean").backward()
    assert (vectors.grad == 0).all()
