import itertools
from collections import deque

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.base import Batch, Features, Network, downsample_labels, upsample
from methods.gmmseg import GMMSeg
from methods.gmmseg.gaussian import class_log_density, component_log_density
from methods.gmmseg.method import Observed


class Pass(Network):
    """Hands images on as features: what the head sees is what the test made."""

    stride = 1

    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels

    def forward(self, images):
        return Features(dense=images, pyramid=())


@pytest.fixture
def build(tiny_network, tiny_classes, make_context):
    """A GMMSeg on the tiny network, prepared unless told otherwise."""

    def make(classes=4, seed=0, steps=100, prepare=True, collectives=None, **config):
        torch.manual_seed(seed)
        config = {"dim": 8, "components": 3} | config
        method = GMMSeg(GMMSeg.Config(**config), tiny_network(), tiny_classes(classes))
        if prepare:
            method.prepare(make_context(steps=steps, collectives=collectives))
        return method

    return make


@pytest.fixture
def build_plain(tiny_classes, make_context):
    """A GMMSeg with the images themselves as unit features."""

    def make(classes=3, dim=6, seed=0, steps=100, collectives=None, **config):
        torch.manual_seed(seed)
        config = {"components": 2, "mem_correct_only": False} | config
        method = GMMSeg(GMMSeg.Config(dim=dim, **config), Pass(dim), tiny_classes(classes))
        method.projection = method.feature_norm = nn.Identity()
        method.prepare(make_context(steps=steps, collectives=collectives))
        return method

    return make


def unit_batch(features, labels):
    """Rows (N, D) and labels (N,) as a batch of one image."""
    return Batch(images=features.T.reshape(1, features.shape[1], 1, -1), labels=labels.view(1, 1, -1))


def snapshot(method):
    return {key: value.clone() for key, value in method.state_dict().items()}


def test_the_initial_gaussians_are_spread_evenly(build):
    method = build()
    torch.testing.assert_close(method.means.norm(dim=2), torch.ones(4, 3))
    torch.testing.assert_close(method.stds, torch.full((4, 3, 8), (1 / 8 + 0.01) ** 0.5))
    assert (build(initial_std=1.0).stds == 1).all()


def test_prediction_carries_logits_and_raw_densities(build, make_batch):
    method = build().eval()
    prediction = method.predict(make_batch(4).images)
    assert prediction.logits.shape == prediction.log_density.shape == (2, 4, 9, 12)
    features, _ = method._embed(make_batch(4).images)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
    scores = class_log_density(features, method.means, method.stds, "max")
    torch.testing.assert_close(prediction.log_density.permute(0, 2, 3, 1).flatten(0, 2), scores)
    torch.testing.assert_close(prediction.logits.mean(dim=1), torch.zeros(2, 9, 12), atol=1e-5, rtol=0)


def test_layernorm_logits_ignore_shift_and_scale(build):
    method, scores = build(), 30 * torch.randn(50, 4)
    logits = method._logits(scores)
    for changed in (scores + 400, scores * 3):
        torch.testing.assert_close(method._logits(changed), logits, atol=1e-3, rtol=0)


def test_other_class_norms(build):
    scores = torch.randn(50, 4)
    assert torch.equal(build(class_norm="none")._logits(scores), scores)
    tempered = build(preset="paper", temperature=5.0)
    torch.testing.assert_close(tempered._logits(scores), scores / 5)
    tempered._logits(scores).sum().backward()
    assert tempered.log_temperature.grad is not None


@pytest.mark.parametrize("reduce", ["max", "logsumexp"])
def test_losses_are_those_of_the_specification(build, make_batch, reduce):
    method, batch = build(reduce=reduce, aux_weight=1.0), make_batch(4)
    losses, observed = method.losses(batch)
    features, size = method._embed(batch.images)
    scores = class_log_density(features, method.means, method.stds, reduce)
    logits = method.class_norm(scores).view(2, *size, 4).permute(0, 3, 1, 2)
    target = torch.where(batch.labels < 4, batch.labels, -100)
    expected = F.cross_entropy(upsample(logits, batch.labels.shape[-2:]), target)
    torch.testing.assert_close(losses["cross_entropy"], expected)

    labels = downsample_labels(batch.labels, size).flatten()
    assert torch.equal(observed.classes, torch.where(labels < 4, labels, 4))
    components = component_log_density(features, method.means.flatten(0, 1), method.stds.flatten(0, 1))
    target = torch.where(labels < 4, labels * 3 + observed.responsibilities.argmax(1), -100)
    torch.testing.assert_close(losses["component_cross_entropy"], F.cross_entropy(components, target))
    assert torch.equal(observed.correct, logits.argmax(1).flatten() == labels)
    assert (observed.responsibilities.sum(1) == 1).all()


