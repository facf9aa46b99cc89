"""Every method honours the contract, and every rule of the contract catches a method that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench import contract, registry
from bench.config import InferenceConfig
from bench.inference import Predictor
from methods.base import Batch, Context, Evidence, Explanation, Method, MethodError, Prediction
from methods.segsort import SegSort
from methods.softmax import Softmax


@pytest.mark.parametrize("name", registry.methods.names())
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_method_honours(name, check, tmp_path):
    check(contract.Subject(registry.methods.get(name), tmp_path))


@pytest.mark.parametrize("name", registry.methods.names())
def test_windows_larger_than_the_image_change_no_prediction(name, tmp_path):
    method = contract.Subject(registry.methods.get(name), tmp_path).trained()
    window = InferenceConfig(mode="slide", window=(64, 64), stride=(48, 48))
    whole, slid = (Predictor(method, config, torch.device("cpu")) for config in (InferenceConfig(), window))
    for size in ((40, 60), (37, 51)):
        image = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        torch.testing.assert_close(slid(image).maps.logits.softmax(1), whole(image).maps.logits.softmax(1))


class WithoutTerms(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        return {}


class WithVectorLoss(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"loss": self.network(batch.images).dense.mean((2, 3)).sum(0)}


class WithDetachedFeatures(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        dense = self.network(batch.images).dense.detach()
        return {"loss": self.classifier(dense).square().mean()}


class WithStateInLosses(Softmax):
    name = "broken"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.register_buffer("seen", torch.zeros(()))

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        self.seen += 1
        return super().losses(batch)


class WithEmptyPromise(Softmax):
    name = "broken"
    without_labels: Mapping[str, object] = {}


class WithIgnoredPixels(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        return {**super().losses(batch), "all": self.classifier(self.network(batch.images).dense).square().mean()}


class WithWrongShape(Softmax):
    name = "broken"

    def predict(self, images: Tensor) -> Prediction:
        return Prediction(super().predict(images).logits[:, 0])


class WithStateInPredict(WithStateInLosses):
    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        return Softmax.losses(self, batch)

    def predict(self, images: Tensor) -> Prediction:
        self.seen += 1
        return super().predict(images)


class WithBatchDependence(Softmax):
    name = "broken"

    def predict(self, images: Tensor) -> Prediction:
        logits = super().predict(images).logits
        return Prediction(logits - logits.amax((0, 2, 3), keepdim=True))


class WithFixedSize(Softmax):
    name = "broken"

    def predict(self, images: Tensor) -> Prediction:
        logits = super().predict(images).logits
        return Prediction(logits.unfold(2, 12, 12).flatten(2).unsqueeze(3))


class WithHiddenState(Softmax):
    name = "broken"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.offset = 0.0

    def finish(self, context: Context) -> None:
        self.offset = torch.arange(len(self.classes)).float().view(1, -1, 1, 1)

    def predict(self, images: Tensor) -> Prediction:
        return Prediction(super().predict(images).logits + self.offset)


class WithHiddenTrainingState(Softmax):
    name = "broken"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.count = 0

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        self.count += 1
        return {n: t * self.count for n, t in super().losses(batch).items()}


class WithUnseededRandomness(Softmax):
    name = "broken"
    generator = torch.Generator()

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.generator.seed()
        nn.init.normal_(self.classifier.weight, generator=self.generator)


class WithRisingLoss(Softmax):
    name = "broken"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.register_buffer("age", torch.ones(()))

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"loss": self.age.clone() * super().losses(batch)["cross_entropy"]}

    def after_step(self, batch: Batch, context: Context) -> None:
        self.age *= 1.5


class WithMisnumberedEvidence(SegSort):
    name = "broken"

    def evidence(self) -> Evidence:
        found = super().evidence()
        return replace(found, segments=found.segments + 1)


class WithRowsInAnyOrder(SegSort):
    name = "broken"

    def explain(self, images: Tensor) -> Explanation:
        found = super().explain(images)
        return replace(found, rows=found.rows.flip(2), cosines=found.cosines.flip(2))


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("losses_are_finite_scalars", WithoutTerms),
        ("losses_are_finite_scalars", WithVectorLoss),
        ("gradients_reach_the_network", WithDetachedFeatures),
        ("losses_do_not_change_state", WithStateInLosses),
        ("ignored_pixels_have_no_influence", WithIgnoredPixels),
        ("without_labels_the_network_still_learns", WithEmptyPromise),
        ("prediction_has_the_contracts_shapes", WithWrongShape),
        ("prediction_does_not_change_state", WithStateInPredict),
        ("prediction_does_not_depend_on_the_batch", WithBatchDependence),
        ("odd_image_sizes_are_predicted", WithFixedSize),
        ("state_dict_round_trip_predicts_the_same", WithHiddenState),
        ("resumed_training_equals_uninterrupted", WithHiddenTrainingState),
        ("training_is_deterministic_under_a_seed", WithUnseededRandomness),
        ("training_lowers_the_loss", WithRisingLoss),
        ("explanations_name_their_evidence", WithMisnumberedEvidence),
        ("explanations_name_their_evidence", WithRowsInAnyOrder),
    ],
)
def test_rule_catches_a_method_that_breaks_it(rule, broken, tmp_path):
    class Local(broken):
        pass

    outcome = dict(contract.check(Local))
    assert outcome[rule.replace("_", " ")] is not None
    assert issubclass(Local, Method)


class Banked(Softmax):
    """Adds to the logits what it found in as many pixels as training images have."""

    name = "banked"
    sized_by_training = ("pixels",)

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.register_buffer("pixels", torch.zeros(0))

    def finish(self, context: Context) -> None:
        self.pixels = torch.cat([batch.labels.flatten().float() for batch in context.images()])

    def predict(self, images: Tensor) -> Prediction:
        prediction = super().predict(images)
        return replace(prediction, logits=prediction.logits + self.pixels.mean())


def test_buffers_that_training_sizes_are_loaded_with_their_size(tmp_path):
    assert {problem for _, problem in contract.check(Banked)} == {None}


def test_buffers_of_another_size_that_are_not_listed_are_named_with_the_remedy(tmp_path):
    class Forgetful(Banked):
        sized_by_training = ()

    outcome = dict(contract.check(Forgetful))["state dict round trip predicts the same"]
    assert "size mismatch for pixels" in outcome
    assert "sized_by_training" in outcome


def test_a_method_without_retrieval_says_so(tmp_path):
    method = contract.Subject(Softmax, tmp_path).build()
    for call in (method.evidence, lambda: method.explain(torch.rand(1, 3, 8, 8))):
        with pytest.raises(MethodError, match=r"softmax does not explain its predictions by retrieval.*segsort"):
            call()
