"""A method on an accelerator never mixes devices: its whole life on an emulated one, for which the CPU computes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks import method as contract
from bench.config.tables import InferenceConfig
from bench.model.predictor import Predictor, score_maps
from bench.plugins import registry
from methods.agmm import losses as agmm_losses
from methods.base import IGNORE, Batch, Collectives, Context, Losses, Method, MethodError, Prediction
from methods.capabilities import DrawsLabelMaps, Explains, NotTrained, Relabels
from methods.gss import generation
from methods.softmax import Softmax
from tests.contracts.accelerator import DEVICE, DeviceTensor, accelerator

CPU = torch.device("cpu")
SIZE = (16, 24)
GSS = {
    "hidden": 8,
    "heads": 2,
    "depth": 1,
    "window": 4,
    "codec_steps": 2,
    "codec_batch": 2,
    "codec_crop": 16,
    "samples": 1,
}
SEGSORT = {"clusters": 4, "iterations": 2}
LIVES: list[tuple[str, dict[str, Any]]] = [
    ("majority", {}),
    ("softmax", {}),
    ("gmmseg", {}),
    ("gmmseg", {"preset": "paper", "assign": "soft", "init_noise": True, "var_center": "ema"}),
    ("segsort", {**SEGSORT, "vote": "balanced"}),
    ("segsort", {**SEGSORT, "decode": "dense", "centres": 1, "memory": "frozen_random"}),
    ("segsort", {**SEGSORT, "variant": "unsupervised"}),
    ("agmm", {"dim": 8, "decode": "mixture", "ramp": 0.5}),
    ("agmm", {"dim": 8, "preset": "released"}),
    ("agmm", {"dim": 8, "distance": "diag"}),
    *(("gss", {**GSS, "codec": codec}) for codec in ("identity", "patch", "colour", "vqvae", "dvae")),
    ("gss", {**GSS, "variant": "ft", "pseudo_fill": False, "head": "linear"}),
    ("gss", {**GSS, "variant": "tt", "codec": "dvae", "fill_after": 0.0}),
    ("gss", {**GSS, "variant": "ft-w", "inverse_training": "predictions", "decode": "monte-carlo"}),
]


def batch_on(device: torch.device, seed: int, images: int = 2) -> Batch:
    batch = contract.make_batch(seed, size=SIZE, batch=images)
    assert batch.present is not None
    return Batch(batch.images.to(device), batch.labels.to(device), batch.ids, batch.present.to(device))


def live(method_class: type[Method], settings: Mapping[str, Any], folder: Path, device: torch.device) -> Prediction:
    """A life of two steps, the second without any label, and all that the harness then asks; returns a prediction."""
    torch.manual_seed(0)
    config = method_class.Config.model_validate({**method_class.check_config, **settings})
    method = method_class(config, contract.TinyNetwork(), contract.CLASSES).to(device)

    def context(step: int = 0) -> Context:
        return Context(
            device=device, seed=0, steps=2, step=step, collectives=Collectives(), cache=folder,
            label_maps=lambda: (contract.make_batch(seed, size=SIZE, batch=1).labels[0] for seed in range(2)),
            images=lambda first=0, every=1: (batch_on(device, seed, images=1) for seed in range(first, 2, every)),
        )  # fmt: skip

    with torch.no_grad():
        method.prepare(context())
    if not isinstance(method, NotTrained):
        # Not Adam: it takes steps of full length along gradients that are rounding alone, which no two devices share.
        optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-2)
        for step in range(2):
            batch = batch_on(device, step)
            if step:
                batch.labels.fill_(IGNORE)
            losses = method.train().losses(batch)
            torch.stack(list(losses.terms.values())).sum().backward()
            optimiser.step()
            with torch.no_grad():
                method.after_step([losses.observed], context(step))
    with torch.no_grad():
        method.eval().finish(context(1))
        use(method, context(1))
        state = {name: tensor.cpu() for name, tensor in method.state_dict().items()}
        method.load_state_dict(state)
        return method.predict(batch_on(device, 9).images)


def use(method: Method, context: Context) -> None:
    """What the protocols and the commands ask of a trained method."""
    image = torch.randint(256, (3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    label = contract.make_batch(0, size=SIZE, batch=1).labels[0]
    slide = InferenceConfig(mode="slide", window=(16, 16), stride=(8, 8), flip=True)
    predictor = Predictor(method, slide, context.device)
    found = predictor(image)
    valid = (label != IGNORE).to(context.device)
    assert all(scores.device == context.device for scores in score_maps(found, SIZE, valid, "nll").values())
    predictor.diagnose(image, label)
    images, generator = batch_on(context.device, 8).images, torch.Generator().manual_seed(0)
    if isinstance(method, DrawsLabelMaps):
        method.sample(images, 1, generator)
        with contextlib.suppress(MethodError):  # not every codec has tokens
            method.generate(context, 1, generator)
    if isinstance(method, Explains):
        method.explain(images)
        method.evidence()
    if isinstance(method, Relabels):
        method.relabel([0, 1, -1, 1], 2)
        method.predict(images)
        method.relabel(range(4), 4)


@pytest.fixture(autouse=True)
def _in_little_time(monkeypatch):
    monkeypatch.setattr(generation, "STEPS", 1)
    monkeypatch.setattr(generation, "MAX_CELLS", 16)
    monkeypatch.setattr(agmm_losses, "CHUNK_ELEMENTS", 1 << 12)  # and in several chunks


@pytest.mark.parametrize(
    ("name", "settings"), LIVES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
def test_a_method_on_an_accelerator_never_mixes_devices(name, settings, tmp_path):
    method_class = registry.methods.get(name)
    with accelerator() as device:
        prediction = live(method_class, settings, tmp_path, device)
    maps = {"logits": prediction.logits, **prediction.anomaly, **prediction.readings}
    assert all(isinstance(values, DeviceTensor) for values in maps.values())
    expected = live(method_class, settings, tmp_path, CPU)
    torch.testing.assert_close(prediction.logits.held, expected.logits, atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("name", "settings"), LIVES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
def test_a_method_on_cuda_lives_as_on_the_cpu(name, settings, tmp_path):
    method_class = registry.methods.get(name)
    prediction = live(method_class, settings, tmp_path / "cuda", torch.device("cuda", 0))
    expected = live(method_class, settings, tmp_path / "cpu", CPU)
    assert prediction.logits.device.type == "cuda"
    torch.testing.assert_close(prediction.logits.cpu(), expected.logits, atol=1e-2, rtol=1e-2)


class WithWeightsLeftBehind(Softmax):
    """Class weights that are no buffer."""

    name = "broken"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.weights = torch.ones(len(classes))

    def losses(self, batch: Batch) -> Losses:
        logits = self.classifier(self.network(batch.images).dense)
        return Losses({"loss": (logits.mean((0, 2, 3)) * self.weights).sum()})


class WithATableLeftBehind(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Losses:
        return super().losses(batch)._replace(observed=batch.labels)

    def after_step(self, observed: Sequence[Tensor], context: Context) -> None:
        torch.arange(256)[observed[0]]


class WithNumPy(Softmax):
    name = "broken"

    def predict(self, images: Tensor) -> Prediction:
        images.numpy()
        return super().predict(images)


class WithTheWrongGenerator(Softmax):
    name = "broken"

    def finish(self, context: Context) -> None:
        torch.rand(3, device=context.device, generator=torch.Generator())


@pytest.mark.parametrize(
    "broken", [WithWeightsLeftBehind, WithATableLeftBehind, WithNumPy, WithTheWrongGenerator], ids=lambda c: c.__name__
)
def test_a_method_that_does_is_caught(broken, tmp_path):
    live(broken, {}, tmp_path, CPU)
    with accelerator() as device, pytest.raises(RuntimeError, match=r"mixes|generator|numpy"):
        live(broken, {}, tmp_path, device)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: torch.ones(3).add_(x),
        lambda x: torch.zeros(()).add_(x.sum()),
        lambda x: torch.where(x > 0, x, torch.ones(3)),
        lambda x: x.index_add(0, torch.zeros(3, dtype=torch.int64), x),
        lambda x: x.scatter(0, torch.zeros(1, dtype=torch.int64), 1.0),
        lambda x: torch.ones(3)[x.long()],
        lambda x: x.index_put((x.long(),), torch.ones(3)),
        lambda x: x.normal_(generator=torch.Generator()),
    ],
)
def test_the_emulated_device_refuses_what_cuda_refuses(mistake):
    with accelerator() as device, pytest.raises(RuntimeError, match="CPU"):
        mistake(torch.zeros(3, device=device))


def test_the_emulated_device_takes_what_cuda_takes():
    with accelerator() as device:
        x = torch.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
        y = torch.where(x > 1, x, 0) * torch.tensor(2.0) + x[torch.tensor([2, 1, 0])]
        assert y.device == DEVICE
        y.square().sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [14.0, 36.0, 34.0]
        view = y.detach()[1:]
        view += 1
        assert y.tolist() == [3.0, 7.0, 8.0]
        assert y.detach().cpu().numpy().sum() == 18
    assert type(torch.zeros(1)) is Tensor
