"""What protocols share that score the data set of training: its evaluation splits, each image predicted once."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np

from bench.protocols.base import Evaluation, Metrics, Protocol
from bench.protocols.readings import ImageMeter
from bench.records import ProtocolResult, Scores
from datasets.base import Dataset, Item

M = TypeVar("M", bound=ImageMeter)


class SourceSplits(Protocol, Generic[M]):
    """Scores the evaluation splits of the source; the headline metric of the first is the summary."""

    headline: ClassVar[str]
    """The metric that stands for the protocol."""

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The evaluation splits of the source, the headline first."""
        return [(source.name, split) for split in source.eval_splits]

    @classmethod
    def target_name(cls, target: tuple[str, str]) -> str:
        """The split: the data set is the run's own."""
        return target[1]

    @classmethod
    def run(cls, evaluation: Evaluation, targets: list[tuple[str, str]]) -> ProtocolResult:
        """Score each split."""
        began = time.monotonic()
        result = ProtocolResult(version=cls.version)
        measured: list[tuple[set[Item], M]] = []
        for name, split in targets:
            dataset = evaluation.open(name, split)
            wider = [m for items, m in measured if items.issuperset(dataset.items)]
            ids = [item.id for item in dataset.items]
            if wider:  # CamVid's test split holds the one of its second drive
                meter = wider[0].select(ids)
            else:
                meter = cls._measure(evaluation, dataset)
                measured.append((set(dataset.items), meter))
            result.targets[split] = cls._score(evaluation, dataset, meter)
        result.summary = cls.summarise([scores.metrics for scores in result.targets.values()])
        result.seconds = round(time.monotonic() - began, 2)
        return result

    @classmethod
    def summarise(cls, metrics: Sequence[Metrics]) -> Metrics:
        """The headline metric of the headline split."""
        return {cls.headline: metrics[0][cls.headline]}

    @classmethod
    def _keep(cls, evaluation: Evaluation, split: str, reading: str, **arrays: np.ndarray) -> None:
        """Put ``arrays`` per image of a reading of a split into the statistics."""
        place = f"{cls.name}/{split}" + (f"/{reading}" if reading else "")
        evaluation.statistics.update({f"{place}/{kind}": array for kind, array in arrays.items()})

    @classmethod
    @abstractmethod
    def _measure(cls, evaluation: Evaluation, dataset: Dataset) -> M:
        """What is counted of a split, of all ranks."""

    @classmethod
    @abstractmethod
    def _score(cls, evaluation: Evaluation, dataset: Dataset, meter: M) -> Scores:
        """The numbers of a split; fills ``evaluation.statistics``."""
