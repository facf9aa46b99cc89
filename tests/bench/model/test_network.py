import pytest
import torch
from safetensors.torch import save_file

from bench.common.errors import UserError
from bench.config.tables import NetworkConfig
from bench.model import network


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
@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "module.backbone.", "model.module.encoder_q.0."])
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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": {f"module.encoder_q.{n}": t for n, t in state.items()}},
        lambda state: {"model": {"state_dict": {f"backbone.{n}": t for n, t in state.items()}}, "epoch": 3},
        lambda state: {"student": {f"module.backbone.{n}": t for n, t in state.items()}, "epoch": 3},
        lambda state: {"net": {"trunk": state}, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
    ],
    ids=["moco", "model and state_dict", "student", "unknown wrappers"],
)
def test_weights_are_found_under_whatever_wraps_them(fpn, tmp_path, wrap):
    state = {n: t + 1 if t.is_floating_point() else t for n, t in fpn.encoder.state_dict().items()}
    torch.save(wrap(state), tmp_path / "w.pth")
    made = make(encoder_weights=str(tmp_path / "w.pth"))
    assert made.weights_report.loaded == len(state)
    assert not made.weights_report.missing
    assert not made.weights_report.unexpected
    assert all(torch.equal(t, state[n]) for n, t in made.encoder.state_dict().items())


def test_of_two_encoders_in_a_file_the_trained_one_is_taken(fpn, tmp_path):
    own = fpn.encoder.state_dict()
    state = {f"module.encoder_q.{n}": t + 1 for n, t in own.items()}
    state |= {f"module.encoder_k.{n}": t + 2 for n, t in own.items()}
    torch.save(state, tmp_path / "w.pth")
    made = make(encoder_weights=str(tmp_path / "w.pth"))
    name, tensor = next(iter(own.items()))
    assert torch.equal(made.encoder.state_dict()[name], tensor + 1)


def test_weights_of_a_timm_model_load_with_any_prefix(tmp_path):
    own = make(encoder="tu-mobilenetv3_small_050").encoder.state_dict()
    torch.save({f"module.{n.removeprefix('model.')}": t for n, t in own.items()}, tmp_path / "w.pth")
    report = make(encoder="tu-mobilenetv3_small_050", encoder_weights=str(tmp_path / "w.pth")).weights_report
    assert report.loaded == len(own)


@pytest.mark.parametrize(("share", "fits"), [(0.5, True), (0.49, False), (0.01, False)])
def test_weights_that_fit_less_than_half_of_the_encoder_are_refused(fpn, tmp_path, share, fits):
    names = [n for n, _ in fpn.encoder.named_parameters()]
    kept = names[: max(1, round(share * len(names)))]
    torch.save({f"backbone.{n}": fpn.encoder.state_dict()[n] for n in kept}, tmp_path / "w.pth")
    if fits:
        assert make(encoder_weights=str(tmp_path / "w.pth")).weights_report.loaded == len(kept)
        return
    with pytest.raises(UserError, match=f"only {len(kept)} tensors .* {len(names)} parameters") as caught:
        make(encoder_weights=str(tmp_path / "w.pth"))
    assert f"it holds backbone.{kept[0]}" in str(caught.value)
    assert "choose the encoder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_format_of_weights_is_read_from_the_file_not_from_its_name(fpn, tmp_path):
    state = {n: t.contiguous() for n, t in fpn.encoder.state_dict().items()}
    save_file(state, tmp_path / "w.pth")
    torch.save(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert make(encoder_weights=str(tmp_path / name)).weights_report.loaded == len(state)


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
    [
        ({"other.weight": torch.zeros(3)}, "no tensor"),
        (None, "no weights file"),
        (b"junk", "is not a PyTorch or safetensors file"),
        (b"", "is not a PyTorch or safetensors file"),
        (b"PK\x03\x04 cut off", "cannot be read"),
        (b"\x08\0\0\0\0\0\0\0{ cut off", "cannot be read"),
    ],
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


class Trap:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize("content", [torch.nn.Linear(2, 2), {"state_dict": {}, "trap": Trap()}], ids=["model", "trap"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_in_weights_is_refused_with_what_to_save_instead(tmp_path, capsys, content, zipped):
    torch.save(content, tmp_path / "module.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"save it with torch\.save\(model\.state_dict\(\), FILE\)$") as caught:
        make(encoder_weights=str(tmp_path / "module.pth"))
    assert "\n" not in str(caught.value)
    assert "unpickled" not in capsys.readouterr().out


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