def test_component_255_is_a_target_like_any_other(build):
    method = build(classes=60, components=5, aux_weight=1.0)
    labels = torch.full((1, 64, 64), 51)
    batch = Batch(images=torch.rand(1, 3, 64, 64), labels=labels)
    terms, observed = method.losses(batch)
    chosen = 51 * 5 + observed.responsibilities.argmax(1)
    assert (chosen == 255).any()
    components = component_log_density(observed.features, method.means.flatten(0, 1), method.stds.flatten(0, 1))
    torch.testing.assert_close(
        terms["component_cross_entropy"].detach(), -components.log_softmax(1)[torch.arange(len(chosen)), chosen].mean()
    )


def test_the_code_averages_over_ignored_pixels_too(build, make_batch):
    batch = make_batch(4)
    valid = build().losses(batch).terms["cross_entropy"]
    everything = build(loss_mean="all").losses(batch).terms["cross_entropy"]
    torch.testing.assert_close(everything, valid * (batch.labels < 4).float().mean())


def test_the_component_loss_can_be_left_out(build, make_batch):
    assert set(build(aux_weight=0.0).losses(make_batch(4)).terms) == {"cross_entropy"}


def test_losses_and_predict_change_nothing(build, make_batch):
    method = build()
    for child in method.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()
    before = snapshot(method)
    method.losses(make_batch(4))
    method.predict(make_batch(4).images)
    for key, value in method.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_no_gradient_reaches_the_gaussians_but_every_parameter_gets_one(build, make_batch):
    for config in ({}, {"preset": "paper"}):
        method = build(**config)
        sum(method.losses(make_batch(4)).terms.values()).backward()
        assert not method.means.requires_grad
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_batches_of_one_step_are_learned_from_like_one_large_batch(build, make_batch, make_context):
    method = build()
    observed = [method.losses(make_batch(2, seed=seed)).observed for seed in range(3)]
    joined = Observed(*map(torch.cat, zip(*observed, strict=True)))
    start = snapshot(method)
    method.after_step([joined], make_context())
    at_once = snapshot(method)
    method.load_state_dict(start)
    method.after_step(observed, make_context())
    assert all(torch.equal(v, at_once[k]) for k, v in snapshot(method).items())
    assert not torch.equal(at_once["means"], start["means"])


def test_a_batch_without_labels_is_harmless(build, make_context):
    method = build()
    labels = torch.full((2, 32, 32), 255)
    labels[0] = 254
    batch = Batch(images=torch.rand(2, 3, 32, 32), labels=labels)
    before = snapshot(method)
    losses, observed = method.losses(batch)
    sum(losses.values()).backward()
    assert all(loss.item() == 0 for loss in losses.values())
    assert all(not p.grad.any() for p in method.parameters())
    method.after_step([observed], make_context())
    for key in ("means", "stds", "memory.ring", "memory.mass"):
        assert torch.equal(method.state_dict()[key], before[key])


