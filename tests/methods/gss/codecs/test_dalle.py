import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from methods.base import MethodError
from methods.gss.codecs import CodecSettings
from methods.gss.codecs.cache import fitted_codec
from methods.gss.codecs.dalle import DalleCodec, make_decoder, make_encoder
from methods.gss.codecs.fitting import seeded

TINY = {"width": 8, "vocabulary": 24, "input_width": 6}


@pytest.fixture
def make_dalle(tiny_classes):
    def make(seed=0, classes=5, **settings):
        with seeded(seed, torch.device("cpu")):
            codec = DalleCodec(CodecSettings(codec="dalle", **settings), tiny_classes(classes), **TINY)
        codec.freeze()
        return codec

    return make


def stored(codec, folder, kind):
    """Settings that name files with the weights of ``codec``."""
    paths = {}
    for part in ("encoder", "decoder"):
        state = getattr(codec, part).state_dict()
        path = folder / f"{part}.{kind}"
        save_file(state, path) if kind == "safetensors" else torch.save(state, path)
        paths[f"dalle_{part}"] = path
    return paths


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_full_size_is_the_published_one():
    with torch.device("meta"):
        encoder, decoder = make_encoder(), make_decoder()
        assert round(parameters(encoder) / 1e6, 1) == 53.8
        assert round(parameters(decoder) / 1e6, 1) == 43.8
        assert encoder(torch.empty(1, 3, 64, 80)).shape == (1, 8192, 8, 10)
        assert decoder(torch.empty(1, 8192, 8, 10)).shape == (1, 6, 64, 80)


def test_names_and_shapes_of_the_state_are_the_published_ones():
    with torch.device("meta"):
        encoder = {name: tuple(tensor.shape) for name, tensor in make_encoder().state_dict().items()}
        decoder = {name: tuple(tensor.shape) for name, tensor in make_decoder().state_dict().items()}
    assert len(encoder) == 2 * (2 + 8 * 4 + 3)
    assert len(decoder) == 2 * (2 + 8 * 4 + 4)
    assert encoder["blocks.input.w"] == (256, 3, 7, 7)
    assert encoder["blocks.group_1.block_1.res_path.conv_1.w"] == (64, 256, 3, 3)
    assert encoder["blocks.group_2.block_1.id_path.w"] == (512, 256, 1, 1)
    assert encoder["blocks.group_4.block_2.res_path.conv_4.w"] == (2048, 512, 1, 1)
    assert encoder["blocks.output.conv.b"] == (8192,)
    assert decoder["blocks.input.w"] == (128, 8192, 1, 1)
    assert decoder["blocks.group_1.block_1.id_path.w"] == (2048, 128, 1, 1)
    assert decoder["blocks.group_1.block_1.res_path.conv_1.w"] == (512, 128, 1, 1)
    assert decoder["blocks.group_4.block_2.res_path.conv_4.w"] == (256, 64, 3, 3)
    assert decoder["blocks.output.conv.w"] == (6, 256, 1, 1)


