"""GSS as a whole: what it equals, what it refuses, and what void, windows and class maps do to it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.checks import method as contract
from bench.common import files
from bench.config import tables as configuration
from bench.config.tables import InferenceConfig
from bench.model import weights as models
from bench.model.predictor import Predictor
from bench.scoring.protocols.cross_domain import Mapping
from bench.training import loop as training
from bench.training import optimiser as optimisation
from bench.training import ranks
from datasets.base import IGNORE, ClassMap, ClassSet
from datasets.toyscapes_mini import ToyscapesMini
from methods.base import UNLABELLED, Batch, MethodError, upsample
from methods.gss import GSS, GSSConfig, generation
from methods.gss.codecs import cache
from methods.softmax import Softmax
from tests.bench.short import killed_at_a_checkpoint

SMALL = {**GSS.check_config, "hidden": 8, "depth": 1, "window": 4, "codec_steps": 4, "codec_batch": 2, "codec_crop": 16}
CODECS = ("identity", "patch", "colour", "vqvae", "dvae")
CLASSES = contract.CLASSES
OTHER = ClassSet("other", ("a", "b"), ((0, 0, 0), (1, 1, 1)))


def build(**settings) -> GSS:
    torch.manual_seed(0)
    return GSS(GSSConfig(**{**SMALL, **settings}), contract.TinyNetwork(), CLASSES)


@pytest.fixture
def prepared(tmp_path):
    """Built and prepared, with a training set of three small batches."""

    def make(**settings) -> GSS:
        method = build(**settings)
        with torch.no_grad():
            method.prepare(contract.Subject(GSS, tmp_path).context())
        return method.train()

    return make


def batch(seed: int = 1, size: tuple[int, int] = contract.SIZE) -> Batch:
    return contract.make_batch(seed, size=size)


def predict(method: GSS, images: Tensor):
    with torch.no_grad():
        return method.eval().predict(images)


@pytest.mark.parametrize("size", [(48, 64), (45, 61)])
def test_with_the_identity_codec_and_a_linear_head_it_is_softmax(prepared, size):
    gss = prepared(codec="identity", head="linear", token_weight=1.0, decode="soft")
    softmax = Softmax(Softmax.Config(), gss.network, CLASSES)
    with torch.no_grad():
        gss.prior.classifier.weight.copy_(softmax.classifier.weight)
        gss.prior.classifier.bias.copy_(softmax.classifier.bias)
    given = batch(size=size)
    gss.eval(), softmax.eval()
    torch.testing.assert_close(gss.losses(given).terms["token"], softmax.losses(given).terms["cross_entropy"])
    with torch.no_grad():
        expected = upsample(softmax.predict(given.images).logits, size).log_softmax(1)
    torch.testing.assert_close(predict(gss, given.images).logits, expected, atol=1e-5, rtol=1e-5)


def test_with_the_same_weights_the_auxiliary_head_is_softmax_too(prepared):
    gss = prepared(head="linear", auxiliary_weight=1.0).eval()
    softmax = Softmax(Softmax.Config(), gss.network, CLASSES).eval()
    softmax.classifier.load_state_dict(gss.prior.head.auxiliary.state_dict())
    torch.testing.assert_close(gss.losses(batch()).terms["auxiliary"], softmax.losses(batch()).terms["cross_entropy"])


@pytest.mark.parametrize(
    "settings",
    [
        *({"codec": codec} for codec in CODECS),
        {"variant": "ff-r"},
        {"variant": "ft"},
        {"variant": "ft-w", "window_depth": 1},
        {"variant": "tf"},
        {"variant": "tt"},
        {"variant": "ft-w", "window_depth": 1, "inverse_training": "predictions"},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_every_variant_trains_and_improves_in_ten_steps(prepared, settings):
    method = prepared(**settings, dropout=0.0)
    optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(10):
        terms = method.losses(batch(size=(24, 32))).terms
        total = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        values.append(float(total.detach()))
    assert values[-1] < values[0]
    found = predict(method, batch(size=(24, 32)).images)
    torch.testing.assert_close(found.logits.exp().sum(1), torch.ones(2, 24, 32))
    assert {"gss_entropy", "gss_token", "gss_monte_carlo", "gss_auxiliary"} <= found.anomaly.keys()
    assert ("gss_colour" in found.anomaly) == (method.codec.palette is not None)


def test_the_codec_is_frozen_and_no_optimiser_sees_it(prepared):
    method = prepared()
    before = {n: t.clone() for n, t in method.codec.state_dict().items()}
    own = {id(p) for p in method.codec.parameters()}
    groups = optimisation.parameter_groups(method, configuration.OptimiserConfig())
    assert own
    assert not own & {id(p) for group in groups for p in group["params"]}
    torch.stack(list(method.losses(batch()).terms.values())).sum().backward()
    assert all(p.grad is None for p in method.codec.parameters())
    assert not method.codec.training
    assert all(torch.equal(t, before[n]) for n, t in method.codec.state_dict().items())


def test_learning_from_predictions_leaves_a_frozen_encoder_in_eval_mode(prepared):
    method = prepared(variant="ft-w", window_depth=1, inverse_training="predictions")
    method.network.encoder.eval()
    before = {name: module.training for name, module in method.named_modules()}
    method.losses(batch(size=(24, 32)))
    assert {name: module.training for name, module in method.named_modules()} == before
    assert method.prior.head.dropout.training


def test_the_inverse_learns_from_predictions_without_touching_the_prior(prepared):
    method = prepared(variant="ft-w", window_depth=1, inverse_training="predictions")
    fingerprint = method.codec.fingerprint()
    statistics = method.prior.head.perceptron[1].num_batches_tracked.clone()
    method.losses(batch()).terms["inverse"].backward()
    touched = {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched
    assert all(name.startswith("inverse.") for name in touched)
    assert method.prior.head.perceptron[1].num_batches_tracked == statistics + 1
    assert method.codec.fingerprint() == fingerprint


def test_the_inverse_learns_from_what_prediction_would_decode(prepared):
    method = prepared(variant="ft-w", window_depth=1, inverse_training="predictions", inverse_images=2, dropout=0.5)
    seen = []
    method.inverse.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    given = batch()
    method.losses(given)
    assert method.network.training
    assert method.prior.training
    (colours,) = seen
    with torch.no_grad():
        tokens = method.eval().latents(given.images[:2]).latents.hard()
    assert torch.equal(colours, method.codec.maskige(tokens))


def test_a_mostly_void_token_is_ignored_and_the_rest_takes_the_nearest_class(prepared):
    method = prepared(codec="patch")
    labels = torch.ones(1, 8, 8, dtype=torch.int64)
    labels[:, :, 4:] = 2
    labels[0, 0:4, 0:2] = IGNORE  # half of the first token
    labels[0, 4:8, 0:2] = UNLABELLED
    labels[0, 4, 2] = IGNORE  # more than half of the third
    filled, counted = method._target(labels, torch.zeros(1, 4, 2, 2))
    assert counted.tolist() == [[[True, True], [False, True]]]
    assert filled[0, :, :4].eq(1).all()
    assert filled[0, :, 4:].eq(2).all()


def test_after_the_warm_up_void_takes_the_auxiliary_heads_class(prepared):
    method = prepared(codec="patch", fill_after=0.5)
    labels = torch.ones(1, 8, 8, dtype=torch.int64)
    labels[0, 0:4, 0:4] = IGNORE
    labels[0, 4:8, 0:4] = UNLABELLED
    labels[0, 7, 3] = 1  # one labelled pixel is enough now
    says_three = torch.zeros(1, 4, 2, 2)
    says_three[:, 3] = 1
    for step, one_is_enough in ((contract.STEPS // 2 - 1, False), (contract.STEPS // 2, True)):
        method.after_step([], SimpleNamespace(step=step - 1))
        resumed = prepared(codec="patch", fill_after=0.5)
        resumed.load_state_dict(method.state_dict())
        for one in (method, resumed):
            filled, counted = one._target(labels, says_three)
            assert counted.tolist() == [[[False, True], [one_is_enough, True]]]
            assert filled[0, 4, 0] == (3 if one_is_enough else 1)
            assert filled[0, 7, 3] == 1
    never = prepared(codec="patch", fill_after=0.0, pseudo_fill=False)
    assert never._target(labels, says_three).labels[0, 4, 0] == 1


@pytest.mark.parametrize("codec", ["patch", "colour"])
def test_a_mean_over_all_tokens_and_pixels_counts_void_ones_as_zero(prepared, codec):
    """As ``cross_entropy`` of mmsegmentation 0.26 divides, with which the released code was trained."""
    given, losses = batch(), {}
    given.labels[:, :20] = IGNORE
    for loss_mean in ("counted", "all"):
        method = prepared(codec=codec, loss_mean=loss_mean, pseudo_fill=False).eval()
        losses[loss_mean] = method.losses(given).terms
    labelled = given.labels < len(CLASSES)
    cells = F.avg_pool2d(labelled[:, None].double(), method.codec.stride, ceil_mode=True)
    shares = {"token": (cells >= 0.5).double().mean(), "auxiliary": labelled.double().mean()}
    for name, share in shares.items():
        assert share < 0.9
        torch.testing.assert_close(losses["all"][name].double(), losses["counted"][name].double() * share)


def test_the_token_loss_over_all_tokens_is_that_of_mmsegmentation(prepared):
    method = prepared(codec="patch", loss_mean="all", fill_after=0.0).eval()
    given = batch()
    given.labels[:, :20] = IGNORE
    size = tuple(given.labels.shape[1:])
    cells, classes = method.prior(method.network(given.images), size)
    logits = method.prior.outputs(cells, size)
    void = given.labels >= len(CLASSES)
    guessed = F.interpolate(classes.argmax(1)[:, None].float(), scale_factor=4)[:, 0].long()
    tokens = method.codec.encode(torch.where(void, guessed, given.labels))
    some = F.max_pool2d((~void).float()[:, None], method.codec.stride)[:, 0] > 0
    expected = F.cross_entropy(logits, torch.where(some, tokens, 8192), ignore_index=8192, reduction="none").mean()
    found = method.losses(given).terms
    torch.testing.assert_close(found["token"], 0.8 * expected)
    labels = torch.where(void, 255, given.labels)
    pixels = F.cross_entropy(upsample(classes, size), labels, ignore_index=255, reduction="none")
    torch.testing.assert_close(found["auxiliary"], 0.2 * pixels.mean())


def test_points_alone_train_the_prior_once_void_is_filled(prepared):
    given = batch()
    given.labels[:] = UNLABELLED
    given.labels[:, ::16, ::16] = 1
    method = prepared(fill_after=1.0)
    assert method.losses(given).terms["token"] == 0
    filling = prepared(fill_after=0.0)
    assert filling.losses(given).terms["token"] > 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("label", [IGNORE, UNLABELLED])
def test_a_batch_without_any_label_has_zero_losses_with_a_graph(prepared, codec, label):
    given = batch()
    given.labels[:] = label
    for fill_after in (0.0, 1.0):
        terms = prepared(codec=codec, fill_after=fill_after).losses(given).terms
        assert all(float(term.detach()) == 0 for term in terms.values())
        torch.stack(list(terms.values())).sum().backward()


@pytest.mark.parametrize("codec", CODECS)
def test_autocast_changes_losses_little_and_keeps_predictions_in_float32(prepared, codec):
    method = prepared(codec=codec).eval()
    plain = method.losses(batch()).terms
    with torch.autocast("cpu", torch.bfloat16):
        reduced = method.losses(batch()).terms
        found = predict(method, batch().images)
    for name, term in plain.items():
        assert reduced[name].dtype == torch.float32
        torch.testing.assert_close(reduced[name], term, rtol=0.03, atol=0.01)
    assert all(m.dtype == torch.float32 for m in (found.logits, *found.anomaly.values()))


@pytest.mark.parametrize("decode", ["hard", "soft", "monte-carlo"])
def test_overlapping_windows_keep_probabilities(prepared, decode):
    """Not votes: a pixel's posterior is the mean of the windows' posteriors."""
    method = prepared(decode=decode, colour_temperature=0.5).eval()
    pixels = (batch().images[0] * 255).to(torch.uint8)
    inference = InferenceConfig(mode="slide", window=(48, 32), stride=(48, 16))
    posterior = Predictor(method, inference, torch.device("cpu"))(pixels).maps.logits.softmax(1)
    first, second = (predict(method, (pixels / 255)[None, ..., x : x + 32]).logits.exp() for x in (0, 16))
    torch.testing.assert_close(posterior[..., 16:32], (first[..., 16:] + second[..., :16]) / 2)
    torch.testing.assert_close(posterior.sum(1), torch.ones_like(posterior[:, 0]))
    assert ((posterior > 0.05) & (posterior < 0.95)).any(1).float().mean() > 0.2


@pytest.mark.parametrize("mode", ["whole", "slide"])
@pytest.mark.parametrize("decode", ["hard", "soft", "monte-carlo"])
@pytest.mark.parametrize("codec", ["identity", "patch"])
def test_unmapped_classes_never_become_class_zero(prepared, codec, decode, mode):
    """The prior is certain of a class that the target does not have: then there is no class, not the first."""
    method = prepared(codec=codec, decode=decode)
    unmapped = 2
    token = method.codec.encode(torch.full((1, 48, 64), unmapped))[0, 0, 0]
    with torch.no_grad():
        method.prior.classifier.weight.zero_()
        method.prior.classifier.bias.fill_(-500)
        method.prior.classifier.bias[token] = 500
    mapping = Mapping(ClassMap(CLASSES.name, "other", (0, 0, IGNORE, 1)), CLASSES, OTHER)
    inference = InferenceConfig(mode=mode, window=(32, 32), stride=(16, 16))
    prediction = Predictor(method, inference, torch.device("cpu"))((batch().images[0] * 255).to(torch.uint8))
    predicted, mass = mapping.predict(prediction.logits((48, 64)))
    assert predicted.eq(mapping.size).all()
    assert mass.eq(1).all()


def test_probabilities_are_mapped_by_their_sum(prepared):
    method = prepared(codec="identity", head="linear", decode="soft")
    logits = predict(method, batch().images).logits[0]
    mapping = Mapping(ClassMap(CLASSES.name, "other", (0, 0, IGNORE, 1)), CLASSES, OTHER)
    predicted, mass = mapping.predict(logits)
    p = logits.exp()
    assert torch.equal(predicted, torch.stack([p[0] + p[1], p[3]]).argmax(0))
    torch.testing.assert_close(mass, p[2])


@pytest.mark.parametrize("size", [(45, 61), (5, 7), (16, 16)])
@pytest.mark.parametrize("codec", CODECS)
def test_predictions_have_the_size_of_the_image(prepared, codec, size):
    found = predict(prepared(codec=codec), torch.rand(1, 3, *size))
    assert found.logits.shape == (1, 4, *size)
    assert all(torch.isfinite(m).all() for m in found.anomaly.values())


def test_odd_sizes_are_padded_not_stretched(prepared):
    """What the codec can express stays where it is when the picture is cut within a cell."""
    method = prepared(codec="patch").eval()
    labels = torch.randint(4, (1, 12, 16), generator=torch.Generator().manual_seed(0))
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :45, :61]
    found = method.diagnose(torch.rand(1, 3, 45, 61), labels)
    assert torch.equal(found.readings["codec_bound"], labels)


def test_a_diagnosis_compares_the_prediction_with_what_the_codec_makes_of_the_labels(prepared):
    method = prepared(codec="patch", vocabulary=512).eval()
    given = batch()
    valid = given.labels < 4
    with torch.no_grad():
        found = method.diagnose(given.images, given.labels)
    assert found.readings.keys() == {"codec_bound"}
    bound, hard = found.readings["codec_bound"], predict(method, given.images).logits.argmax(1)
    assert bound.shape == given.labels.shape
    assert bound.dtype == torch.int64
    hits, total = found.counts["decoded_accuracy"]
    assert (hits, total) == (int((bound == hard)[valid].sum()), int(valid.sum()))
    right, tokens = found.counts["token_accuracy"]
    assert 0 <= right <= tokens
    assert tokens == int((F.avg_pool2d((~valid).float(), 4) <= 0.5).sum())
    assert (bound == given.labels)[valid].float().mean() > 0.9


def test_a_trained_inverse_is_read_beside_the_nearest_colour(prepared):
    trained = prepared(variant="ft").eval()
    with torch.no_grad():
        found = trained.diagnose(batch().images, batch().labels)
    assert found.readings.keys() == {"codec_bound", "codec_bound_nearest"}
    assert "nearest" in predict(trained, batch().images).readings


def test_a_state_whose_codec_is_not_its_own_is_refused(prepared):
    method = prepared()
    state = {n: t.clone() for n, t in method.state_dict().items()}
    build().load_state_dict(state)
    state["codec.codebook"][0, 0] += 0.5
    with pytest.raises(MethodError, match="was changed or made with other codec settings"):
        build().load_state_dict(state)


def test_a_state_of_another_codec_is_refused_after_prepare(prepared):
    state = prepared(codec_seed=1).state_dict()
    with pytest.raises(MethodError, match="restore the labels"):
        prepared().load_state_dict(state)


def test_a_state_made_with_other_codec_settings_is_refused(prepared):
    method = prepared(codec="patch", codec_seed=3)
    other = build(codec="patch")
    with pytest.raises(MethodError, match="other codec settings"):
        other.load_state_dict(method.state_dict())


def test_the_codec_is_the_same_for_all_seeds_of_a_run(tmp_path):
    fingerprints = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        method = GSS(GSSConfig(**SMALL), contract.TinyNetwork(), CLASSES)
        context = contract.Subject(GSS, tmp_path / str(seed)).context()
        context.seed = seed
        method.prepare(context)
        fingerprints.add(method.facts()["codec_fingerprint"])
    assert len(fingerprints) == 1


@pytest.mark.parametrize(("codec", "settings"), [("patch", {"codec_stride": 2}), ("identity", {"head": "linear"})])
def test_logits_are_never_held_all_at_once_where_tokens_are_finer_than_cells(codec, settings, prepared, monkeypatch):
    method = prepared(codec=codec, token_weight=1.0, dropout=0.0, **settings).eval()
    given = batch()
    size = (given.labels.shape[1], given.labels.shape[2])
    cells, classes = method.prior(method.network(given.images), size)
    target = method._target(given.labels, classes)
    tokens = torch.where(target.counted, method.codec.encode(target.labels), -100)
    expected = F.cross_entropy(method.prior.outputs(cells, size), tokens, ignore_index=-100)
    monkeypatch.setattr(method.prior, "outputs", None)
    torch.testing.assert_close(method.losses(given).terms["token"], expected)


@pytest.mark.parametrize("codec", ["patch", "colour"])
def test_the_second_seed_of_a_grid_measures_no_codec_again(codec, prepared, monkeypatch):
    facts = prepared(codec=codec).facts()
    monkeypatch.setattr(cache, "reconstruction_report", None)
    assert prepared(codec=codec).facts() == facts


def test_colours_have_one_decode_and_one_reading_of_it(prepared):
    method = prepared(codec="colour")
    assert set(predict(method, batch().images).readings) == {"auxiliary"}


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({"window_depth": 1, "variant": "ft-w"}, []),
        ({"window_depth": 1, "inverse_images": 1}, ["window_depth", "inverse_images"]),
        ({"codec": "patch", "vocabulary": 64, "codec_crop": 64}, ["codec_crop"]),
        ({"codec": "identity", "codec_stride": 2, "vocabulary": 64}, ["codec_stride", "vocabulary"]),
        ({"codec": "dvae", "restart_every": 7, "kl_weight": 0.1}, ["restart_every"]),
        ({"codec_stride": 2, "dalle_upsample": 1}, ["dalle_upsample"]),
        ({"variant": "ff-r", "palette": "grid"}, ["palette"]),
        ({"head": "linear", "dropout": 0.5, "hidden": 64}, ["dropout"]),
        ({"codec": "patch", "variant": "ff-r"}, ["variant"]),
        (
            {"codec": "colour", "variant": "ft-w", "inverse_training": "predictions", "codec_steps": 7},
            ["codec_steps"],
        ),
    ],
)
def test_settings_without_effect_are_known(settings, idle):
    assert GSSConfig(**settings).without_effect() == idle


@pytest.mark.parametrize("beyond", [{"codec_seed": 2**64}, {"colour_temperature": 1e-40}])
def test_values_that_no_generator_or_float_can_hold_are_refused(beyond):
    with pytest.raises(ValueError, match=next(iter(beyond))):
        GSSConfig(**beyond)


def test_they_are_told_before_training(tmp_path):
    method = build(codec="patch", window_depth=1)
    context, notes = contract.Subject(GSS, tmp_path).context(), []
    context.note = notes.append
    with torch.no_grad():
        method.prepare(context)
    assert "method.window_depth" in notes[0]


def test_facts_tell_the_bound(prepared):
    facts = prepared(codec="identity").facts()
    assert facts["codec_miou"] == 1
    assert facts["codec_boundary_f"] == 1
    assert 1 < facts["codec_perplexity"] <= 4
    assert prepared(codec="colour").facts()["codec_perplexity"] is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hidden": 10, "heads": 4}, "must divide"),
        ({"decode": "monte-carlo", "samples": 0}, "at least one"),
        ({"inverse_training": "predictions"}, "belongs to variant=ft-w"),
        ({"codec_crop": 50}, "multiple of 8"),
        ({"codec_steps": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        GSSConfig(**settings)


def test_a_run_resumes_to_the_same_weights_and_is_read_back(data_root, tmp_path):
    changes = {"method": dict(SMALL), "network": {"encoder": "resnet18"}}
    run = configuration.build(GSS, "toyscapes_mini", "quick", 0, [changes])
    data = ToyscapesMini(data_root, "train")
    fabric = ranks.make_fabric("cpu", "32")

    def train(name):
        return training.train(GSS, run, data, fabric, tmp_path / name, tmp_path / "cache").method

    straight = train("straight")
    with killed_at_a_checkpoint():
        train("resumed")
    resumed = train("resumed").state_dict()
    assert all(torch.equal(t, resumed[n]) for n, t in straight.state_dict().items())
    path = tmp_path / "resumed" / models.MODEL
    read = models.load_model(GSS, run, data.classes, path, files.file_digest(path))
    images = torch.rand(1, 3, 64, 128)
    one, two = predict(straight, images), predict(read, images)
    assert torch.equal(one.logits, two.logits)
    assert all(torch.equal(one.anomaly[n], two.anomaly[n]) for n in one.anomaly)
    assert read.facts() == straight.facts()


def test_readings_are_the_same_tokens_read_in_other_ways(prepared):
    """Beside the decoding that was asked for stand the other one, the control and, if trained, the nearest colour."""
    image = batch(3).images
    hard, soft = prepared(decode="hard"), prepared(decode="soft")
    soft.load_state_dict(hard.state_dict())
    first, second = predict(hard, image), predict(soft, image)
    assert set(first.readings) == {"soft", "auxiliary"}
    assert set(second.readings) == {"hard", "auxiliary"}
    torch.testing.assert_close(first.logits, second.readings["hard"])
    with torch.no_grad():
        tokens = hard.latents(image).latents.hard()
        assert torch.equal(first.logits.argmax(1), hard.classes_of(tokens, contract.SIZE))
    doubt = first.logits.softmax(1).amax(1)
    assert torch.all(doubt <= second.logits.softmax(1).amax(1) * 1.011), "hard classes, with the soft decode's doubt"
    torch.testing.assert_close(second.logits, first.readings["soft"])
    torch.testing.assert_close(first.readings["auxiliary"], second.readings["auxiliary"])

    trained = prepared(variant="ft-w", inverse_training="predictions", samples=0)
    with torch.no_grad():
        reading = predict(trained, image).readings["nearest"].argmax(1)
        colours = trained.codec.maskige(trained.latents(image).latents.hard())
    cut = colours[..., : contract.SIZE[0], : contract.SIZE[1]]
    assert torch.equal(reading, trained.codec.free_inverse(cut).argmax(1))


def test_sampled_label_maps_follow_the_distribution_over_tokens(prepared):
    method = prepared(codec="identity", head="linear").eval()
    image = batch(5).images[:1]
    drawn = method.sample(image, 400, torch.Generator().manual_seed(0))
    assert drawn.shape == (400, 1, *contract.SIZE)
    posterior = predict(method, image).readings["soft"].softmax(1)[0]
    shares = torch.stack([(drawn[:, 0] == c).float().mean(0) for c in range(len(posterior))])
    assert (shares - posterior).abs().max() < 6 * math.sqrt(0.25 / 400)
    assert torch.equal(drawn, method.sample(image, 400, torch.Generator().manual_seed(0)))


def test_generated_label_maps_need_no_image(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "STEPS", 2)
    method = prepared()
    maps = [torch.randint(0, 3, (24, 32), generator=torch.Generator().manual_seed(s)) for s in range(3)]
    context = contract.Subject(GSS, tmp_path).context()
    context.label_maps = lambda: iter(maps)
    drawn = method.generate(context, 3, torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 24, 32)
    assert drawn.max() < len(contract.CLASSES)
    assert torch.equal(drawn, method.generate(context, 3, torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, method.generate(context, 3, torch.Generator().manual_seed(1)))