def test_a_pixel_without_direction_has_a_small_gradient(build, make_batch):
    method = build()
    nn.init.zeros_(method.projection[0].weight)
    sum(method.losses(make_batch(4)).terms.values()).backward()
    assert method.feature_norm.bias.grad.abs().max() < 1e6  # 1e14 with the usual epsilon
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_autocast_leaves_densities_in_float32(build, make_batch):
    method = build()
    batch = make_batch(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, observed = method.losses(batch)
        prediction = method.predict(batch.images)
    assert observed.features.dtype == torch.float32
    assert prediction.log_density.dtype == prediction.logits.dtype == torch.float32
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    norms = observed.features.norm(dim=1)
    torch.testing.assert_close(norms[norms > 0], torch.ones_like(norms[norms > 0]))


def train(method, batch, make_context, steps, lr=0.01):
    optimiser = torch.optim.Adam(method.parameters(), lr=lr)
    for step in range(steps):
        optimiser.zero_grad()
        terms, observed = method.losses(batch)
        loss = sum(terms.values())
        loss.backward()
        optimiser.step()
        method.after_step([observed], make_context(steps=steps, step=step))
    return loss.item()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"preset": "paper"},
        {"assign": "soft"},
        {"var_center": "ema", "gamma_var": 0.9},
        {"init_noise": True, "initial_std": 1.0, "loss_mean": "all"},
        {"class_norm": "none", "mem_correct_only": False},
        {"estimate": "means", "class_norm": "temperature"},
    ],
)
def test_it_learns_and_keeps_its_invariants(build, make_batch, make_context, config):
    method, batch = build(steps=60, **config), make_batch(4)
    train(method, batch, make_context, 60)
    torch.testing.assert_close(method.means.norm(dim=2), torch.ones(4, 3))
    assert (method.stds >= 0.1 * (1 - 1e-6)).all()
    method.eval()
    predicted = upsample(method.predict(batch.images).logits, batch.labels.shape[-2:]).argmax(1)
    labelled = batch.labels < 4
    assert (predicted == batch.labels)[labelled].float().mean() > 0.6


def learnt(build, **config):
    return build(estimate="nothing", class_norm="temperature", **config)


def cosine_logits(method, images):
    """Class logits (B, C, h, w) in float64: the cosine to the nearest mean, over variance and temperature."""
    dense, norm = method.projection(method.network(images).dense), method.feature_norm
    rows = F.layer_norm(dense.double().movedim(1, -1), (8,), norm.weight.double(), norm.bias.double())
    cosines = F.cosine_similarity(rows[..., None, None, :], method.means.double(), dim=-1).amax(-1)
    return cosines.movedim(-1, 1) / ((1 / 8 + 0.01) * method.config.temperature)


@pytest.mark.parametrize("components", [1, 3])
def test_learnt_means_are_prototypes_to_which_cosines_over_a_temperature_are_logits(build, make_batch, components):
    method, batch = learnt(build, components=components, aux_weight=0.0, temperature=2.0), make_batch(4)
    nn.init.normal_(method.means)
    enlarged = upsample(cosine_logits(method, batch.images), batch.labels.shape[-2:])
    expected = F.cross_entropy(enlarged, torch.where(batch.labels < 4, batch.labels, -100))
    terms = method.losses(batch).terms
    assert [*terms] == ["cross_entropy"]
    torch.testing.assert_close(terms["cross_entropy"].double(), expected, atol=1e-5, rtol=0)
    found = method.eval().predict(batch.images).logits.double()
    expected = cosine_logits(method, batch.images)
    torch.testing.assert_close(found.softmax(1), expected.softmax(1), atol=1e-5, rtol=0)


def test_learnt_means_learn_by_gradient_and_nothing_is_remembered(build, make_batch, make_context):
    method, batch = learnt(build, steps=60), make_batch(4)
    start = snapshot(method)
    train(method, batch, make_context, 60)
    assert (method.means != start["means"]).all()
    assert torch.equal(method.stds, start["stds"])
    assert not any(key.startswith("memory") for key in start)
    predicted = upsample(method.eval().predict(batch.images).logits, batch.labels.shape[-2:]).argmax(1)
    assert (predicted == batch.labels)[batch.labels < 4].float().mean() > 0.6


def test_where_means_alone_are_estimated_they_move_as_ever_and_variances_stay(build, make_batch, make_context):
    methods = [build(mem_correct_only=False, estimate=estimate) for estimate in ("all", "means")]
    for method in methods:
        method.after_step([method.losses(make_batch(4)).observed], make_context())
    both, means = methods
    assert torch.equal(means.means, both.means)
    assert not torch.equal(both.stds, build().stds)
    assert torch.equal(means.stds, build().stds)


