import dataclasses

import pytest
import torch
from pydantic import ValidationError

from methods.agmm import AGMM
from methods.agmm.mixture import find_pairs, label_mass, labelled_points, present_classes
from methods.base import Batch, MethodError

TERMS = {"cross_entropy", "self_training", "mixture", "separation", "absent_classes"}


@pytest.fixture
def build(tiny_network, tiny_classes):
    def make(classes=4, seed=0, **config):
        torch.manual_seed(seed)
        return AGMM(AGMM.Config(**{"dim": 8, **config}), tiny_network(), tiny_classes(classes))

    return make


def sparsify(batch, keep=0.03, seed=0):
    """The batch with all but a share of its labelled pixels unlabelled."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(batch.labels.shape, generator=generator) < keep
    labels = torch.where(kept | (batch.labels == 255), batch.labels, 254)
    return dataclasses.replace(batch, labels=labels)


def total(losses):
    return torch.stack(list(losses.values())).sum()


def gradients(method, loss):
    method.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def test_the_released_preset_fills_what_is_not_given():
    config = AGMM.Config(preset="released", proto="mean")
    assert (config.variance, config.proto, config.eps, config.mask_distance) == ("none", "mean", 1e-6, True)
    config = AGMM.Config()
    assert (config.variance, config.proto, config.eps, config.mask_distance) == ("pred_weighted", "mean", 0, False)


@pytest.mark.parametrize("bad", [{"preset": "other"}, {"distance": "diag", "variance": "none"}, {"ramp": 2}, {"x": 1}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValidationError):
        AGMM.Config(**bad)


def test_one_class_is_refused(build):
    with pytest.raises(MethodError, match="2 classes"):
        build(classes=1)


@pytest.mark.parametrize("distance", ["l1mean", "l2", "diag"])
def test_affinities_are_positive_for_present_classes_and_zero_for_others(build, make_batch, distance):
    method, batch = build(distance=distance), sparsify(make_batch(4))
    features = method.projection(method.network(batch.images).dense)
    pairs = find_pairs(present_classes(batch.labels, 4))
    size = tuple(features.shape[2:])
    mass = label_mass(labelled_points(batch.labels, 4, size), pairs, size[0] * size[1])
    gaussians = method._gaussians(features, mass, pairs, method.classifier(features), batch.labels)
    affinity = pairs.to_classes((-gaussians.energy).exp())
    assert affinity.shape == (2, 4, *size)
    assert ((affinity > 0) & (affinity <= 1))[pairs.present].all()
    assert (affinity[~pairs.present] == 0).all()


@pytest.mark.parametrize(("variance", "matters"), [("none", False), ("uniform", False), ("pred_weighted", True)])
def test_predictions_shape_the_gaussians_through_the_weighted_variance_only(build, make_batch, variance, matters):
    method, batch = build(variance=variance), sparsify(make_batch(4))
    one = method.losses(batch).terms["mixture"]
    with torch.no_grad():
        method.classifier.weight.mul_(-5)
    assert (one != method.losses(batch).terms["mixture"]) == matters


def test_unlabelled_pixels_train_themselves_and_void_ones_do_not(build, make_batch):
    method, batch = build().eval(), sparsify(make_batch(4), keep=0.003)
    void = dataclasses.replace(batch, labels=torch.where(batch.labels == 254, 255, batch.labels))

    def touched(batch):
        """Share of the cells with logits that receive a gradient from self-training."""
        seen = []
        handle = method.classifier.register_forward_hook(lambda module, inputs, output: seen.append(output))
        loss = method.losses(batch).terms["self_training"]
        handle.remove()
        (gradient,) = torch.autograd.grad(loss, seen[0])
        return (gradient.abs().sum(1) > 0).float().mean().item()

    assert touched(batch) > 0.9
    assert 0 < touched(void) < 0.5
    one, two = method.losses(batch).terms, method.losses(void).terms
    torch.testing.assert_close(one["cross_entropy"], two["cross_entropy"])


@pytest.mark.parametrize("label", [254, 255])
def test_a_batch_without_labels_has_zero_losses_with_a_graph(build, make_batch, label):
    method, batch = build(), make_batch(4)
    losses = method.losses(dataclasses.replace(batch, labels=torch.full_like(batch.labels, label))).terms
    assert losses.keys() == TERMS
    assert all(term.item() == 0 and term.requires_grad for term in losses.values())
    found = gradients(method, total(losses))
    assert found
    assert all(bool((g == 0).all()) for g in found.values())


def test_an_image_without_labels_beside_another_is_no_trouble(build, make_batch):
    method, batch = build().eval(), sparsify(make_batch(4))
    labels = batch.labels.clone()
    labels[1] = 254
    losses = method.losses(dataclasses.replace(batch, labels=labels)).terms
    found = gradients(method, total(losses))
    assert found
    assert all(bool(g.isfinite().all()) for g in found.values())
    # unlabelled pixels of the second image count as zero in the mean, so void ones raise it
    void = labels.clone()
    void[1] = 255
    assert method.losses(dataclasses.replace(batch, labels=void)).terms["self_training"] > losses["self_training"]


@pytest.mark.parametrize("config", [{}, {"preset": "released"}, {"distance": "l2"}, {"distance": "diag"}])
@pytest.mark.parametrize("dense", [True, False])
def test_it_learns_from_dense_and_sparse_labels(build, make_batch, config, dense):
    method = build(**config)
    batch = make_batch(4) if dense else sparsify(make_batch(4), keep=0.1)
    optimiser = torch.optim.AdamW(method.parameters(), lr=1e-2)
    values = []
    for _ in range(25):
        losses = method.losses(batch).terms
        optimiser.zero_grad()
        total(losses).backward()
        optimiser.step()
        values.append(losses["cross_entropy"].item())
    assert all(torch.isfinite(torch.tensor(values)))
    assert values[-1] < 0.8 * values[0]


def test_tags_of_the_whole_image_spare_classes_that_the_crop_lost(build, make_batch):
    method, batch = build().eval(), make_batch(4)
    labels = torch.where(batch.labels == 2, 254, batch.labels)
    tagged = torch.ones(2, 4, dtype=torch.bool)
    with_tags = method.losses(Batch(batch.images, labels, present=tagged)).terms
    without = method.losses(Batch(batch.images, labels)).terms
    assert with_tags["absent_classes"] == 0
    assert without["absent_classes"] > 0


def test_weights_scale_their_terms(build, make_batch):
    batch = sparsify(make_batch(4))
    plain = build().losses(batch).terms
    names = dict(zip(("seg", "self", "gmm", "proto", "cls"), plain, strict=True))
    for index, (short, term) in enumerate(names.items()):
        scaled = build(**{f"{short}_weight": index + 2.0}).losses(batch).terms
        for name, value in scaled.items():
            torch.testing.assert_close(value, plain[name] * (index + 2.0 if name == term else 1))


@pytest.mark.parametrize(
    ("detach", "through_p", "through_r"), [("none", True, True), ("r", True, False), ("p", False, True)]
)
def test_self_training_teaches_the_sides_that_are_not_detached(build, make_batch, detach, through_p, through_r):
    method, batch = build(detach=detach).eval(), sparsify(make_batch(4))

    def learns(part):
        """Whether self-training alone moves the part's weights."""
        found = gradients(method, method.losses(batch).terms["self_training"])
        return any(bool((g != 0).any()) for name, g in found.items() if name.startswith(part))

    assert learns("classifier") == through_p
    with torch.no_grad():
        method.classifier.weight.zero_()  # now nothing reaches the features through the predictions
    assert learns("projection") == through_r


