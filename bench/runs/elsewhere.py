"""Methods that were trained outside the suite: taken over as they are, and read in the classes of the data set."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor

from bench.common.console import note, progress
from bench.common.errors import UserError
from bench.config.tables import RunConfig
from bench.model import weights as models
from bench.model.predictor import LOG_ZERO
from bench.plugins import registry
from bench.runs.plan import Plan
from bench.schema.record import Training
from bench.scoring.protocols.targets import cross_domain
from bench.training import loop as training
from bench.training.ranks import FabricCollectives
from datasets.base import IGNORE, ClassMap, ClassSet, Dataset
from methods.base import Collectives, Context, Method, Prediction
from methods.capabilities import NotTrained, TrainedElsewhere


def own_classes(method_class: type[TrainedElsewhere]) -> ClassSet:
    """The classes in which the checkpoint answers."""
    return registry.datasets.get(method_class.trained_on).classes


def class_map(method_class: type[TrainedElsewhere], dataset: type[Dataset]) -> ClassMap | None:
    """What leads from the checkpoint's classes to those of ``dataset``; None where they are the same.

    Raises UserError if nothing does.
    """
    trained_on = registry.datasets.get(method_class.trained_on)
    if trained_on.classes == dataset.classes:
        return None
    for target in cross_domain(trained_on):
        if target.dataset == dataset.name and target.class_map is not None:
            return target.class_map
    raise UserError(
        f"{_name(method_class)} answers in the classes of {trained_on.name}, from which no class map leads to those of "
        f"{dataset.name}; score it with --dataset {trained_on.name}, or state the map in {dataset.name}'s target_of"
    )


def narrowed(planned: Plan, method_class: type[TrainedElsewhere], dataset: type[Dataset], wanted: object) -> Plan:
    """``planned`` without what is no question to a checkpoint that was trained on another data set than ``dataset``.

    Other domains and anomalies are those of the data set that it was trained on, so only ``dataset`` itself is scored.
    Raises UserError if a ``wanted`` protocol is left with nothing.
    """
    if method_class.trained_on == dataset.name:
        return planned
    result = Plan({}, dict(planned.skipped), planned.absent, planned.failed)
    for name, targets in planned.targets.items():
        kept = [target for target in targets if target[0] == dataset.name]
        reason = (
            f"{_name(method_class)} was trained on {method_class.trained_on}; score it on the {name} targets of that "
            f"data set with --dataset {method_class.trained_on}"
        )
        if kept:
            result.targets[name] = kept
        elif wanted:
            raise UserError(reason)
        else:
            result.skipped[name] = reason
    return result


def take(
    method_class: type[Method], config: RunConfig, fabric: Fabric, folder: Path, cache: Path
) -> tuple[Method, Training, str]:
    """The method with its checkpoint, what there is to say of its training here, and the hash of its weights.

    Writes the weights to ``folder``, from which the run is scored again as any other.
    """
    assert issubclass(method_class, TrainedElsewhere)
    folder.mkdir(parents=True, exist_ok=True)
    method = models.build_method(method_class, config, own_classes(method_class)).to(fabric.device)
    context = Context(
        device=fabric.device,
        seed=config.seed,
        steps=0,
        step=0,
        collectives=FabricCollectives(fabric) if fabric.world_size > 1 else Collectives(),
        cache=cache,
        label_maps=lambda: iter(()),
        images=lambda first=0, every=1: iter(()),
        progress=progress,
        note=note,
    )
    with torch.no_grad():
        method.prepare(context)
        method.eval().finish(context)
    digest = models.save_model(method, folder / models.MODEL) if fabric.is_global_zero else ""
    cost = Training(
        steps=0,
        seconds=0.0,
        images_per_second=0.0,
        parameters=sum(p.numel() for p in method.parameters()),
        peak_memory_mb=training.peak_memory_mb(fabric.device),
    )
    return method, cost, digest


def answering(method: Method, dataset: type[Dataset]) -> Method:
    """``method`` in the classes of ``dataset``: itself, where these are its own."""
    assert isinstance(method, TrainedElsewhere)
    found = class_map(type(method), dataset)
    return method if found is None else Translated(method, found, dataset.classes)


class Translated(NotTrained, Method):
    """A method that answers in the classes of another data set.

    A target class gets the sum of the probabilities of the classes that map to it (Lambert et al. 2020), as across
    domains; one that none maps to is never predicted. Densities of single classes mean nothing there and are left out.
    """

    def __init__(self, method: Method, mapping: ClassMap, classes: ClassSet) -> None:
        super().__init__(method.config, method.network, classes)
        self.method, self.mapping = method, mapping
        self.name, self.version = method.name, method.version  # type: ignore[misc]
        self.window_average, self.headline_score = method.window_average, method.headline_score  # type: ignore[misc]

    @property
    def notes(self) -> list[str]:
        """What tables say beside its scores."""
        unmapped = [name for c, name in enumerate(self.classes.names) if c not in self.mapping.table]
        lost = f"{self.name} has no class for {', '.join(unmapped)}, which count as wrong." if unmapped else ""
        return [text for text in (self.mapping.note, lost) if text]

    def predict(self, images: Tensor) -> Prediction:
        """The method's prediction in the other classes."""
        found = self.method.predict(images)
        readings = {name: self._translated(scores) for name, scores in found.readings.items()}
        return Prediction(self._translated(found.logits), None, found.anomaly, readings)

    def _translated(self, logits: Tensor) -> Tensor:
        table = torch.tensor(self.mapping.table, device=logits.device)
        mapped = table != IGNORE
        posterior = logits.softmax(1)
        sums = posterior.new_zeros(len(logits), len(self.classes), *logits.shape[2:])
        sums.index_add_(1, table[mapped], posterior[:, mapped])
        return torch.where(sums > 0, sums.log(), LOG_ZERO)


def _name(method_class: type[TrainedElsewhere]) -> str:
    return getattr(method_class, "name", method_class.__name__)