def test_only_present_classes_and_only_every_interval_are_refitted(build, make_batch, make_context):
    method, batch = build(mem_correct_only=False), make_batch(4)
    batch.labels[batch.labels == 2] = 255
    for step in range(11):
        before = snapshot(method)
        method.after_step([method.losses(batch).observed], make_context(step=step))
        changed = (method.means != before["means"]).flatten(1).any(1)
        assert changed.tolist() == [step % 5 == 0, step % 5 == 0, False, step % 5 == 0]


def test_a_class_that_left_the_batch_keeps_its_gaussians(build, make_batch, make_context):
    method, batch = build(mem_correct_only=False), make_batch(4)
    method.after_step([method.losses(batch).observed], make_context())
    before = snapshot(method)
    batch.labels[:] = 1
    method.after_step([method.losses(batch).observed], make_context())
    unchanged = [torch.equal(method.stds[c], before["stds"][c]) for c in range(4)]
    assert unchanged == [True, False, True, True]


def test_only_correct_pixels_are_remembered(build, make_batch, make_context):
    method, batch = build(), make_batch(4)
    observed = method.losses(batch).observed
    keys = observed.classes * 3 + observed.responsibilities.argmax(1)
    expected = keys[observed.correct].bincount(minlength=12).clamp(max=20)
    method.after_step([observed], make_context())
    assert 0 < expected.sum() < 12 * 20
    assert torch.equal(method.memory.mass.long(), expected)


class Direct:
    """GMMSeg's estimation as loops in float64: queues, Sinkhorn per class, moments by their definition."""

    def __init__(self, method, capacity):
        self.means, self.stds = method.means.double(), method.stds.double()
        classes, components, _ = self.means.shape
        self.queues = {pair: deque(maxlen=capacity) for pair in itertools.product(range(classes), range(components))}

    def step(self, features, labels, refit, gamma=0.999, push=20):
        features = features.double()
        for label in labels.unique().tolist():
            rows = features[labels == label]
            log_density = torch.stack(
                [
                    torch.distributions.Normal(mean, std).log_prob(rows).sum(1)
                    for mean, std in zip(self.means[label], self.stds[label], strict=True)
                ],
                dim=1,
            )
            plan = (log_density / log_density.abs().max() / 0.05).exp()
            for _ in range(3):
                plan = plan / plan.sum(0) / plan.shape[1]
                plan = plan / plan.sum(1, keepdim=True) / plan.shape[0]
            chosen = plan.argmax(1)
            for component in range(plan.shape[1]):
                mine = rows[chosen == component]
                if len(mine) > push:
                    mine = mine[torch.linspace(0, len(mine) - 1, push).long()]
                self.queues[label, component].extend(mine)
        if refit:
            for (label, component), queue in self.queues.items():
                if not queue or label not in labels:
                    continue
                vectors = torch.stack(list(queue))
                centre = F.normalize(vectors.sum(0), dim=0)
                mean = gamma * self.means[label, component] + (1 - gamma) * centre
                self.means[label, component] = F.normalize(mean, dim=0)
                self.stds[label, component] = (((vectors - centre) ** 2).mean(0) + 0.01).sqrt()


def test_estimation_agrees_with_direct_em(build_plain, make_context):
    constants = {"scale_time_constants": False, "gamma_mean": 0.7, "memory": 50}
    method = build_plain(**constants)
    direct = Direct(method, capacity=50)
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(6, 6, generator=generator)
    for step in range(16):
        # an uneven batch: class 2 is rare and sometimes absent
        kind = torch.multinomial(torch.tensor([5.0, 4, 3, 3, 0.1, 0.02]), 150, True, generator=generator)
        features = F.normalize(centres[kind] + 0.4 * torch.randn(150, 6, generator=generator), dim=1)
        labels = kind // 2
        batch = unit_batch(features, labels)
        method.after_step([method.losses(batch).observed], make_context(step=step))
        direct.step(features, labels, refit=step % 5 == 0, gamma=0.7)
        torch.testing.assert_close(method.means.double(), direct.means, atol=1e-5, rtol=0)
        torch.testing.assert_close(method.stds.double(), direct.stds, atol=1e-5, rtol=0)


