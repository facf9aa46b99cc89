"""Every method honours the contract, and every rule of the contract catches a method that breaks it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.checks import method as contract
from bench.config.tables import InferenceConfig
from bench.model.predictor import Predictor
from bench.plugins import registry
from methods.base import Batch, Context, Losses, Method, Prediction
from methods.capabilities import Evidence, Explains, Explanation, LearnsWithoutLabels, Relabels, TrainedElsewhere
from methods.segsort import SegSort
from methods.softmax import Softmax


@pytest.mark.parametrize("name", registry.methods.names())
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_method_honours(name, check, tmp_path):
    with contextlib.suppress(contract.NotApplicable):
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

    def losses(self, batch: Batch) -> Losses:
        return Losses({})


class WithVectorLoss(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Losses:
        return Losses({"loss": self.network(batch.images).dense.mean((2, 3)).sum(0)})


class WithDetachedFeatures(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Losses:
        dense = self.network(batch.images).dense.detach()
        return Losses({"loss": self.classifier(dense).square().mean()})


class WithStateInLosses(Softmax):
    name = "broken"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.register_buffer("seen", torch.zeros(()))

    def losses(self, batch: Batch) -> Losses:
        self.seen += 1
        return super().losses(batch)


class WithEmptyPromise(LearnsWithoutLabels, Softmax):
    name = "broken"
    without_labels: Mapping[str, object] = {}


class WithIgnoredPixels(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Losses:
        everywhere = self.classifier(self.network(batch.images).dense).square().mean()
        return Losses({**super().losses(batch).terms, "all": everywhere})


class WithWrongShape(Softmax):
    name = "broken"

    def predict(self, images: Tensor) -> Prediction:
        return Prediction(super().predict(images).logits[:, 0])


class WithADensityOfNoPlace(Softmax):
    name = "broken"

    def predict(self, images: Tensor) -> Prediction:
        logits = super().predict(images).logits
        return Prediction(logits, log_density=logits.mean((2, 3)))


class WithBareTerms(Softmax):
    name = "broken"

    def losses(self, batch: Batch) -> Losses:
        return super().losses(batch).terms


class WithStateInPredict(WithStateInLosses):
    def losses(self, batch: Batch) -> Losses:
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

    def losses(self, batch: Batch) -> Losses:
        self.count += 1
        return Losses({n: t * self.count for n, t in super().losses(batch).terms.items()})


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

    def losses(self, batch: Batch) -> Losses:
        return Losses({"loss": self.age.clone() * super().losses(batch).terms["cross_entropy"]})

    def after_step(self, observed: Sequence[None], context: Context) -> None:
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
        ("losses_are_finite_scalars", WithBareTerms),
        ("gradients_reach_the_network", WithDetachedFeatures),
        ("losses_do_not_change_state", WithStateInLosses),
        ("ignored_pixels_have_no_influence", WithIgnoredPixels),
        ("without_labels_the_network_still_learns", WithEmptyPromise),
        ("prediction_has_the_contracts_shapes", WithWrongShape),
        ("prediction_has_the_contracts_shapes", WithADensityOfNoPlace),
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
    assert isinstance(outcome[rule.replace("_", " ")], str)
    assert issubclass(Local, Method)


class Banked(Softmax):
    """Adds to the logits what it found in as many pixels as training images have."""

    name = "banked"

    def __init__(self, config, network, classes):
        super().__init__(config, network, classes)
        self.register_buffer("pixels", torch.zeros(0))

    def _load_from_state_dict(self, state_dict, prefix, *args):
        self.pixels = torch.empty_like(state_dict[f"{prefix}pixels"])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def finish(self, context: Context) -> None:
        self.pixels = torch.cat([batch.labels.flatten().float() for batch in context.images()])

    def predict(self, images: Tensor) -> Prediction:
        prediction = super().predict(images)
        return replace(prediction, logits=prediction.logits + self.pixels.mean())


def test_buffers_that_training_sizes_are_loaded_with_their_size(tmp_path):
    assert not [problem for _, problem in contract.check(Banked) if isinstance(problem, str)]


def test_buffers_of_another_size_that_are_not_loaded_are_named_with_the_remedy(tmp_path):
    class Forgetful(Banked):
        _load_from_state_dict = Softmax._load_from_state_dict

    outcome = dict(contract.check(Forgetful))["state dict round trip predicts the same"]
    assert "size mismatch for pixels" in outcome
    assert "_load_from_state_dict" in outcome


def test_a_method_that_lacks_what_its_ability_promises_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match=r"Mute inherits from Explains and does not define evidence"):

        class Mute(Explains, Softmax):
            pass

    with pytest.raises(TypeError, match=r"Nameless inherits from Relabels and does not define relabelling"):

        class Nameless(Relabels, Softmax):
            def relabel(self, table, num_classes):
                pass

    with pytest.raises(TypeError, match=r"Homeless inherits from TrainedElsewhere and does not define trained_on"):

        class Homeless(TrainedElsewhere, Softmax):
            pass


def test_rules_that_say_nothing_about_a_method_are_not_counted_as_kept():
    outcome = dict(contract.check(registry.methods.get("majority")))
    silent = {rule for rule, problem in outcome.items() if isinstance(problem, contract.NotApplicable)}
    assert str(outcome["training lowers the loss"]) == "it takes no gradient step"
    assert {"gradients reach the network", "explanations name their evidence"} < silent
    assert outcome["prediction has the contracts shapes"] is None


def test_an_exception_is_reported_with_the_file_and_line_of_the_method():
    class Crashing(Softmax):
        name = "crashing"

        def predict(self, images: Tensor) -> Prediction:
            return Prediction(torch.zeros(3)[self.network(images).dense.shape[0] + 7])

    line = Crashing.predict.__code__.co_firstlineno + 1
    outcome = dict(contract.check(Crashing))["prediction does not change state"]
    assert outcome.startswith("IndexError: ")
    assert outcome.endswith(f"({__file__}, line {line})")
