"""``bench profile``: where a training step and a prediction go."""

import json

import pytest
import torch
from torch import nn

from bench.plugins import registry
from bench.runs import profiling
from methods.base import Batch, Losses
from tests.bench.short import build
from tests.bench.training.processes import on_ranks

SMALL = ("recipe.batch_size=2", "recipe.workers=0", "recipe.augmentation.crop=[64, 64]")
TRAINED = {"data", "network", "head", "loss", "backward", "optimiser", "after_step", "rest"}


def test_time_and_memory_by_part_and_traces(data_root, tmp_path):
    method = registry.methods.get("gmmseg")
    found = profiling.profile(method, build(*SMALL, method="gmmseg"), data_root, "cpu", 2, tmp_path)
    assert found.training.keys() == TRAINED
    assert found.inference.keys() == {"data", "network", "head", "decoding", "rest"}
    assert min(found.training.values()) > 0
    assert found.training["network"] > found.training["head"]
    names = ("training", "inference")
    for name, parts in zip(names, (TRAINED, {*found.inference}), strict=True):
        events = json.loads((tmp_path / f"{name}.json").read_text())["traceEvents"]
        assert parts - {"rest"} <= {event["name"] for event in events}
        assert len([event for event in events if event["name"] == "data"]) == profiling.TRACED


def test_a_run_is_profiled_with_its_model_and_what_takes_no_step_only_predicts(bench, tmp_path):
    arguments = ("--dataset", "toyscapes_mini")
    made = bench("run", "--method", "majority", *arguments, "--protocol", "closed-set")
    assert made.exit_code == 0, made.output
    for named in (["majority", *arguments], ["toyscapes_mini-dense-majority"]):
        outcome = bench("profile", *named, "--steps", "1")
        assert outcome.exit_code == 0, outcome.output
        assert "ms of the prediction of an image" in " ".join(outcome.stdout.replace("┃", " ").split())
        assert "decoding" in outcome.stdout
        assert "training step" not in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("softmax",), "--dataset"),
        (("softmax", "--dataset", "toyscapes_mini", "--set", "recipe.batch_size=2,4"), "one configuration"),
        (("nothing",), "there is no method or run 'nothing'"),
        (("softmaz", "--dataset", "toyscapes_mini"), "did you mean softmax?"),
        (("softmax", "--dataset", "road_anomaly"), "no training split"),
    ],
)
def test_what_cannot_be_profiled_is_one_sentence(bench, arguments, said):
    outcome = bench("profile", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert said in outcome.stderr


def test_memory_is_what_a_step_holds(fabric):
    """Of one convolution: its weights, what they learn from, and the input that the backward pass needs."""

    class One(registry.methods.get("softmax")):
        def __init__(self):
            nn.Module.__init__(self)
            self.network = nn.Module()
            self.network.encoder = nn.Identity()
            self.head = nn.Conv2d(3, 5, 1, bias=False)

        def losses(self, batch):
            return Losses({"mean": self.head(batch.images * 2).mean()})

    images = torch.rand(2, 3, 8, 8)
    batch = Batch(images, torch.zeros(2, 8, 8, dtype=torch.int64))
    held = profiling.memory(One(), batch, build(), fabric)
    assert held == {
        "parameters": 60,
        "buffers": 0,
        "batch": images.nbytes + 8 * 128,
        "gradients": 60,
        "optimiser": 2 * 60 + 4,  # two moments and AdamW's count of steps
        "activations": images.nbytes,  # the doubled images
    }


def test_ranks_are_profiled_together(data_root, tmp_path):
    def work(rank):
        method = registry.methods.get("softmax")
        found = profiling.profile(method, build(*SMALL), data_root, "cpu", 1, tmp_path / "traces")
        return {*found.training}, {*found.cost.bytes_a_step}

    for parts, purposes in on_ranks(2, work, tmp_path):
        assert (parts, purposes) == (TRAINED, {"gradients", "norms", "method"})
    assert sorted(path.name for path in (tmp_path / "traces").iterdir()) == ["inference.json", "training.json"]
