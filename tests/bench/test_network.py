import pytest
import torch
from safetensors.torch import save_file

from bench import network
from bench.config import NetworkConfig
from bench.errors import UserError


def make(**fields):
    return network.SegmentationNetwork(NetworkConfig(**fields)).eval()


@pytest.fixture(scope="module")
def fpn():
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("architecture", sorted(network.architectures()))
def test_every_architecture_yields_dense_features_and_a_pyramid(architecture):
    encoder = "tu-vit_tiny_patch16_224" if architecture == "dpt" else "resnet18"
    made = make(architecture=architecture, encoder=encoder)
    with torch.no_grad():
        features = made(torch.rand(1, 3, 128, 160))
    s = made.stride
    assert features.dense.shape == (1, made.out_channels, -(-128 // s), -(-160 // s))
    for level, channels, stride in zip(features.pyramid, made.pyramid_channels, made.pyramid_strides, strict=True):
        assert level.shape == (1, channels, -(-128 // stride), -(-160 // stride))


def test_decoder_options_reach_the_decoder_and_name_the_network():
    config = NetworkConfig(decoder={"decoder_segmentation_channels": 32})
    assert network.SegmentationNetwork(config).out_channels == 32
    assert config.architecture_label() == "fpn(decoder_segmentation_channels=32)"
    with pytest.raises(UserError, match="did you mean decoder_segmentation_channels"):
        make(decoder={"decoder_segmentation_channel": 32})


def test_timm_encoder_works():
    made = make(encoder="tu-mobilenetv3_small_050")
    assert len(made.pyramid_channels) == 5


@pytest.mark.parametrize("size", [(33, 65), (1, 1), (31, 100)])
def test_any_size_gives_features_of_the_rounded_up_grid(fpn, size):
    with torch.no_grad():
        features = fpn(torch.rand(1, 3, *size))
    assert features.dense.shape[-2:] == (-(-size[0] // 4), -(-size[1] // 4))


def test_images_are_normalised_inside(fpn):
    seen = []
    handle = fpn.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        fpn(torch.tensor(network.IMAGENET_MEAN).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    handle.remove()
    assert seen[0].abs().max() < 1e-6


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["", "encoder.", "module."])
def test_local_weights_load_with_a_report(fpn, tmp_path, suffix, prefix):
    state = {prefix + n: (t + 1).contiguous() for n, t in fpn.encoder.state_dict().items() if t.is_floating_point()}
    state["classifier.weight"] = torch.zeros(3)
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    made = make(encoder_weights=str(path))
    name, tensor = next(iter(fpn.encoder.state_dict().items()))
    assert torch.equal(made.encoder.state_dict()[name], tensor + 1)
    report = made.weights_report
    assert report.loaded == len(state) - 1
    assert not report.missing
    assert not report.mismatched
    assert "went into the encoder" in str(report)


def test_report_names_what_is_missing_and_what_has_another_shape(fpn, tmp_path):
    state = {n: t.contiguous() for n, t in fpn.encoder.state_dict().items() if t.is_floating_point()}
    names = list(state)
    del state[names[0]]
    state[names[1]] = torch.zeros(2, 2)
    save_file(state, tmp_path / "part.safetensors")
    report = make(encoder_weights=str(tmp_path / "part.safetensors")).weights_report
    assert report.missing == (names[0],)
    assert report.mismatched == (names[1],)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"other.weight": torch.zeros(3)}, "no tensor"), (None, "no weights file"), (b"junk", "cannot be read")],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_that_fit_nothing_are_one_sentence(tmp_path, content, message, suffix):
    path = tmp_path / f"w{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    with pytest.raises(UserError, match=message) as caught:
        make(encoder_weights=str(path))
    assert "\n" not in str(caught.value)


def test_pickled_code_in_weights_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UserError, match="cannot be read"):
        make(encoder_weights=str(tmp_path / "module.pth"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"architecture": "fpm"}, ["fpm", "fpn"]),
        ({"encoder": "mobilnet_v2"}, ["mobilnet_v2", "mobilenet_v2"]),
        ({"encoder": "tu-mobilenetv3_smal_050"}, ["mobilenetv3_small_050"]),
        ({"encoder": "mobilenet_v2", "encoder_weights": "imagenot"}, ["imagenot", "imagenet"]),
    ],
)
def test_unknown_names_are_one_sentence_with_near_matches(fields, words):
    with pytest.raises(UserError) as caught:
        make(**fields)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
