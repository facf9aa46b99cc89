"""Cross-domain: the same model on images of another domain or data set, without any tuning on it."""

from __future__ import annotations

import math
from collections import abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.scoring.metrics import confusion
from bench.scoring.metrics.images import VOID as IGNORE
from bench.scoring.metrics.images import ratio
from bench.scoring.protocols.base import (
    OWN,
    Counts,
    Evaluation,
    Found,
    Image,
    Metric,
    Pass,
    Protocol,
    ReadingCounts,
    Steps,
    Values,
    numbers,
)
from bench.scoring.protocols.targets import cross_domain
from datasets.errors import MissingData

if TYPE_CHECKING:
    from torch import Tensor

    from bench.schema.record import ProtocolResult
    from datasets.base import ClassMap, ClassSet, Dataset
    from methods.base import Method
    from methods.capabilities import Relabels


class CrossDomain(Protocol):
    """mIoU on each target, the drop from the source, and the harmonic mean over targets.

    Where the target has other classes, a target class gets the sum of the probabilities of the source classes that
    map to it (Lambert et al. 2020), and the largest sum is predicted; the probability of source classes without
    counterpart is reported as unmapped mass and never falls to a class. A pixel with all its probability unmapped
    is predicted as "no class", which is always wrong. Target classes that no source class maps to are not scored,
    nor are their pixels. The drop compares with the source split under the same map. A method that can be relabelled
    (SegSort's "bank swap") is also scored that way, as a reading beside its own prediction, and so is every other
    reading that a method gives.
    """

    name: ClassVar[str] = "cross-domain"
    title: ClassVar[str] = "Cross-domain segmentation"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("harmonic_mean", "Harmonic mean mIoU"),
        Metric("mean_retention", "Mean retention", None, decimals=1, high=math.inf),
        Metric("mean_drop", "Mean drop", "lower", shown=False, low=-1.0),
        Metric("miou", "mIoU"),
        Metric("pixel_accuracy", "aAcc"),
        Metric("retention", "Retention", None, decimals=1, high=math.inf),
        Metric("source_miou", "Source mIoU", None, shown=False),
        Metric("drop", "Drop", "lower", shown=False, low=-1.0),
        Metric("unmapped_mass", "Unmapped mass", None),
    )
    by_default: ClassVar[bool] = True
    place: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("confusion",)
    on_source: ClassVar[bool] = False
    primary: ClassVar[tuple[str, ...]] = ("harmonic_mean", "miou")
    compared: ClassVar[str] = "drops"

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The targets that the source data set names, and those that name it."""
        return [(t.dataset, t.split) for t in cross_domain(source)]

    @classmethod
    def condensed(cls, counts: Counts) -> Counts:
        """The margins and the diagonal of the matrix, and the unmapped probability where it was counted."""
        rest = {kind: array for kind, array in counts.items() if kind == "unmapped"}
        return {"margins": confusion.margins(counts["confusion"]), **rest}

    @classmethod
    def metrics(cls, counts: Counts) -> dict[str, Any]:
        """mIoU and pixel accuracy over the classes that are scored, and the unmapped mass where it was counted."""
        found = confusion.margin_metrics(counts["margins"])
        if "unmapped" in counts:
            found["unmapped_mass"] = ratio(counts["unmapped"][..., 0], counts["unmapped"][..., 1])
        return {name: found[name] for name in ("miou", "pixel_accuracy", "unmapped_mass") if name in found}

    @classmethod
    def per_class(cls, counts: Counts) -> dict[str, Any]:
        """IoU of each class that is scored."""
        return {"iou": confusion.class_iou(counts["confusion"])}

    @classmethod
    def score(cls, evaluation: Evaluation, dataset: Dataset) -> Steps:
        """Score one target, and the source under the same map unless its closed-set scores say the same."""
        source, method = evaluation.source, evaluation.predictor.method
        here = (dataset.name, dataset.split)
        class_map = next(t.class_map for t in cross_domain(source) if (t.dataset, t.split) == here)
        mapping = Mapping(class_map, source.classes, dataset.classes)

        def at_home() -> list[Pass]:
            try:
                home = evaluation.open(source.name, source.eval_splits[0])
            except MissingData:  # as that of a checkpoint from elsewhere may be
                return []
            return _passes(method, home, mapping, labels_are_source=True)

        passes = _passes(method, dataset, mapping, labels_are_source=False)
        reference = at_home() if mapping.is_given else []
        yield [*passes, *reference]
        known = None if mapping.is_given else _closed_set(evaluation)
        if known is None:
            if not reference:
                reference = at_home()
                yield reference
            at_source = cls._found(reference, mapping, dataset.classes).by_reading if reference else {}
            known = {reading: values["miou"] for reading, values in at_source.items()}
        found = cls._found(passes, mapping, dataset.classes)
        for reading, values in found.by_reading.items():
            on_source = known.get(reading, np.nan)
            found.by_reading[reading] = {**values, "source_miou": on_source, "drop": on_source - values["miou"]}
        found.metrics = found.by_reading.pop(OWN)
        found.notes = [class_map.note] if class_map and class_map.note else []
        return found

    @classmethod
    def _found(cls, passes: Sequence[Pass], mapping: Mapping, classes: ClassSet) -> Found:
        """What was counted; all readings are in ``by_reading``."""
        counted = {reading: images for p in passes for reading, images in p.meter.readings.items()}
        found = cls.found(counted, passes[0].ids, [classes.names[c] for c in mapping.kept])
        found.by_reading = {OWN: found.metrics, **found.by_reading}
        return found

    @classmethod
    def summarise(cls, metrics: Sequence[Values], results: abc.Mapping[str, ProtocolResult]) -> Values:
        """Harmonic mean of the mIoUs, and mean of the drops."""
        mious = [np.nan if m["miou"] is None else m["miou"] for m in metrics]
        drops = [np.nan if m["drop"] is None else m["drop"] for m in metrics]
        return numbers({"harmonic_mean": confusion.harmonic_mean(mious), "mean_drop": float(np.mean(drops))})


@contextmanager
def relabelled(method: Relabels, mapping: Mapping) -> Iterator[None]:
    """Within the block, ``method`` predicts the classes of the target."""
    method.relabel(mapping.table.tolist(), mapping.size)
    try:
        yield
    finally:
        method.relabel(range(len(mapping.table)), len(mapping.table))


def _passes(method: Method, dataset: Dataset, mapping: Mapping, labels_are_source: bool) -> list[Pass]:
    """Those that count every reading on ``dataset``, and the method's answers in the target's classes if it has any."""
    from methods.capabilities import Relabels

    passes = [Pass(dataset, ReadingCounts(partial(_count, mapping, labels_are_source)))]
    if isinstance(method, Relabels) and mapping.is_given:
        name = method.relabelling
        answers = ReadingCounts(partial(_count_answers, mapping, labels_are_source, name))
        passes.append(Pass(dataset, answers, doing=name, within=partial(relabelled, method, mapping)))
    return passes


def _count(mapping: Mapping, labels_are_source: bool, image: Image) -> dict[str, Counts]:
    """The confusion matrix and the unmapped probability of every reading of an image, summed over its pixels."""
    label = mapping.labels(image.label) if labels_are_source else image.label
    valid = label < mapping.size
    counts: dict[str, Counts] = {}
    for name, reading in image.readings.items():
        predicted, unmapped = mapping.predict(reading.scores)
        mass = unmapped.cpu()[valid].double().sum()
        counts[name] = {**mapping.count(predicted, label), "unmapped": np.array([float(mass), float(valid.sum())])}
    return counts


def _count_answers(mapping: Mapping, labels_are_source: bool, name: str, image: Image) -> dict[str, Counts]:
    """The confusion matrix of a method that answers in the target's classes."""
    label = mapping.labels(image.label) if labels_are_source else image.label
    return {name: mapping.count(mapping.choose(image.prediction.logits(image.size)), label)}


