"""AGMM's losses against the formulas written out, pixel by pixel and class by class, in float64."""

import pytest
import torch

from methods.agmm import AGMM
from methods.base import Batch, Features, Network, upsample


class Given(Network):
    """Hands the batch's images on as features of stride 4."""

    stride = 4

    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels

    def forward(self, images):
        return Features(dense=images, pyramid=())


def build(tiny_classes, classes, dim, seed=0, **config):
    torch.manual_seed(seed)
    method = AGMM(AGMM.Config(dim=dim, **config), Given(dim), tiny_classes(classes))
    method.projection = torch.nn.Identity()
    return method


def shrink(valid, h, w):
    """Bilinear value (h, w) of a map (H, W) at the centres 4 j + 1.5 of its cells of four pixels."""
    small = torch.zeros(h, w, dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            rows = [min(4 * i + k, valid.shape[0] - 1) for k in (1, 2)]
            columns = [min(4 * j + k, valid.shape[1] - 1) for k in (1, 2)]
            small[i, j] = sum(valid[y, x] for y in rows for x in columns) / 4
    return small


def corner_to_corner(maps, size):
    """``maps`` (B, C, h, w) at ``size``, linear along each axis between the first pixel and the last."""
    for axis, pixels in zip((2, 3), size, strict=True):
        cells = maps.shape[axis]
        position = torch.linspace(0, cells - 1, pixels, dtype=maps.dtype)
        weights = (1 - (position[:, None] - torch.arange(cells)).abs()).clamp(min=0)
        maps = torch.tensordot(maps, weights, dims=([axis], [1])).movedim(-1, axis)
    return maps


def distance(f, mu, kind):
    """d (h, w) between f (D, h, w) and mu (D,)."""
    difference = f - mu[:, None, None]
    return difference.abs().mean(0) if kind == "l1mean" else difference.square().mean(0).add(1e-30).sqrt()


def reference(f, logits, labels, tags, config):
    """The five terms, from features (B, D, h, w), logits (B, C, h, w), labels (B, H, W) and tags (B, C)."""
    images, classes, h, w = logits.shape
    size, e = tuple(labels.shape[1:]), config.eps
    large_f = upsample(f, size)
    p = (corner_to_corner if config.align_corners else upsample)(logits, size).softmax(1)
    small_p = logits.softmax(1)
    domain, labelled = labels != 255, labels < classes
    present = torch.tensor([[bool((labels[b] == k).any()) for k in range(classes)] for b in range(images)])
    mu, r = {}, {}
    for b in range(images):
        valid = shrink(domain[b].double(), h, w)
        for k in range(classes):
            if not present[b, k]:
                continue
            mask = labels[b] == k
            mu[b, k] = large_f[b][:, mask].sum(1) / (mask.sum() + 1e-6)
            d = distance(f[b], mu[b, k], config.distance)
            d = d * valid if config.mask_distance else d
            energy = d**2
            if config.variance != "none":
                weight = valid * (small_p[b, k] if config.variance == "pred_weighted" else 1)
                sigma2 = ((weight * d**2).sum() / (weight.sum() + 1e-6)).detach()
                energy = d**2 / (2 * sigma2 + 1e-6)
            r[b, k] = upsample((-energy).exp()[None, None], size)[0, 0]

    def both(target, prediction):
        """-t log q - (1 - t) log(1 - q), halved."""
        return (-target * (prediction + e).log() - (1 - target) * (1 - prediction + e).log()) / 2

    seg = own = mixture = absent = torch.zeros((), dtype=torch.float64)
    for b in range(images):
        active = [k for k in range(classes) if present[b, k]]
        for k in range(classes):
            seg = seg - (p[b, k].log() * (labels[b] == k)).sum()
            if not tags[b, k]:
                absent = absent - (1 - p[b, k] + e).log()[domain[b]].sum()
        for k in active:
            inside, known = domain[b], labelled[b]
            target = (labels[b] == k).double()
            own = own + both(r[b, k][inside], p[b, k][inside]).sum() / len(active)
            mixture = mixture + both(target[known], r[b, k][known]).sum() / len(active)

    vectors = []
    for k in range(classes):
        of_class = [mu[b, k] for b in range(images) if present[b, k]]
        if of_class:
            total = torch.stack(of_class).sum(0)
            vectors.append(total if config.proto == "sum" else total / len(of_class))
    closeness = []
    for i in range(len(vectors)):
        for j in range(i):
            d = distance(vectors[i][:, None, None], vectors[j], config.distance)
            closeness.append((-(d.squeeze() ** 2)).exp())
    return {
        "cross_entropy": seg / labelled.sum(),
        "self_training": own / domain.sum(),
        "mixture": mixture / labelled.sum(),
        "separation": torch.stack(closeness).mean(),
        "absent_classes": absent / domain.sum(),
    }


def sparse_case(size, classes=5, dim=16, images=3):
    """Features, labels with a void border and a few labelled pixels per image, and tags."""
    generator = torch.Generator().manual_seed(size[0])
    h, w = -(-size[0] // 4), -(-size[1] // 4)
    features = torch.randn(images, dim, h, w, generator=generator).relu()
    labels = torch.full((images, *size), 254)
    labels[:, -7:] = 255
    labels[0, :, :3] = 255
    for b in range(images):
        for _ in range(4):
            y, x = (int(torch.randint(0, n - 8, (), generator=generator)) for n in size)
            labels[b, y : y + 3, x : x + 2] = int(torch.randint(0, classes - 1, (), generator=generator))
    tags = torch.stack([torch.tensor([bool((m == k).any()) for k in range(classes)]) for m in labels])
    tags[0, classes - 1] = True  # a class that the crop has lost
    return features, labels, tags


@pytest.mark.parametrize(
    "config",
    [
        {"preset": "released"},
        {"preset": "released", "eps": 0.0, "proto": "mean"},
        {},
        {"variance": "uniform", "eps": 1e-3},
        {"distance": "l2"},
        {"distance": "l2", "variance": "none"},
        {"mask_distance": True},
        {"preset": "released", "align_corners": True},
    ],
    ids=lambda config: ",".join(f"{k}={v}" for k, v in config.items()) or "paper",
)
@pytest.mark.parametrize("size", [(32, 40), (33, 46)])
def test_terms_and_gradients_are_those_of_the_formulas(tiny_classes, config, size):
    features, labels, tags = sparse_case(size)
    method = build(tiny_classes, 5, 16, **config)
    batch = Batch(images=features.clone().requires_grad_(), labels=labels, present=tags)
    found = method.losses(batch).terms

    f = features.double().requires_grad_()
    weight = method.classifier.weight.detach().double().requires_grad_()
    logits = torch.nn.functional.conv2d(f, weight, method.classifier.bias.detach().double())
    expected = reference(f, logits, labels, tags, method.config)
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name].double(), term, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        ours = torch.autograd.grad(
            found[name], (batch.images, method.classifier.weight), retain_graph=True, materialize_grads=True
        )
        theirs = torch.autograd.grad(term, (f, weight), retain_graph=True, materialize_grads=True)
        for one, two in zip(ours, theirs, strict=True):
            assert (one - two).norm() <= 1e-5 * two.norm() + 1e-12, name


def test_the_diagonal_distance_divides_each_channel_by_its_variance(tiny_classes):
    from methods.agmm.mixture import EPS, RIDGE, energies

    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(2, 30, 6, generator=generator, dtype=torch.float64)
    centres = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, 30, 3, generator=generator, dtype=torch.float64)
    squares = (rows[:, :, None] - centres[:, None]).square()
    variance = (weights[..., None] * squares).sum(1) / (weights.sum(1)[..., None] + EPS)
    variance = variance + RIDGE * variance.mean(2, keepdim=True)
    expected = (squares / (2 * variance + EPS)[:, None]).mean(3)
    torch.testing.assert_close(energies(rows, centres, weights, "diag"), expected)


@pytest.mark.parametrize("decode", ["network", "mixture"])
@pytest.mark.parametrize("size", [(32, 40), (33, 46)])
def test_classifier_predicts_with_aligned_corners_as_it_was_trained(tiny_classes, tiny_network, size, decode):
    images, found = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)), {}
    for align_corners in (False, True):
        torch.manual_seed(0)
        config = AGMM.Config(dim=16, align_corners=align_corners, decode=decode)
        method = AGMM(config, tiny_network(), tiny_classes(5)).eval()
        with torch.no_grad():
            found[align_corners] = method.predict(images)
    cells, pixels = found[False].logits, found[True].logits
    torch.testing.assert_close(pixels, corner_to_corner(cells, size) if decode == "network" else cells)
    torch.testing.assert_close(found[True].anomaly, found[False].anomaly)
