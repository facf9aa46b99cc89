"""Cross-domain: the same model on images of another domain or data set, without any tuning on it."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.metrics import confusion
from bench.protocols.base import Evaluation, Protocol, numbers
from bench.records import ProtocolResult, Scores
from datasets.base import IGNORE, ClassMap, ClassSet, Dataset, Target


class CrossDomain(Protocol):
    """mIoU on each target, the drop from the source, and the harmonic mean over targets.

    Where the target has other classes, a target class gets the sum of the probabilities of the source classes that
    map to it (Lambert et al. 2020), and the largest sum is predicted; the probability of source classes without
    counterpart is reported as unmapped mass and never falls to a class. A pixel whose whole probability is unmapped
    is predicted as "no class", which is always wrong. Target classes that no source class maps to are not scored,
    nor are their pixels. The drop compares with the source split under the same map.
    """

    name: ClassVar[str] = "cross-domain"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Cross-domain generalisation"

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The targets that the source data set names."""
        return [(t.dataset, t.split) for t in source.cross_domain]

    @classmethod
    def run(cls, evaluation: Evaluation, targets: list[tuple[str, str]]) -> ProtocolResult:
        """Score each target."""
        began = time.monotonic()
        result = ProtocolResult(version=cls.version)
        source = evaluation.source
        source_miou: dict[tuple[int, ...] | None, float] = {}
        for target in source.cross_domain:
            if (target.dataset, target.split) not in targets:
                continue
            dataset = evaluation.open(target.dataset, target.split)
            mapping = Mapping(target.class_map, source.classes, dataset.classes)
            key = None if target.class_map is None else target.class_map.table
            if key not in source_miou:
                source_miou[key] = cls._on_source(evaluation, mapping, target)
            meter, unmapped = cls._measure(evaluation, dataset, mapping, labels_are_source=False)
            name = f"{target.dataset}/{target.split}"
            miou = confusion.mean_iou(meter.total[mapping.scored])
            iou = confusion.class_iou(meter.total[mapping.scored])
            result.targets[name] = Scores(
                dataset=evaluation.describe(dataset),
                metrics=numbers(
                    {
                        "miou": miou,
                        "pixel_accuracy": confusion.pixel_accuracy(meter.total[mapping.scored]),
                        "source_miou": source_miou[key],
                        "drop": source_miou[key] - miou,
                        "unmapped_mass": unmapped,
                    }
                ),
                per_class={"iou": numbers({dataset.classes.names[c]: v for c, v in zip(mapping.kept, iou)})},
                notes=[target.class_map.note] if target.class_map and target.class_map.note else [],
            )
            evaluation.statistics[f"{cls.name}/{name}/ids"] = np.array(meter.ids)
            evaluation.statistics[f"{cls.name}/{name}/confusion"] = meter.per_image[
                :, mapping.scored[0], mapping.scored[1]
            ]
        mious = [s.metrics["miou"] for s in result.targets.values()]
        drops = [s.metrics["drop"] for s in result.targets.values()]
        result.summary = numbers(
            {
                "harmonic_mean": confusion.harmonic_mean([np.nan if m is None else m for m in mious]),
                "mean_drop": float(np.mean([np.nan if d is None else d for d in drops])),
            }
        )
        result.seconds = round(time.monotonic() - began, 2)
        return result

    @classmethod
    def _on_source(cls, evaluation: Evaluation, mapping: Mapping, target: Target) -> float:
        """mIoU on the headline split of the source, in the target's classes."""
        source = evaluation.source
        split = source.eval_splits[0]
        if target.class_map is None and evaluation.closed_set is not None:
            known = evaluation.closed_set.targets[split].metrics["miou"]
            return float("nan") if known is None else known
        dataset = evaluation.open(source.name, split)
        meter, _ = cls._measure(evaluation, dataset, mapping, labels_are_source=True)
        return float(confusion.mean_iou(meter.total[mapping.scored]))

    @classmethod
    def _measure(
        cls, evaluation: Evaluation, dataset: Dataset, mapping: Mapping, labels_are_source: bool
    ) -> tuple[confusion.ConfusionMeter, float]:
        """The confusion meter with a last column "no class", and the mean unmapped probability of a pixel."""
        meter = confusion.ConfusionMeter(mapping.size, mapping.size + 1)
        sums = torch.zeros(2, dtype=torch.float64)
        for sample in evaluation.samples(dataset, f"cross-domain on {dataset.name}/{dataset.split}"):
            size = (sample.label.shape[0], sample.label.shape[1])
            predicted, unmapped = mapping.predict(evaluation.predictor(sample.image).logits(size))
            label = mapping.labels(sample.label) if labels_are_source else sample.label
            meter.update(sample.id, predicted.cpu(), label)
            valid = label < mapping.size
            sums += torch.stack([unmapped.cpu()[valid].double().sum(), valid.sum().double()])
        meters = evaluation.merge(_Sums(meter, sums))
        total = meters.sums
        return meters.meter, float(total[0] / total[1]) if total[1] else float("nan")


class _Sums:
    """A confusion meter and sums that merge together."""

    def __init__(self, meter: confusion.ConfusionMeter, sums: Tensor) -> None:
        self.meter, self.sums = meter, sums

    def merge(self, other: _Sums) -> None:
        self.meter.merge(other.meter)
        self.sums = self.sums + other.sums


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