@pytest.mark.parametrize("assign", ["hard", "soft"])
def test_a_known_mixture_is_recovered(build_plain, make_context, assign):
    classes, components, dim = 3, 2, 16
    generator = torch.Generator().manual_seed(8)
    truth = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q[: classes * components]
    spreads = 0.02 + 0.12 * torch.rand(classes * components, dim, generator=generator)
    # Soft plans need a lower temperature to become as certain as these components allow.
    method = build_plain(
        classes,
        dim,
        steps=80000,
        assign=assign,
        sinkhorn_eps={"hard": 0.05, "soft": 0.005}[assign],
        ridge=1e-4,
        memory=2000,
        gamma_mean=0.9,
    )

    def draw(n):
        kind = torch.randint(classes * components, (n,), generator=generator)
        noise = spreads[kind] * torch.randn(n, dim, generator=generator)
        return F.normalize(truth[kind] + noise, dim=1), kind

    for step in range(250):
        features, kind = draw(600)
        batch = unit_batch(features, kind // components)
        method.after_step([method.losses(batch).observed], make_context(steps=80000, step=step))

    features, kind = draw(40000)
    for label in range(classes):
        orders = list(itertools.permutations(range(components)))
        centres = truth.view(classes, components, dim)[label]
        best = max(orders, key=lambda order: (method.means[label, list(order)] * centres).sum())
        for position, component in enumerate(best):
            sample = features[kind == label * components + position]
            assert F.cosine_similarity(method.means[label, component], sample.mean(0), dim=0) > 0.99
            expected = (sample.var(0) + 1e-4).sqrt()
            torch.testing.assert_close(method.stds[label, component], expected, rtol=0.2, atol=0.01)


def test_two_ranks_estimate_what_one_rank_would(build_plain, make_context, two_ranks):
    generator = torch.Generator().manual_seed(9)
    features = F.normalize(torch.randn(8, 2, 300, 6, generator=generator), dim=3)
    labels = torch.randint(4, (8, 2, 300), generator=generator)
    labels[labels == 3] = 255
    labels[3, 0] = 1  # one rank lacks classes that the other has
    labels[5, 1] = 254

    def rank(collectives):
        method = methods[collectives.rank]
        method.prepare(make_context(collectives=collectives))
        for step in range(8):
            batch = unit_batch(features[step, collectives.rank], labels[step, collectives.rank])
            method.after_step([method.losses(batch).observed], make_context(step=step, collectives=collectives))
        return snapshot(method)

    # Every rank draws other initial means: the first one's count. Built here, for the generator is global.
    methods = [build_plain(seed=seed, mem_correct_only=True, em_interval=2) for seed in (0, 1)]
    single = build_plain(seed=0, mem_correct_only=True, em_interval=2)
    found = two_ranks(rank)

    for step in range(8):
        halves = []
        for half in range(2):
            batch = unit_batch(features[step, half], labels[step, half])
            halves.append(single.losses(batch).observed)
        single.after_step(halves, make_context(step=step))
    assert (single.memory.mass > 0).all()
    for key, value in single.state_dict().items():
        assert torch.equal(found[0][key], value), key
        assert torch.equal(found[1][key], value), key


def test_a_training_checkpoint_continues_as_if_never_interrupted(build, make_batch, make_context):
    method, batch = build(), make_batch(4)
    train(method, batch, make_context, 7)
    resumed = build(seed=3)
    resumed.load_state_dict(method.state_dict())
    for continued in (method, resumed):
        continued.after_step([continued.losses(batch).observed], make_context(step=10))
    for key, value in method.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_a_final_model_needs_no_memory(build, make_batch, make_context):
    method, batch = build(), make_batch(4)
    train(method, batch, make_context, 7)
    state = method.state_dict()
    assert set(method.training_only) <= set(state)
    final = {key: value for key, value in state.items() if key not in method.training_only}
    loaded = build(seed=3, prepare=False)
    loaded.load_state_dict(final)
    method.eval()
    loaded.eval()
    expected, found = method.predict(batch.images), loaded.predict(batch.images)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.log_density, expected.log_density)


def test_the_memory_follows_the_run_length(build):
    assert build(steps=100).memory.ring.shape == (12, 200, 8)
    assert build(steps=8000).memory.ring.shape == (12, 3200, 8)