def layout(head, widths, sides, last):
    """Shapes of the published state by name, written down from the published description."""
    shapes = {"blocks.input.w": head, "blocks.input.b": head[:1], "blocks.output.conv.w": last}
    shapes["blocks.output.conv.b"] = last[:1]
    channels = head[0]
    for group, width in enumerate(widths, 1):
        for block in (1, 2):
            prefix = f"blocks.group_{group}.block_{block}"
            if channels != width:
                shapes[f"{prefix}.id_path.w"], shapes[f"{prefix}.id_path.b"] = (width, channels, 1, 1), (width,)
            path = [channels, width // 4, width // 4, width // 4, width]
            for conv, side in enumerate(sides, 1):
                name = f"{prefix}.res_path.conv_{conv}"
                shapes[f"{name}.w"] = (path[conv], path[conv - 1], side, side)
                shapes[f"{name}.b"] = (path[conv],)
            channels = width
    return shapes


ENCODER = ((256, 3, 7, 7), (256, 512, 1024, 2048), (3, 3, 3, 1), (8192, 2048, 1, 1))
DECODER = ((128, 8192, 1, 1), (2048, 1024, 512, 256), (1, 3, 3, 3), (6, 256, 1, 1))


@pytest.mark.parametrize(("make", "published"), [(make_encoder, ENCODER), (make_decoder, DECODER)])
def test_weights_of_the_published_layout_load(make, published):
    with torch.device("meta"):
        module, state = make(), {name: torch.empty(shape) for name, shape in layout(*published).items()}
    module.load_state_dict(state, assign=True)


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_weights_come_from_local_files(kind, make_dalle, tmp_path, silent):
    source = make_dalle(seed=1)
    codec = make_dalle(**stored(source, tmp_path, kind))
    fitted_codec(codec, lambda: iter(()), 10, tmp_path / "cache", silent)
    labels = torch.randint(5, (2, 13, 18), generator=torch.Generator().manual_seed(0))
    tokens = codec.encode(labels)
    assert torch.equal(tokens, source.encode(labels))
    assert torch.equal(codec.decode(tokens), source.decode(tokens))
    assert codec.fingerprint() == source.fingerprint()
    assert not any(parameter.requires_grad for parameter in codec.parameters())


@pytest.mark.parametrize("enlargement", [1, 2])
def test_the_grid_follows_the_enlargement(enlargement, make_dalle):
    codec = make_dalle(dalle_upsample=enlargement)
    assert codec.stride == 8 // enlargement
    tokens = codec.encode(torch.zeros(2, 13, 18, dtype=torch.int64))
    assert tokens.shape == (2, -(-13 // codec.stride), -(-18 // codec.stride))
    colours = codec.maskige(tokens)
    assert colours.shape == (2, 3, tokens.shape[1] * codec.stride, tokens.shape[2] * codec.stride)
    assert colours.min() >= 0
    assert colours.max() <= 1


def test_looking_codes_up_equals_the_published_one_hot_convolution(make_dalle):
    codec = make_dalle(dalle_upsample=1)
    tokens = torch.randint(24, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    one_hot = F.one_hot(tokens, 24).movedim(3, 1).float()
    logits = codec.decoder(one_hot)[:, :3]
    expected = ((logits.sigmoid() - 0.1) / 0.8).clamp(0, 1)
    torch.testing.assert_close(codec.maskige(tokens), expected)
    torch.testing.assert_close(codec.maskige(one_hot), expected)


def test_residual_paths_are_damped(make_dalle):
    block = make_dalle().encoder.get_submodule("blocks.group_1.block_1")
    maps = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(maps) - maps, block.res_path(maps.clone()) / 64, atol=1e-6, rtol=1e-5)


def test_colours_are_mapped_before_encoding(make_dalle):
    codec = make_dalle(dalle_upsample=1)
    colours = torch.rand(2, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(codec.tokenise(colours), codec.encoder(0.8 * colours + 0.1).argmax(1))


def test_trained_colours_build_on_the_frozen_weights(make_dalle, maps, silent):
    codec = make_dalle(variant="tt", codec_crop=16, codec_batch=2)
    encoder, palette = codec.encoder.state_dict()["blocks.input.w"].clone(), codec.palette.clone()
    codec.fit_colours(maps, 4, silent)
    assert torch.equal(codec.encoder.state_dict()["blocks.input.w"], encoder)
    assert not torch.equal(codec.palette, palette)


def test_missing_files_are_one_sentence(make_dalle, tmp_path, silent):
    with pytest.raises(MethodError, match=r"no file of its encoder is named; set method\.dalle_encoder"):
        make_dalle().fit_latents(lambda: iter(()), 0, silent)
    paths = stored(make_dalle(), tmp_path, "pt")
    paths["dalle_decoder"].unlink()
    with pytest.raises(MethodError, match="there is no decoder at"):
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)


class Payload(nn.Module):
    """Stands for the published files: a module pickled whole."""

    opened = False

    def __setstate__(self, state):
        Payload.opened = True


def test_a_pickled_module_is_never_opened(make_dalle, tmp_path, silent):
    paths = stored(make_dalle(), tmp_path, "pt")
    torch.save(Payload(), paths["dalle_encoder"])
    with pytest.raises(MethodError, match=r"pickled module, which would run code when opened; .* convert it"):
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)
    paths["dalle_encoder"].write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(MethodError):
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)
    assert not Payload.opened


@pytest.mark.parametrize(
    "content",
    [
        b"hello world",
        b"<html></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        bytes(range(256)),
        b"",
    ],
)
def test_a_file_of_something_else_is_no_module_to_be_opened(content, make_dalle, tmp_path, silent):
    paths = stored(make_dalle(), tmp_path, "pt")
    paths["dalle_encoder"].write_bytes(content)
    with pytest.raises(MethodError, match=r"cannot be read .*; download and convert the weights again") as caught:
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_damaged_files_are_one_sentence(kind, make_dalle, tmp_path, silent):
    paths = stored(make_dalle(), tmp_path, kind)
    content = paths["dalle_encoder"].read_bytes()
    paths["dalle_encoder"].write_bytes(content[: len(content) // 2])
    with pytest.raises(MethodError, match="cannot be read") as caught:
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)
    assert "\n" not in str(caught.value)


def test_the_wrong_half_is_refused_by_name(make_dalle, tmp_path, silent):
    paths = stored(make_dalle(), tmp_path, "pt")
    swapped = {"dalle_encoder": paths["dalle_decoder"], "dalle_decoder": paths["dalle_encoder"]}
    with pytest.raises(MethodError, match=r"does not hold the published layout: blocks.input.w is \(6, 24, 1, 1\)"):
        make_dalle(**swapped).fit_latents(lambda: iter(()), 0, silent)
    torch.save([1, 2], paths["dalle_encoder"])
    with pytest.raises(MethodError, match=r"blocks\.input\.w is missing"):
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize(
    "change", [lambda w: w * float("nan"), lambda w: w.to(torch.int8), lambda w: w.to_sparse(), lambda w: w.to("meta")]
)
def test_what_is_not_finite_floats_is_no_weights(change, make_dalle, tmp_path, silent):
    paths = stored(make_dalle(), tmp_path, "pt")
    state = torch.load(paths["dalle_encoder"])
    torch.save({**state, "blocks.input.w": change(state["blocks.input.w"])}, paths["dalle_encoder"])
    with pytest.raises(MethodError, match=r"cannot be read \(blocks\.input\.w does not hold finite"):
        make_dalle(**paths).fit_latents(lambda: iter(()), 0, silent)
