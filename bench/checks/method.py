"""``bench check``: the rules of the method contract, each a check by name, run on any method.

The checks use a small real network and labels that need no data set, so a plugin is proven in seconds.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common.errors import UserError
from bench.common.labels import IGNORE, UNLABELLED
from bench.config import tables as configuration
from bench.config.tables import InferenceConfig
from bench.model.network import PredictingNetwork
from bench.model.predictor import Predictor
from bench.plugins import registry
from datasets.base import ClassSet
from methods.base import Batch, Collectives, Context, Features, Losses, Method, Network, Prediction
from methods.capabilities import (
    BringsNetwork,
    Explains,
    LearnsWithoutLabels,
    NotTrained,
    ReadsPredictions,
    Relabels,
    TrainedElsewhere,
)

CLASSES = ClassSet(
    "contract", ("sky", "road", "tree", "car"), ((70, 130, 180), (128, 64, 128), (107, 142, 35), (0, 0, 142))
)
SIZE = (48, 64)
STEPS = 6


class ContractViolation(AssertionError):
    """A rule that the method breaks."""


def require(condition: bool, problem: str) -> None:
    """Raises ContractViolation."""
    if not condition:
        raise ContractViolation(problem)


class NotApplicable(Exception):
    """Why a rule says nothing about the method."""


class TinyNetwork(Network):
    """Three convolutions down to stride 4 with a pyramid of four levels, as heads expect of a real network."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU())
                for i, o in ((3, 8), (8, 16), (16, 16), (16, 16), (16, 16))
            )
        )
        self.decoder = nn.Conv2d(16, 16, 3, padding=1)
        self.out_channels, self.stride = 16, 4
        self.pyramid_channels, self.pyramid_strides = (8, 16, 16, 16, 16), (2, 4, 8, 16, 32)

    def forward(self, images: Tensor) -> Features:
        """Features of (B, 3, H, W); sizes round up, as in the real network."""
        levels, x = [], images - 0.5
        for stage in self.encoder.children():
            x = stage(x)
            levels.append(x)
        return Features(F.relu(self.decoder(levels[1])), tuple(levels))


def make_batch(seed: int, size: tuple[int, int] = SIZE, batch: int = 2, classes: ClassSet = CLASSES) -> Batch:
    """Images with a colour for each class, with void and unlabelled pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(len(classes), (batch, 1, 3, 4), generator=generator).float()
    labels = F.interpolate(coarse, size=size, mode="nearest")[:, 0].long()
    colours = torch.tensor(classes.colours).float() / 255
    noise = 0.1 * torch.randn(batch, 3, *size, generator=generator)
    images = (colours[labels].permute(0, 3, 1, 2) + noise).clamp(0, 1)
    labels[:, :4] = IGNORE
    labels[:, :, -6:] = UNLABELLED
    present = torch.stack([(labels == c).flatten(1).any(1) for c in range(len(classes))], 1)
    return Batch(images, labels, tuple(f"{seed}-{i}" for i in range(batch)), present)


class Subject:
    """A method under check: how to build and train it, with the harness's own calls.

    It has four classes, or those of the data set that a checkpoint from elsewhere was trained on.
    """

    def __init__(
        self, method_class: type[Method], folder: Path, settings: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.method_class, self.folder = method_class, folder
        self.settings = {**method_class.check_config, **settings}
        self.config()
        self.classes = CLASSES
        if issubclass(method_class, TrainedElsewhere):
            self.classes = registry.datasets.get(method_class.trained_on).classes

    def build(self, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})) -> Method:
        """A new method on a tiny network, or on its own."""
        torch.manual_seed(seed)
        config = self.config(settings)
        if issubclass(self.method_class, BringsNetwork):
            return self.method_class(config, self.method_class.build_network(config), self.classes)
        network: Network = TinyNetwork()
        if issubclass(self.method_class, ReadsPredictions):
            softmax = registry.methods.get("softmax")
            network = PredictingNetwork(softmax(softmax.Config(), network, self.classes))
        return self.method_class(config, network, self.classes)

    def config(self, settings: Mapping[str, Any] = MappingProxyType({})) -> Any:
        """The method's configuration. Raises UserError for settings that it does not have."""
        table = {**self.settings, **settings}
        return configuration.validate(self.method_class.Config, table, "method", f" of {self.method_class.name}")

    def batch(self, seed: int, size: tuple[int, int] = SIZE, batch: int = 2) -> Batch:
        """A batch in the subject's classes."""
        return make_batch(seed, size, batch, self.classes)

    def require_training(self) -> None:
        """Raises NotApplicable for a method that takes no gradient step."""
        if issubclass(self.method_class, NotTrained):
            raise NotApplicable("it takes no gradient step")

    def context(self, step: int = 0) -> Context:
        """A context with three small batches as its training set."""
        batches = [self.batch(100 + i, batch=1) for i in range(3)]
        return Context(
            device=torch.device("cpu"), seed=0, steps=STEPS, step=step, collectives=Collectives(), cache=self.folder,
            label_maps=lambda: (b.labels[0] for b in batches),
            images=lambda first=0, every=1: iter(copy.deepcopy(batches[first::every])),
        )  # fmt: skip

    def prepared(self, seed: int = 0) -> Method:
        """Built and prepared for training."""
        method = self.build(seed)
        with torch.no_grad():
            method.prepare(self.context())
        return method.train()

    def steps(self, method: Method, first: int, last: int) -> Method:
        """Optimiser steps ``first``..``last`` - 1."""
        if issubclass(self.method_class, NotTrained):
            return method
        optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
        for step in range(first, last):
            torch.manual_seed(step)
            self.step(method, optimiser, self.batch(step), step)
        return method

    def step(self, method: Method, optimiser: torch.optim.Optimizer, batch: Batch, step: int) -> float:
        """One optimiser step on ``batch``; its loss."""
        losses = method.losses(batch)
        total = sum(losses.terms.values(), torch.zeros(()))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        with torch.no_grad():
            method.after_step([losses.observed], self.context(step))
        return float(total.detach())

    def trained(self, seed: int = 0) -> Method:
        """Trained for a few steps and finished, in ``eval`` mode."""
        method = self.steps(self.prepared(seed), 0, STEPS).eval()
        with torch.no_grad():
            method.finish(self.context(STEPS - 1))
        return method


