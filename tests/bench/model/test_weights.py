"""A finished model as a file."""

import pytest
import torch

from bench.checks import method as contract
from bench.common import files
from bench.common.errors import UserError
from bench.config import tables as config
from bench.model import weights as models
from bench.plugins import registry
from methods.capabilities import BringsNetwork
from methods.softmax import Softmax
from tests.bench.short import build, train


def test_model_file_reproduces_the_predictions_without_training_only_buffers(mini, fabric, tmp_path):
    run_config = build(method="gmmseg")
    method = train(run_config, mini, fabric, tmp_path).method.eval()
    path = tmp_path / models.MODEL
    loaded = models.load_model(type(method), run_config, mini.classes, path, files.file_digest(path))
    image = mini[0].image[None].float() / 255
    with torch.no_grad():
        one, two = method.predict(image), loaded.predict(image)
    assert torch.equal(one.logits, two.logits)
    assert torch.equal(one.log_density, two.log_density)
    from safetensors.torch import load_file

    assert not set(load_file(tmp_path / models.MODEL)) & set(method.training_only)


def test_a_model_of_other_sizes_is_refused_with_the_sizes(mini, fabric, tmp_path):
    run_config = build()
    method = train(run_config, mini, fabric, tmp_path).method
    method.classifier = torch.nn.Conv2d(method.classifier.in_channels, 3, 1)
    digest = models.save_model(method, tmp_path / models.MODEL)
    with pytest.raises(UserError, match=r"size mismatch for classifier.weight.*_load_from_state_dict"):
        models.load_model(type(method), run_config, mini.classes, tmp_path / models.MODEL, digest)


@pytest.mark.parametrize("damage", ["absent", "junk", "other"])
def test_model_that_cannot_be_loaded_is_one_sentence(mini, fabric, tmp_path, damage):
    run_config = build()
    train(run_config, mini, fabric, tmp_path)
    path = tmp_path / models.MODEL
    digest = files.file_digest(path)
    if damage == "absent":
        path.unlink()
    elif damage == "junk":
        path.write_bytes(path.read_bytes()[:50])
    else:
        run_config = build(method="gmmseg")
    with pytest.raises(UserError, match=r"model\.safetensors") as caught:
        models.load_model(registry.methods.get(run_config.method_name), run_config, mini.classes, path, digest)
    assert "\n" not in str(caught.value)


def test_a_method_may_bring_its_own_network_which_tables_name(mini, fabric, tmp_path):
    class Own(BringsNetwork, Softmax):
        name = "own"
        own_network = ("tiny", "three convolutions")

        @classmethod
        def build_network(cls, config):
            return contract.TinyNetwork()

    made = config.build(Own, "toyscapes_mini", "quick", 0)
    assert (made.network.architecture, made.network.encoder) == ("tiny", "three convolutions")
    with pytest.raises(UserError, match=r"own brings its own network, tiny/three convolutions.*network\.encoder"):
        config.build(Own, "toyscapes_mini", "quick", 0, [{"network": {"encoder": "resnet18"}}])
    method = train(build(), mini, fabric, tmp_path, Own).method
    assert isinstance(method.network, contract.TinyNetwork)
