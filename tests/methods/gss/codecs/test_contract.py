"""What holds for every codec that is fitted here."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.base import MethodError
from methods.gss.codecs import CodecSettings, build_codec
from methods.gss.label_maps import fill_void, pad_to_cells

TOKENS = ("identity", "patch", "vqvae", "dvae")
ALL = (*TOKENS, "colour")


def labels_of(size=(13, 18), classes=5, images=2):
    return torch.randint(classes, (images, *size), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TOKENS)
def test_certain_probabilities_decode_like_tokens(name, make_codec, maps, silent):
    codec = make_codec(name)
    codec.fit_latents(maps, 3, silent)
    tokens = codec.encode(labels_of())
    certain = F.one_hot(tokens, codec.vocabulary).movedim(3, 1).float()
    exact = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(codec.decode(certain), codec.decode(tokens), **exact)
    if codec.palette is not None:
        torch.testing.assert_close(codec.maskige(certain), codec.maskige(tokens), **exact)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_and_what_they_decode_to_depend_on_what_is_near_alone(name, make_codec, maps, silent):
    codec = make_codec(name)
    codec.fit_latents(maps, 3, silent)
    labels = labels_of((16, 160))
    changed = labels.clone()
    changed[:, :, 120:] = 0
    near = 40 // codec.stride
    tokens = codec.encode(labels)
    assert torch.equal(tokens[..., :near], codec.encode(changed)[..., :near])
    other = tokens.clone()
    other[..., 3 * near :] = 0
    torch.testing.assert_close(codec.decode(tokens)[..., :40], codec.decode(other)[..., :40])


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("size", [(1, 1), (16, 24), (13, 18)])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_shapes_follow_the_stride_and_odd_sizes_are_padded(name, size, stride, make_codec):
    codec = make_codec(name, codec_stride=stride)
    cell = 1 if name == "identity" else stride
    assert codec.stride == cell
    labels = labels_of(size)
    tokens = codec.encode(labels)
    height, width = -(-size[0] // cell), -(-size[1] // cell)
    assert tokens.shape == (2, height, width)
    assert tokens.dtype == torch.int64
    assert tokens.max() < codec.vocabulary
    assert torch.equal(tokens, codec.encode(pad_to_cells(labels, cell)))
    scores, colours = codec.decode_with_colours(tokens)
    assert scores.shape == (2, 5, height * cell, width * cell)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, codec.decode(tokens))
    if colours is None:
        assert codec.maskige(tokens) is None
    else:
        assert colours.shape == (2, 3, height * cell, width * cell)
        assert colours.min() >= 0
        assert colours.max() <= 1
        assert torch.equal(colours, codec.maskige(tokens))


@pytest.mark.parametrize("name", ["identity", "patch", "vqvae", "dvae"])
def test_decoding_is_differentiable_in_probabilities(name, make_codec):
    codec = make_codec(name)
    probabilities = torch.rand(1, codec.vocabulary, 3, 4).softmax(1).requires_grad_()
    F.cross_entropy(codec.decode(probabilities), torch.zeros(1, 3 * codec.stride, 4 * codec.stride).long()).backward()
    assert torch.isfinite(probabilities.grad).all()
    assert probabilities.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ALL)
def test_everything_is_frozen_and_repeats_without_touching_the_global_generator(name, make_codec, maps, silent):
    def fitted():
        codec = make_codec(name)
        codec.fit_latents(maps, 4, silent)
        return codec

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = fitted()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert one.fingerprint() == fitted().fingerprint()
    assert not any(parameter.requires_grad for parameter in one.parameters())
    assert all(parameter.grad is None for parameter in one.parameters())


@pytest.mark.parametrize("name", ["vqvae", "dvae", "patch"])
def test_the_fingerprint_tells_weights_palette_and_settings(name, make_codec, maps, silent):
    plain = make_codec(name)
    assert plain.fingerprint() != make_codec(name, code_decay=0.5).fingerprint()
    loaded = make_codec(name)
    plain.fit_latents(maps, 4, silent)
    assert plain.fingerprint() != loaded.fingerprint()
    loaded.load_state_dict(plain.state_dict())
    assert plain.fingerprint() == loaded.fingerprint()
    if name != "patch":
        assert plain.fingerprint() != make_codec(name, palette="random").fingerprint()


def test_the_fingerprint_does_not_tell_where_files_lie(make_codec):
    one, other = make_codec("vqvae", dalle_encoder="/a/enc.pt"), make_codec("vqvae", dalle_encoder="/b/enc.pt")
    assert one.fingerprint() == other.fingerprint()


def test_fitting_takes_the_codec_seed(make_codec, maps, silent):
    codecs = [make_codec("vqvae", codec_seed=seed, palette="dataset") for seed in (0, 1)]
    for codec in codecs:
        codec.fit_latents(maps, 2, silent)
    assert not torch.equal(codecs[0].codebook, codecs[1].codebook)


@pytest.mark.parametrize("name", ["vqvae", "dvae"])
def test_labels_without_a_class_are_one_sentence(name, make_codec, silent):
    with pytest.raises(MethodError, match="no labelled training pixel"):
        make_codec(name).fit_latents(lambda: iter([torch.full((8, 8), 255)]), 2, silent)


@pytest.mark.parametrize("name", ["identity", "patch", "colour"])
@pytest.mark.parametrize("variant", ["ft", "ft-w", "tf", "tt"])
def test_codecs_without_trainable_colours_say_so(name, variant, make_codec):
    with pytest.raises(MethodError, match=f"codec={name} leaves nothing for variant={variant} to learn"):
        make_codec(name, variant=variant)


def test_colour_regression_may_learn_from_predictions(make_codec):
    assert make_codec("colour", variant="ft-w", inverse_training="predictions").continuous


def test_identity_is_exact_either_way(make_codec):
    codec, labels = make_codec("identity"), labels_of()
    assert codec.vocabulary == 5
    assert torch.equal(codec.decode(codec.encode(labels)).argmax(1), labels)
    probabilities = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    torch.testing.assert_close(codec.decode(probabilities), probabilities.log())
    torch.testing.assert_close(codec.decode(probabilities).softmax(1), probabilities)


def test_colour_regression_decodes_its_own_targets(make_codec):
    codec = make_codec("colour")
    labels = torch.arange(6).view(1, 2, 3).remainder(5).repeat_interleave(4, 1).repeat_interleave(4, 2)
    targets = codec.targets(labels[:, :7, :10])
    assert torch.equal(targets, codec.palette[labels[:, ::4, ::4]].permute(0, 3, 1, 2))
    scores, colours = codec.decode_with_colours(targets)
    assert torch.equal(scores[:, :, 2::4, 2::4].argmax(1), labels[:, ::4, ::4])
    assert torch.equal(colours, codec.palette[labels].permute(0, 3, 1, 2))
    with pytest.raises(MethodError, match="no tokens"):
        codec.encode(labels)


def test_encoding_is_the_same_under_autocast(make_codec, maps):
    codec = make_codec("vqvae")
    labels = torch.stack([fill_void(labels) for labels in maps()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = codec.encode(labels)
        scores = codec.decode(tokens)
    assert torch.equal(tokens, codec.encode(labels))
    assert torch.equal(scores, codec.decode(tokens))


@pytest.mark.parametrize("name", ["vqvae", "dvae"])
def test_convolutions_of_a_codec_are_not_rounded_to_tf32(name, make_codec):
    codec = make_codec(name, variant="ft")
    seen = []
    for part in codec.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    allowed = torch.backends.cudnn.allow_tf32
    codec.decode(codec.encode(labels_of()))
    assert allowed, "the default, without which this test shows nothing"
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_steps_of_a_fit_follow_the_run():
    settings = CodecSettings()
    assert settings.resolved_steps(450) == 900
    assert settings.resolved_steps(80_000) == 20_000
    assert CodecSettings(codec_steps=7).resolved_steps(450) == 7


def test_a_random_palette_is_a_variant(tiny_classes):
    free = build_codec(CodecSettings(codec_width=8, vocabulary=8), tiny_classes(6))
    random = build_codec(CodecSettings(codec_width=8, vocabulary=8, variant="ff-r"), tiny_classes(6))
    assert not torch.equal(free.palette, random.palette)


@pytest.mark.parametrize("name", ["identity", "patch"])
def test_impossible_classes_have_probability_zero(name, make_codec):
    codec = make_codec(name)
    tokens = codec.encode(torch.zeros(1, 8, 8, dtype=torch.int64))
    certain = F.one_hot(tokens, codec.vocabulary).movedim(3, 1).float().requires_grad_()
    for scores in (codec.decode(tokens), codec.decode(certain)):
        assert torch.isfinite(scores).all()
        assert not scores.softmax(1)[:, 1:].any()
    F.cross_entropy(codec.decode(certain), torch.ones(1, 8, 8, dtype=torch.int64)).backward()
    assert torch.isfinite(certain.grad).all()