def _predict(method: Method, images: Tensor) -> Prediction:
    with torch.no_grad():
        return method.predict(images)


def _maps(prediction: Prediction) -> dict[str, Tensor]:
    readings = {f"reading {name}": map_ for name, map_ in prediction.readings.items()}
    maps = {"logits": prediction.logits, **prediction.anomaly, **readings}
    return maps if prediction.log_density is None else {**maps, "log_density": prediction.log_density}


def check_losses_are_finite_scalars(subject: Subject) -> None:
    """Losses are named, finite scalars."""
    subject.require_training()
    losses = subject.prepared().losses(subject.batch(1))
    require(isinstance(losses, Losses), f"losses returned a {type(losses).__name__}, not Losses(terms) of methods.base")
    terms = losses.terms
    require(bool(terms), "losses returned no term; inherit from NotTrained of methods.capabilities without any")
    for name, term in terms.items():
        require(isinstance(term, Tensor) and term.ndim == 0, f"loss term {name} is not a scalar tensor")
        require(bool(torch.isfinite(term)), f"loss term {name} is {float(term.detach())}")


def check_gradients_reach_the_network(subject: Subject) -> None:
    """Back-propagation reaches encoder and decoder with finite gradients."""
    subject.require_training()
    method = subject.prepared()
    sum(method.losses(subject.batch(1)).terms.values(), torch.zeros(())).backward()
    for part in ("encoder", "decoder"):
        parameters = list(getattr(method.network, part).parameters())
        if isinstance(method, BringsNetwork) and not parameters:  # which need not be divided into these two
            part, parameters = "network", list(method.network.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        require(any(bool(g.abs().sum() > 0) for g in gradients), f"no gradient reaches the {part}")
        require(all(bool(torch.isfinite(g).all()) for g in gradients), f"a gradient of the {part} is not finite")


def check_losses_do_not_change_state(subject: Subject) -> None:
    """``losses`` leaves no trace but batch-norm statistics: online estimation belongs into ``after_step``."""
    subject.require_training()
    method = subject.prepared()
    norms = {
        f"{n}.{k}" for n, m in method.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        for k in ("running_mean", "running_var", "num_batches_tracked")
    }  # fmt: skip
    before = {n: t.clone() for n, t in method.state_dict().items()}
    method.losses(subject.batch(1))
    changed = [n for n, t in method.state_dict().items() if n not in norms and not torch.equal(t, before[n])]
    require(not changed, f"losses changed {', '.join(changed[:3])}; move the update to after_step")


def check_ignored_pixels_have_no_influence(subject: Subject) -> None:
    """What images would need to be at ignored pixels cannot matter: only their labels are changed here."""
    subject.require_training()
    void = torch.full((2, *SIZE), IGNORE)
    batch = replace(subject.batch(1), labels=void, present=torch.zeros(2, len(subject.classes), dtype=torch.bool))
    terms = subject.prepared().losses(batch).terms
    for name, term in terms.items():
        require(
            bool(torch.isfinite(term)),
            f"loss term {name} is {float(term.detach())} for a batch without labelled pixels",
        )
    labelled = subject.batch(1)
    half = labelled.labels.clone()
    half[1] = IGNORE
    torch.manual_seed(0)
    one = subject.prepared().eval().losses(replace(labelled, labels=half)).terms
    other = half.clone()
    other[1] = IGNORE
    torch.manual_seed(0)
    changed = labelled.images.clone()
    changed[1] = torch.rand(changed[1].shape, generator=torch.Generator().manual_seed(3))
    two = subject.prepared().eval().losses(replace(labelled, images=changed, labels=other)).terms
    for name in one:
        require(
            bool(torch.isclose(one[name], two[name], rtol=1e-4, atol=1e-6)),
            f"loss term {name} depends on an image without any labelled pixel",
        )


def check_without_labels_the_network_still_learns(subject: Subject) -> None:
    """Under the settings of ``without_labels``, images alone send a finite gradient to the encoder."""
    if not issubclass(subject.method_class, LearnsWithoutLabels):
        raise NotApplicable("it learns from labels")
    method = subject.build(settings=subject.method_class.without_labels)
    with torch.no_grad():
        method.prepare(subject.context())
    batch = subject.batch(1)
    blank = torch.where(batch.labels == IGNORE, IGNORE, UNLABELLED)
    batch = replace(batch, labels=blank, present=torch.zeros(2, len(subject.classes), dtype=torch.bool))
    sum(method.train().losses(batch).terms.values(), torch.zeros(())).backward()
    gradients = [p.grad for p in method.network.encoder.parameters() if p.grad is not None]
    require(any(bool(g.abs().sum() > 0) for g in gradients), "no gradient reaches the encoder without labels")
    require(all(bool(torch.isfinite(g).all()) for g in gradients), "a gradient without labels is not finite")


def check_prediction_has_the_contracts_shapes(subject: Subject) -> None:
    """Maps are finite float32 of the stated shapes."""
    prediction = _predict(subject.trained(), subject.batch(7).images)
    require(prediction.logits.ndim == 4, f"logits are {tuple(prediction.logits.shape)}, not (B, C, h, w)")
    require(prediction.logits.shape[:2] == (2, len(subject.classes)), f"logits are {tuple(prediction.logits.shape)}")
    density = prediction.log_density
    if density is not None:
        stated = density.ndim == 4 and density.shape[:2] == (2, len(subject.classes))
        require(stated, f"log_density is {tuple(density.shape)}, not (B, C, h, w)")
    for name, map_ in prediction.anomaly.items():
        require(map_.ndim == 3 and map_.shape[0] == 2, f"anomaly map {name} is {tuple(map_.shape)}, not (B, h, w)")
    for name, map_ in prediction.readings.items():
        stated = map_.ndim == 4 and map_.shape[:2] == (2, len(subject.classes))
        require(stated and name != "", f"reading {name!r} is {tuple(map_.shape)}, not (B, C, h, w) with a name")
    for name, map_ in _maps(prediction).items():
        require(map_.dtype == torch.float32, f"{name} is {map_.dtype}, not float32")
        require(bool(torch.isfinite(map_).all()), f"{name} is not finite")


def check_prediction_does_not_change_state(subject: Subject) -> None:
    """Predicting twice gives the same maps and leaves the state as it was."""
    method = subject.trained()
    before = {n: t.clone() for n, t in method.state_dict().items()}
    images = subject.batch(7).images
    first, second = _maps(_predict(method, images)), _maps(_predict(method, images))
    require(all(torch.equal(first[n], second[n]) for n in first), "two predictions of the same image differ")
    changed = [n for n, t in method.state_dict().items() if not torch.equal(t, before[n])]
    require(not changed, f"predict changed {', '.join(changed[:3])}")


def check_prediction_does_not_depend_on_the_batch(subject: Subject) -> None:
    """An image is predicted alike alone and beside another."""
    method = subject.trained()
    images = subject.batch(7).images
    together, alone = _maps(_predict(method, images)), _maps(_predict(method, images[:1]))
    for name in together:
        close = torch.allclose(together[name][:1], alone[name], rtol=1e-3, atol=1e-4)
        require(close, f"{name} of an image depends on what else is in the batch")


def check_odd_image_sizes_are_predicted(subject: Subject) -> None:
    """Sizes that no stride divides, narrow and tiny images, through the harness's own inference."""
    predictor = Predictor(subject.trained(), InferenceConfig(), torch.device("cpu"))
    for size in ((45, 61), (33, 97), (17, 64), (5, 7)):
        image = (subject.batch(9, size=size, batch=1).images[0] * 255).to(torch.uint8)
        logits = predictor(image).logits(size)
        require(
            logits.shape == (len(subject.classes), *size), f"an image of {size} is predicted as {tuple(logits.shape)}"
        )
        require(bool(torch.isfinite(logits).all()), f"logits of an image of {size} are not finite")


def check_relabelling_is_undone_by_the_identity(subject: Subject) -> None:
    """A method that can be relabelled predicts other classes, and its own again afterwards."""
    if not issubclass(subject.method_class, Relabels):
        raise NotApplicable("it cannot be relabelled")
    method = subject.trained()
    assert isinstance(method, Relabels)
    images = subject.batch(7).images
    before = _predict(method, images).logits
    method.relabel([1, *[0] * (len(subject.classes) - 1)], 2)
    other = _predict(method, images).logits
    stated = other.ndim == 4 and other.shape[1] == 2
    require(stated, f"relabelled to 2 classes, logits are {tuple(other.shape)}, not (B, 2, h, w)")
    method.relabel(range(len(subject.classes)), len(subject.classes))
    require(torch.equal(before, _predict(method, images).logits), "relabelling changed the method for good")


def check_state_dict_round_trip_predicts_the_same(subject: Subject) -> None:
    """A new method with the loaded final state predicts the same: everything learned is in the state."""
    method = subject.trained()
    final = {n: t.clone() for n, t in method.state_dict().items() if n not in set(method.training_only)}
    fresh = subject.build(seed=1)
    try:
        missing, unexpected = fresh.load_state_dict(final, strict=False)
    except RuntimeError as error:
        sizes = " ".join(str(error).split()).partition(": ")[2]
        raise ContractViolation(
            f"{sizes}; let _load_from_state_dict size the buffers that finish sizes, as segsort's bank does"
        ) from None
    require(not unexpected, f"a new method does not know {', '.join(unexpected[:3])}")
    absent = [n for n in missing if n not in set(method.training_only)]
    require(not absent, f"the final state lacks {', '.join(absent[:3])}")
    images = subject.batch(7).images
    first, second = _maps(_predict(method, images)), _maps(_predict(fresh.eval(), images))
    different = [n for n in first if n not in second or not torch.equal(first[n], second[n])]
    require(not different, f"{', '.join(different)} differ after a state_dict round trip")


def check_resumed_training_equals_uninterrupted(subject: Subject) -> None:
    """State saved in the middle, loaded after ``prepare``, continues to the same state."""
    subject.require_training()
    straight = subject.steps(subject.steps(subject.prepared(), 0, STEPS // 2), STEPS // 2, STEPS)
    half = subject.steps(subject.prepared(), 0, STEPS // 2)
    resumed = subject.prepared(seed=1)
    resumed.load_state_dict(copy.deepcopy(half.state_dict()))
    resumed = subject.steps(resumed, STEPS // 2, STEPS)
    one, two = straight.state_dict(), resumed.state_dict()
    different = [n for n in one if not torch.equal(one[n], two[n])]
    require(not different, f"{', '.join(different[:3])} differ after an interruption")


def check_training_is_deterministic_under_a_seed(subject: Subject) -> None:
    """Two runs from one seed end in the same state."""
    one, two = subject.trained().state_dict(), subject.trained().state_dict()
    different = [n for n in one if not torch.equal(one[n], two[n])]
    require(not different, f"{', '.join(different[:3])} differ between two runs from one seed")


def check_training_lowers_the_loss(subject: Subject) -> None:
    """Forty steps on one batch lower the summed loss."""
    subject.require_training()
    method = subject.prepared()
    optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for step in range(40):
        values.append(subject.step(method, optimiser, subject.batch(1), min(step, STEPS - 1)))
    early, late = sum(values[:5]), sum(values[-5:])
    require(late < early, f"the loss went from {early / 5:.4g} to {late / 5:.4g} in forty steps on one batch")


def check_explanations_name_their_evidence(subject: Subject) -> None:
    """A method that explains itself finds in a training image the segments that its evidence says are there."""
    if not issubclass(subject.method_class, Explains):
        raise NotApplicable("it does not explain itself")
    method = subject.trained()
    assert isinstance(method, Explains)
    evidence = method.evidence()
    columns = (evidence.features, evidence.labels, evidence.images, evidence.segments)
    require(len({len(column) for column in columns}) == 1, "the columns of the evidence differ in length")
    for index, batch in enumerate(subject.context().images()):
        with torch.no_grad():
            explanation = method.explain(batch.images)
        found, rows = explanation.segments, explanation.rows
        require(found.ndim == 3 and len(found) == 1, f"segments are {tuple(found.shape)}, not (B, h, w)")
        require(
            rows.ndim == 3 and rows.shape == explanation.cosines.shape and int(found.max()) < rows.shape[1],
            f"rows are {tuple(rows.shape)} and cosines {tuple(explanation.cosines.shape)}, not (B, S, k)",
        )
        named = evidence.segments[evidence.images == index]
        require(bool(torch.isin(named, found).all()), "evidence names a segment that its training image does not have")
        present = found.unique()
        used, cosines = rows[0, present], explanation.cosines[0, present]
        require(bool(((used >= 0) & (used < len(evidence.labels))).all()), "rows are not rows of the evidence")
        require(bool((cosines.diff(dim=1) <= 1e-6).all()), "what is retrieved is not in the order of similarity")


def check_a_checkpoint_from_elsewhere_names_its_past(subject: Subject) -> None:
    """The data set that it was trained on is known, and tables have words for its weights and its network."""
    if not issubclass(subject.method_class, TrainedElsewhere):
        raise NotApplicable("it is trained here")
    words = (subject.method_class.provenance, *subject.method_class.own_network)
    require(len(words) == 3 and all(words), "provenance and both names of own_network need words")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_losses_are_finite_scalars,
    check_gradients_reach_the_network,
    check_losses_do_not_change_state,
    check_ignored_pixels_have_no_influence,
    check_without_labels_the_network_still_learns,
    check_prediction_has_the_contracts_shapes,
    check_prediction_does_not_change_state,
    check_prediction_does_not_depend_on_the_batch,
    check_odd_image_sizes_are_predicted,
    check_relabelling_is_undone_by_the_identity,
    check_state_dict_round_trip_predicts_the_same,
    check_resumed_training_equals_uninterrupted,
    check_training_is_deterministic_under_a_seed,
    check_training_lowers_the_loss,
    check_explanations_name_their_evidence,
    check_a_checkpoint_from_elsewhere_names_its_past,
)


def check(
    method_class: type[Method], settings: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[tuple[str, str | NotApplicable | None]]:
    """Run every check under the configuration ``settings``: its name, and None, what is wrong, or why it says nothing.

    Raises UserError for settings that the method does not have.
    """
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        subject = Subject(method_class, Path(folder), settings)
        for function in CHECKS:
            name = function.__name__.removeprefix("check_").replace("_", " ")
            try:
                function(subject)
            except NotApplicable as reason:
                yield name, reason
            except (ContractViolation, UserError) as error:
                yield name, str(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a method under check may raise anything
                text = f"{type(error).__name__}: {' '.join(str(error).split())}"
                yield name, f"{text} ({_place(error, method_class)})"
            else:
                yield name, None


def _place(error: BaseException, method_class: type[Method]) -> str:
    """File and line of the method at which ``error`` arose, or of what it called where none of its lines took part."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(sys.modules[method_class.__module__], "__file__", None)
    frame = next((f for f in reversed(frames) if f.filename == file), frames[-1])
    return f"{frame.filename}, line {frame.lineno}"