def _closed_set(evaluation: Evaluation) -> dict[str, float] | None:
    """mIoU by reading on the headline split of the source, if the closed-set protocol has it."""
    result, split = evaluation.results.get("closed-set"), evaluation.source.eval_splits[0]
    if result is None or split not in result.targets:
        return None
    scores = result.targets[split]
    mious = {reading: values["miou"] for reading, values in {OWN: scores.metrics, **scores.by_reading}.items()}
    return {reading: np.nan if miou is None else miou for reading, miou in mious.items()}


class Mapping:
    """A class map as a lookup table for labels and a sum of probabilities for predictions."""

    def __init__(self, class_map: ClassMap | None, source: ClassSet, target: ClassSet) -> None:
        import torch

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
        import torch

        lookup = torch.full((256,), IGNORE, dtype=torch.int64)
        lookup[: len(self.table)] = self.table
        return lookup[label]

    def predict(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Target class (H, W), ``size`` for "no class", and unmapped probability (H, W), of logits (C, H, W)."""
        import torch

        posterior = logits.float().softmax(0)
        mapped = self.mapped.to(logits.device)
        sums = posterior.new_zeros(self.size, *logits.shape[1:])
        sums.index_add_(0, self.table.to(logits.device)[mapped], posterior[mapped])
        best, predicted = sums.max(0)
        return torch.where(best > 0, predicted, self.size), (1 - sums.sum(0)).clamp_(min=0)

    def count(self, predicted: Tensor, label: Tensor) -> Counts:
        """The confusion matrix of target classes ``predicted`` (H, W), of those scored; the last column is no class."""
        matrix = confusion.confusion_matrix(predicted.cpu(), label, self.size, self.size + 1)
        return {"confusion": matrix.numpy()[self.scored].astype(np.int32)}

    def choose(self, logits: Tensor) -> Tensor:
        """Target class (H, W) of class scores (size, H, W) of a method that answers in the target's classes."""
        import torch

        kept = torch.tensor(self.kept, device=logits.device)
        return kept[logits[kept].argmax(0)]
