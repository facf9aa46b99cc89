import pytest
import torch
from torch.nn import functional as F

from methods.base import MethodError
from methods.gss.codecs.quality import reconstruction_report
from methods.gss.codecs.vqvae import SETTLED, CodeAverages
from methods.gss.label_maps import fill_void

LONGER = {"codec_lr": 1e-2, "codec_batch": 4, "codec_crop": 16}


def loss_of(codec, maps):
    labels = torch.stack([fill_void(labels) for labels in maps()])
    height, width = labels.shape[1:]
    scores = codec.decode(codec.encode(labels))[:, :, :height, :width]
    return float(F.cross_entropy(scores, labels))


@pytest.mark.parametrize("name", ["vqvae", "dvae"])
def test_fitting_reconstructs_labels(name, make_codec, maps, silent):
    codec = make_codec(name, **LONGER)
    before = loss_of(codec, maps)
    codec.fit_latents(maps, 40, silent)
    assert loss_of(codec, maps) < 0.7 * before


@pytest.mark.parametrize("name", ["vqvae", "dvae"])
def test_a_fitted_codec_normalises_by_what_it_has_seen_not_by_what_is_beside(name, make_codec, maps, silent):
    codec = make_codec(name, variant="tf")
    codec.fit_latents(maps, 3, silent)
    before = {n: t.clone() for n, t in codec.state_dict().items()}
    labels = torch.stack([fill_void(m) for m in maps()])
    assert torch.equal(codec.encode(labels)[:1], codec.encode(labels[:1]))
    codec.fit_colours(maps, 2, silent)
    assert all(torch.equal(t, before[n]) for n, t in codec.state_dict().items() if n != "palette")


@pytest.mark.parametrize("variant", ["ft", "ft-w", "tf", "tt"])
@pytest.mark.parametrize("name", ["vqvae", "dvae"])
def test_a_trained_x_or_inverse_improves_on_a_poor_codec(name, variant, make_codec, maps, silent):
    codec = make_codec(name, variant=variant, **LONGER)
    codec.fit_latents(maps, 6, silent)
    before, latents, palette = loss_of(codec, maps), codec.encoder[0].weight.clone(), codec.palette.clone()
    codec.fit_colours(maps, 24, silent)
    assert loss_of(codec, maps) < before
    assert torch.equal(codec.encoder[0].weight, latents)
    assert torch.equal(codec.palette, palette) == (variant in ("ft", "ft-w"))
    assert codec.palette.min() >= 0
    assert codec.palette.max() <= 1
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_the_inverse_of_ft_w_is_the_methods_when_it_learns_from_predictions(make_codec):
    assert make_codec("vqvae", variant="ft-w", inverse_training="predictions").inverse is None
    assert make_codec("vqvae", variant="ft-w").inverse is not None


@pytest.mark.parametrize("name", ["vqvae", "dvae"])
def test_straight_through_shows_the_chosen_tokens_and_has_a_gradient(name, make_codec, maps, silent):
    codec = make_codec(name)
    codec.fit_latents(maps, 3, silent)
    colours = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shown = codec.straight_through(colours)
    torch.testing.assert_close(shown, codec.render(codec.tokenise(colours)), atol=1e-5, rtol=0)
    shown.square().sum().backward()
    assert colours.grad.abs().sum() > 0


def test_expected_codes_are_decoded(make_codec):
    codec = make_codec("vqvae")
    probabilities = torch.rand(1, codec.vocabulary, 2, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    expected = torch.einsum("bvhw,vd->bdhw", probabilities, codec.codebook)
    torch.testing.assert_close(codec.maskige(probabilities), codec.decoder(expected))


def test_diverging_is_one_sentence(make_codec, maps, silent):
    codec = make_codec("vqvae")
    codec.settings = codec.settings.model_copy(update={"codec_lr": 1e30})  # beyond its bound, to diverge at once
    with pytest.raises(MethodError, match=r"diverged at step .*; lower method.codec_lr"):
        codec.fit_latents(maps, 8, silent)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_colours_of_a_checkpoint_bring_their_own_softness(make_codec):
    stored, here = make_codec("vqvae", palette="grid"), make_codec("vqvae")
    assert here.tau != stored.tau
    here.load_state_dict(stored.state_dict())
    assert here.tau == stored.tau


def test_dead_codes_come_back():
    # All vectors lie near one axis, where one code is; the others look the other way.
    vectors = F.normalize(unit(200, 4) * 0.5 + torch.tensor([2.0, 0, 0, 0]), dim=1)
    codebook = torch.tensor([[1.0, 0, 0, 0]]).repeat(6, 1)
    codebook[1:] *= -1
    averages = CodeAverages(codebook, decay=0.9)
    averages.update(vectors, (vectors @ codebook.t()).argmax(1))
    assert averages.unused.tolist() == [False] + [True] * 5
    kept = codebook[0].clone()
    torch.manual_seed(0)
    averages.restart(vectors, averages.unused)
    assert torch.equal(codebook[0], kept)
    tokens = (vectors @ codebook.t()).argmax(1)
    assert len(tokens.unique()) >= 5
    averages.update(vectors, tokens)
    torch.testing.assert_close(codebook.norm(dim=1), torch.ones(6))


def test_restarts_use_more_of_the_codebook(make_codec, maps, silent, monkeypatch):
    used, restart = {}, CodeAverages.restart

    def only_the_first(self, vectors, codes):
        if codes.all():
            restart(self, vectors, codes)

    for name, method in (("with", restart), ("without", only_the_first)):
        monkeypatch.setattr(CodeAverages, "restart", method)
        codec = make_codec("vqvae", vocabulary=64, restart_every=3, codec_lr=1e-2)
        codec.fit_latents(maps, 60, silent)
        used[name] = reconstruction_report(codec, maps()).used_codes
    assert used["with"] > used["without"]


@pytest.mark.parametrize(("every", "interval"), [(3, 3), (10_000, 5)])
def test_codes_are_restarted_as_often_as_asked_and_20_times_at_least_until_the_fit_settles(
    every, interval, make_codec, maps, silent, monkeypatch
):
    steps = []
    monkeypatch.setattr(CodeAverages, "update", lambda self, vectors, tokens: steps.append(None))
    restarted = []
    monkeypatch.setattr(CodeAverages, "restart", lambda self, vectors, codes: restarted.append(len(steps)))
    make_codec("vqvae", restart_every=every).fit_latents(maps, 100, silent)
    assert len(steps) == 100
    assert restarted == [0, *range(interval, int(SETTLED * 100), interval)]


def test_codes_move_to_the_moving_average_of_their_vectors():
    codebook = unit(3, 5)
    start, vectors, tokens = codebook.clone(), unit(10, 5, seed=1), torch.tensor([0, 0, 0, 2, 2, 0, 2, 2, 2, 2])
    CodeAverages(codebook, decay=0.75).update(vectors, tokens)
    for code in (0, 2):
        expected = F.normalize(0.75 * start[code] + 0.25 * vectors[tokens == code].sum(0), dim=0)
        torch.testing.assert_close(codebook[code], expected)
    assert torch.equal(codebook[1], start[1])
