import pytest
import torch
from torch.nn import functional as F

from methods.segsort import loss as loss_module
from methods.segsort.loss import neighbourhood_loss, own_segment_loss
from methods.segsort.segments import aligned_segments, mean_directions


def scene(pixels=120, dim=8, clusters=5, classes=4, images=2, seed=0):
    """Unit pixels, their labels, image and cluster."""
    g = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(pixels, dim, generator=g), dim=1)
    labels = torch.randint(classes, (pixels,), generator=g)
    image = torch.arange(pixels) * images // pixels
    cluster = torch.randint(clusters, (pixels,), generator=g)
    return vectors, labels, image, cluster, (images, clusters, classes)


def reference(v, labels, own, mu, mu_labels, kappa, leave_one_out=True):
    """The definition, pixel by pixel, in float64."""
    terms = []
    for i in range(len(v)):
        similarity = kappa * (mu @ v[i])
        positive = mu_labels == labels[i]
        negative = ~positive
        if leave_one_out and positive.sum() > 1:
            positive = positive.clone()
            positive[own[i]] = False
        right = similarity[positive].exp().sum()
        terms.append(-(right / (right + similarity[negative].exp().sum())).log())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("kappa", [6.0, 10.0, 16.0])
def test_loss_and_gradients_are_the_definitions(kappa, leave_one_out, monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", 300)  # several chunks per class
    v, labels, image, cluster, shape = scene()
    remembered, remembered_labels = scene(pixels=9, seed=3)[:2]
    results = []
    for dtype, function in ((torch.float64, reference), (torch.float32, neighbourhood_loss)):
        x = v.to(dtype, copy=True).requires_grad_()
        segments = aligned_segments(image, cluster, labels, shape)
        prototypes = mean_directions(x, segments.ids, len(segments.labels))
        mu = torch.cat([prototypes, remembered.to(dtype)])
        mu_labels = torch.cat([segments.labels, remembered_labels])
        value = function(x, labels, segments.ids, mu, mu_labels, kappa, leave_one_out)
        value.backward()
        results.append((value.item(), x.grad.double()))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kappa", [10.0, 16.0, 40.0])
def test_the_hardest_pixels_keep_their_loss(kappa):
    """Own cosine 1 and the only other positive far away: subtracting the own term would lose this entirely."""
    v = torch.tensor([[1.0, 0.0]])
    mu = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    found = neighbourhood_loss(v, torch.tensor([0]), torch.tensor([0]), mu, torch.tensor([0, 0, 1]), kappa)
    expected = torch.log1p(torch.tensor(kappa, dtype=torch.float64).exp())
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_own_prototype_has_no_gradient():
    v, labels, image, cluster, shape = scene()
    segments = aligned_segments(image, cluster, labels, shape)
    prototypes = mean_directions(v, segments.ids, len(segments.labels)).requires_grad_()
    pixel = 17
    own = segments.ids[pixel]
    assert (segments.labels == labels[pixel]).sum() > 1
    only = slice(pixel, pixel + 1)
    neighbourhood_loss(v[only], labels[only], own[None], prototypes, segments.labels, 10.0).backward()
    assert (prototypes.grad[own] == 0).all()
    assert prototypes.grad.abs().sum() > 0
    prototypes.grad = None
    neighbourhood_loss(v[only], labels[only], own[None], prototypes, segments.labels, 10.0, False).backward()
    assert prototypes.grad[own].abs().sum() > 0


def test_a_class_with_one_segment_falls_back_to_it():
    v = F.normalize(torch.tensor([[1.0, 0.2], [0.1, 1.0]]), dim=1)
    mu, labels = v.clone(), torch.tensor([0, 1])
    found = neighbourhood_loss(v, labels, labels, mu, labels, 10.0)
    torch.testing.assert_close(found, F.cross_entropy(10 * v @ mu.t(), labels))


def test_a_single_segment_has_loss_zero():
    v = F.normalize(torch.randn(7, 4), dim=1).requires_grad_()
    own = torch.zeros(7, dtype=torch.int64)
    value = neighbourhood_loss(v, own, own, mean_directions(v, own, 1), own[:1], 10.0)
    value.backward()
    assert abs(value.item()) < 1e-6
    assert torch.isfinite(v.grad).all()


def test_one_prototype_per_class_is_a_cosine_softmax():
    v, labels, *_ = scene()
    mu = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(5)), dim=1)
    x, y = v.clone().requires_grad_(), v.clone().requires_grad_()
    a, b = mu.clone().requires_grad_(), mu.clone().requires_grad_()
    neighbourhood_loss(x, labels, labels, a, torch.arange(4), 10.0, leave_one_out=False).backward()
    F.cross_entropy(10 * y @ b.t(), labels).backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(a.grad, b.grad)


def test_it_is_cross_entropy_of_class_wise_log_sum_exp():
    v, labels, image, cluster, shape = scene()
    segments = aligned_segments(image, cluster, labels, shape)
    mu = mean_directions(v, segments.ids, len(segments.labels))
    similarity = 10 * v @ mu.t()
    similarity[torch.arange(len(v)), segments.ids] = -torch.inf
    scores = torch.stack([similarity[:, segments.labels == c].logsumexp(1) for c in range(4)], 1)
    found = neighbourhood_loss(v, labels, segments.ids, mu, segments.labels, 10.0)
    torch.testing.assert_close(found, F.cross_entropy(scores, labels))


def test_plain_loss_and_gradients_are_cross_entropy_over_segments(monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", 300)
    v, labels, image, cluster, shape = scene()
    ids = aligned_segments(image, cluster, labels, shape).ids
    grads = []
    for function in (
        lambda x, mu: own_segment_loss(x, ids, mu, 10.0),
        lambda x, mu: F.cross_entropy(10 * x @ mu.t(), ids),
    ):
        x = v.clone().requires_grad_()
        value = function(x, mean_directions(x, ids, int(ids.max()) + 1))
        value.backward()
        grads.append((value.detach(), x.grad))
    torch.testing.assert_close(grads[0][0], grads[1][0])
    torch.testing.assert_close(grads[0][1], grads[1][1], rtol=1e-4, atol=1e-7)


def test_no_gradient_is_computed_where_none_is_needed():
    v, labels, *_ = scene()
    mu = F.normalize(torch.randn(4, 8), dim=1)
    value = neighbourhood_loss(v, labels, labels, mu, torch.arange(4), 10.0)
    assert not value.requires_grad


def test_aligned_segments_are_the_unique_triples():
    _, labels, image, cluster, shape = scene()
    segments = aligned_segments(image, cluster, labels, shape)
    triples = torch.stack([image, cluster, labels])
    unique, inverse = triples.unique(dim=1, return_inverse=True)
    assert len(segments.labels) == unique.shape[1]
    assert torch.stack([segments.ids, inverse]).unique(dim=1).shape[1] == unique.shape[1]
    assert torch.equal(segments.labels[segments.ids], labels)
    assert torch.equal(segments.ids.unique(), torch.arange(len(segments.labels)))


def test_mean_directions_are_unit_and_differentiable():
    v = F.normalize(torch.randn(10, 3), dim=1).requires_grad_()
    ids = torch.tensor([0, 0, 0, 1, 1, 1, 1, 3, 3, 3])
    found = mean_directions(v, ids, 4)
    torch.testing.assert_close(found[0], F.normalize(v[:3].mean(0), dim=0))
    assert (found[2] == 0).all()
    found.sum().backward()
    assert torch.isfinite(v.grad).all()
