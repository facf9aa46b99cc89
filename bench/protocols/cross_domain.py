"""Cross-domain: the same model on images of another domain or data set, without any tuning on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.metrics import confusion
from bench.protocols.base import Evaluation, Metrics, Protocol, numbers
from bench.protocols.readings import OWN, ReadingMeters, class_scores
from bench.protocols.targets import cross_domain
from bench.records import ProtocolResult, Scores
from datasets.base import IGNORE, ClassMap, ClassSet, Dataset, MissingData, Target
from methods.capabilities import Relabels


class CrossDomain(Protocol):
    """mIoU on each target, the drop from the source, and the harmonic mean over targets.

    Where the target has other classes, a target class gets the sum of the probabilities of the source classes that
    map to it (Lambert et al. 2020), and the largest sum is predicted; the probability of source classes without
    counterpart is reported as unmapped mass and never falls to a class. A pixel whose whole probability is unmapped
    is predicted as "no class", which is always wrong. Target classes that no source class maps to are not scored,
    nor are their pixels. The drop compares with the source split under the same map. A method that can be relabelled
    (SegSort's "bank swap") is also scored that way, as a reading beside its own prediction, and so is every other
    reading that a method gives.
    """

    name: ClassVar[str] = "cross-domain"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Cross-domain segmentation"

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The targets that the source data set names, and those that name it."""
        return [(t.dataset, t.split) for t in cross_domain(source)]

    @classmethod
    def run(cls, evaluation: Evaluation, targets: list[tuple[str, str]]) -> ProtocolResult:
        """Score each target."""
        began = time.monotonic()
        result = ProtocolResult(version=cls.version)
        source = evaluation.source
        on_source: dict[tuple[int, ...] | None, dict[str, float]] = {}
        for target in cross_domain(source):
            if (target.dataset, target.split) not in targets:
                continue
            dataset = evaluation.open(target.dataset, target.split)
            mapping = Mapping(target.class_map, source.classes, dataset.classes)
            key = None if target.class_map is None else target.class_map.table
            if key not in on_source:
                on_source[key] = cls._on_source(evaluation, mapping, target)
            measured = cls._measure(evaluation, dataset, mapping, labels_are_source=False)
            scores = {
                reading: cls._metrics(meter, mapping, measured.unmapped_mass(reading), on_source[key].get(reading))
                for reading, meter in measured.meters.meters.items()
            }
            name = f"{target.dataset}/{target.split}"
            meter = measured.meters.own
            iou = confusion.class_iou(meter.total[mapping.scored])
            result.targets[name] = Scores(
                dataset=evaluation.describe(dataset),
                metrics=scores.pop(OWN),
                per_class={"iou": numbers({dataset.classes.names[c]: v for c, v in zip(mapping.kept, iou)})},
                by_reading=scores,
                notes=[target.class_map.note] if target.class_map and target.class_map.note else [],
            )
            prefix = f"{cls.name}/{name}"
            evaluation.statistics[f"{prefix}/ids"] = np.array(meter.ids)
            for reading, m in measured.meters.meters.items():
                path = f"{prefix}/{reading}/confusion" if reading else f"{prefix}/confusion"
                evaluation.statistics[path] = m.per_image[:, mapping.scored[0], mapping.scored[1]]
        result.summary = cls.summarise([s.metrics for s in result.targets.values()])
        first = next(iter(result.targets.values()))
        for reading in first.by_reading:
            found = [s.by_reading[reading] for s in result.targets.values() if reading in s.by_reading]
            if len(found) == len(result.targets):
                result.summary_by_reading[reading] = cls.summarise(found)
        result.seconds = round(time.monotonic() - began, 2)
        return result

    @classmethod
    def summarise(cls, metrics: Sequence[Metrics]) -> Metrics:
        """Harmonic mean of the mIoUs, and mean of the drops."""
        mious = [np.nan if m["miou"] is None else m["miou"] for m in metrics]
        drops = [np.nan if m["drop"] is None else m["drop"] for m in metrics]
        return numbers({"harmonic_mean": confusion.harmonic_mean(mious), "mean_drop": float(np.mean(drops))})

    @classmethod
    def _metrics(
        cls, meter: confusion.ConfusionMeter, mapping: Mapping, unmapped: float | None, source_miou: float | None
    ) -> dict[str, float | None]:
        """The numbers of one reading; without ``unmapped`` for a method that answers in the target's classes."""
        matrix = meter.total[mapping.scored]
        miou = confusion.mean_iou(matrix)
        reference = float("nan") if source_miou is None else source_miou
        metrics = {
            "miou": miou,
            "pixel_accuracy": confusion.pixel_accuracy(matrix),
            "source_miou": reference,
            "drop": reference - miou,
        }
        return numbers(metrics if unmapped is None else {**metrics, "unmapped_mass": unmapped})

    @classmethod
    def _on_source(cls, evaluation: Evaluation, mapping: Mapping, target: Target) -> dict[str, float]:
        """mIoU on the headline split of the source, in the target's classes, by reading; none if it is not there."""
        source = evaluation.source
        split = source.eval_splits[0]
        if target.class_map is None and evaluation.closed_set is not None:
            known = evaluation.closed_set.targets[split]
            mious = {OWN: known.metrics["miou"], **{r: m["miou"] for r, m in known.by_reading.items()}}
            return {reading: float("nan") if miou is None else miou for reading, miou in mious.items()}
        try:
            dataset = evaluation.open(source.name, split)
        except MissingData:  # as that of a checkpoint from elsewhere may be
            return {}
        measured = cls._measure(evaluation, dataset, mapping, labels_are_source=True)
        return {r: float(confusion.mean_iou(m.total[mapping.scored])) for r, m in measured.meters.meters.items()}

    @classmethod
    def _measure(cls, evaluation: Evaluation, dataset: Dataset, mapping: Mapping, labels_are_source: bool) -> Measured:
        """Every reading of the method on ``dataset``, among them its answers in the target's classes if it has any."""
        measured = Measured(mapping.size)
        for sample in evaluation.samples(dataset, f"cross-domain on {dataset.name}/{dataset.split}"):
            label = mapping.labels(sample.label) if labels_are_source else sample.label
            size = (label.shape[0], label.shape[1])
            for reading, logits in class_scores(evaluation.predictor(sample.image), sample.id, size).items():
                predicted, unmapped = mapping.predict(logits)
                measured.update(reading, sample.id, predicted.cpu(), label, unmapped.cpu())
        method = evaluation.predictor.method
        if isinstance(method, Relabels) and mapping.is_given:
            with relabelled(method, mapping):
                for sample in evaluation.samples(dataset, f"{method.relabelling} on {dataset.name}/{dataset.split}"):
                    label = mapping.labels(sample.label) if labels_are_source else sample.label
                    logits = evaluation.predictor(sample.image).logits((label.shape[0], label.shape[1]))
                    measured.update(method.relabelling, sample.id, mapping.choose(logits).cpu(), label)
        return evaluation.merge(measured)


@contextmanager
def relabelled(method: Relabels, mapping: Mapping) -> Iterator[None]:
    """Within the block, ``method`` predicts the classes of the target."""
    method.relabel(mapping.table.tolist(), mapping.size)
    try:
        yield
    finally:
        method.relabel(range(len(mapping.table)), len(mapping.table))


class Measured:
    """Confusion meters and unmapped probability of every reading, which merge together."""

    def __init__(self, size: int) -> None:
        self.meters = ReadingMeters(partial(confusion.ConfusionMeter, size, size + 1))  # the last column is "no class"
        self._masses: dict[str, Tensor] = {}

    def update(
        self, reading: str, image_id: str, predicted: Tensor, label: Tensor, unmapped: Tensor | None = None
    ) -> None:
        """Count one image: target classes ``predicted`` (H, W), and the ``unmapped`` probability (H, W) if known."""
        self.meters[reading].update(image_id, predicted, label)
        if unmapped is not None:
            valid = label < self.meters.own.num_classes
            sums = torch.stack([unmapped[valid].double().sum(), valid.sum().double()])
            self._masses[reading] = self._masses.get(reading, 0) + sums

    def unmapped_mass(self, reading: str) -> float | None:
        """Mean unmapped probability of a pixel, NaN without pixels, None where it has no meaning."""
        if reading not in self._masses:
            return None if reading != OWN else float("nan")
        mass, pixels = self._masses[reading].tolist()
        return mass / pixels if pixels else float("nan")

    def merge(self, other: Measured) -> None:
        """Add the images of another shard."""
        self.meters.merge(other.meters)
        for reading, sums in other._masses.items():
            self._masses[reading] = self._masses.get(reading, 0) + sums


class Mapping:
    """A class map as a lookup table for labels and a sum of probabilities for predictions."""

    def __init__(self, class_map: ClassMap | None, source: ClassSet, target: ClassSet) -> None:
        table = tuple(range(len(source))) if class_map is None else class_map.table
        if class_map is None and source.names != target.names:
            raise ValueError(f"{source.name} and {target.name} differ, so a class map is needed")
        if len(table) != len(source) or any(i != IGNORE and not 0 <= i < len(target) for i in table):
            raise ValueError(f"the class map from {source.name} to {target.name} does not fit these class sets")
        self.size = len(target)
        self.table = torch.tensor(table)
        self.kept = sorted({i for i in table if i != IGNORE})
        """Target classes that some source class maps to: those that are scored."""
        # Only kept classes are ever predicted, so their columns and "no class" hold every counted pixel.
        self.scored = np.ix_(self.kept, [*self.kept, self.size])
        self.mapped = self.table != IGNORE
        self.is_given = class_map is not None
        """False for the identity of a target with the same classes."""

    def labels(self, label: Tensor) -> Tensor:
        """Source label map (H, W) in target ids; void, unlabelled and unmapped become ``IGNORE``."""
        lookup = torch.full((256,), IGNORE, dtype=torch.int64)
        lookup[: len(self.table)] = self.table
        return lookup[label]

    def predict(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Target class (H, W), ``size`` for "no class", and unmapped probability (H, W), of logits (C, H, W)."""
        posterior = logits.float().softmax(0)
        mapped = self.mapped.to(logits.device)
        sums = posterior.new_zeros(self.size, *logits.shape[1:])
        sums.index_add_(0, self.table.to(logits.device)[mapped], posterior[mapped])
        best, predicted = sums.max(0)
        return torch.where(best > 0, predicted, self.size), (1 - sums.sum(0)).clamp_(min=0)

    def choose(self, logits: Tensor) -> Tensor:
        """Target class (H, W) of class scores (size, H, W) of a method that answers in the target's classes."""
        kept = torch.tensor(self.kept, device=logits.device)
        return kept[logits[kept].argmax(0)]