def test_the_ramp_follows_the_run(build, make_batch, make_context):
    batch = sparsify(make_batch(4))
    method, plain = build(ramp=0.5).eval(), build().eval()
    full = plain.losses(batch).terms["self_training"]
    assert method.losses(batch).terms["self_training"] == 0
    for step, share in ((9, 0.2), (49, 1), (99, 1)):
        method.after_step([None], make_context(steps=100, step=step))
        torch.testing.assert_close(method.losses(batch).terms["self_training"], share * full)


def maps(*labels):
    return lambda: iter([torch.tensor(label) for label in labels])


def test_sparse_labels_whose_other_pixels_are_void_are_refused(build, make_context):
    sparse = maps([[0, 255, 255, 255]], [[255, 1, 255, 255]])
    with pytest.raises(MethodError, match=r"25\.0%.*254"):
        build().prepare(make_context(label_maps=sparse))
    build(require_unlabelled=False).prepare(make_context(label_maps=sparse))


def test_a_stray_unlabelled_pixel_does_not_make_void_ones_unlabelled(build, make_context):
    row = [0, 254] + [255] * 98
    with pytest.raises(MethodError, match=r"1\.0%.*nearly all others are void"):
        build().prepare(make_context(label_maps=maps([row], [row])))


@pytest.mark.parametrize("labels", [maps([[0, 255, 254, 255]]), maps([[0, 1, 1, 255]]), maps()])
def test_dense_and_three_state_labels_are_accepted(build, make_context, labels):
    build().prepare(make_context(label_maps=labels))


@pytest.mark.parametrize("decode", ["network", "mixture"])
def test_prediction_scores_what_is_far_from_every_gaussian(build, make_batch, decode):
    method = build(decode=decode).eval()
    prediction = method.predict(make_batch(4).images)
    assert prediction.logits.shape == (2, 4, 9, 12)
    assert prediction.logits.dtype == torch.float32
    assert prediction.logits.isfinite().all()
    score = prediction.anomaly["agmm_affinity"]
    assert score.shape == (2, 9, 12)
    assert ((score >= 0) & (score < 1)).all()


def test_the_mixture_only_predicts_classes_that_the_classifier_finds(build, make_batch):
    images = make_batch(4).images
    network, mixture = build().eval(), build(decode="mixture").eval()
    with torch.no_grad():
        for method in (network, mixture):
            method.classifier.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -50.0]))
    logits = mixture.predict(images).logits
    found = network.predict(images).logits.argmax(1)
    for image, one in zip(found, logits, strict=True):
        assert set(one.argmax(0).unique().tolist()) <= set(image.unique().tolist())
    assert logits.softmax(1)[:, 3].max() < 1e-8


def test_density_arithmetic_is_float32_under_autocast(build, make_batch):
    method, batch = build(), sparsify(make_batch(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method.losses(batch).terms
        prediction = method.eval().predict(batch.images)
    assert losses.keys() == TERMS
    assert all(term.dtype == torch.float32 and term.isfinite() for term in losses.values())
    assert prediction.logits.dtype == torch.float32


def test_losses_are_deterministic(build, make_batch):
    batch = sparsify(make_batch(4))
    one, two = build(), build()
    first, second = gradients(one, total(one.losses(batch).terms)), gradients(two, total(two.losses(batch).terms))
    assert first
    torch.testing.assert_close(first, second, rtol=0, atol=0)
