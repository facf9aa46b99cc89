"""What all protocols share: the trained method under evaluation, its data, and the merge over ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from typing import Protocol as Structural

import numpy as np
import torch
from torch.utils.data import Subset

from bench import data
from bench.console import Ticker
from bench.inference import Predictor
from bench.records import DatasetInfo, ProtocolResult
from datasets.base import DataError, Dataset, MissingData, Sample

Metrics = dict[str, float | None]
"""Metric values by name, None where undefined."""


class Meter(Structural):
    """A streaming metric whose states of several ranks add up."""

    def merge(self, other: Any) -> None:
        """Add the state of another shard of the split."""


M = TypeVar("M", bound=Meter)


def gather_one(value: Any) -> list[Any]:
    """The values of all ranks, in rank order; one rank has its own only."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


@dataclass
class Evaluation:
    """A trained method with everything a protocol needs to score it."""

    predictor: Predictor
    source: type[Dataset]
    """The data set that the method was trained on."""
    open: Callable[[str, str], Dataset]
    """``open(name, split)`` finds a data set; raises DataError."""
    scratch: Path
    """An existing folder for what is only needed during evaluation."""
    density_score: str = "nll"
    statistics: dict[str, np.ndarray] = field(default_factory=dict)
    """Filled by the protocols: arrays per image, by ``protocol/target/kind``."""
    closed_set: ProtocolResult | None = None
    """The closed-set result of the same checkpoint, once it is known."""
    rank: int = 0
    world: int = 1

    def samples(self, dataset: Dataset, description: str) -> Iterator[Sample]:
        """This rank's share of the split, decoded ahead, with a progress bar."""
        share = Subset(data.Whole(dataset), range(self.rank, len(dataset), self.world))
        with Ticker(description, len(share)) as ticker:
            for sample in data.reader(share):
                if isinstance(sample, DataError):
                    raise sample
                yield sample
                ticker.advance()

    def merge(self, meter: M) -> M:
        """The meter of the whole split, from the shares of all ranks."""
        first, *others = gather_one(meter)
        for other in others:
            first.merge(other)
        return first

    def describe(self, dataset: Dataset) -> DatasetInfo:
        """Which data a split was."""
        return data.describe(dataset)


class Protocol(ABC):
    """One way of scoring. ``run`` scores every target whose data is present."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Raised whenever a definition changes that moves a number."""
    title: ClassVar[str]
    by_default: ClassVar[bool] = True
    """False for what only those get who ask for it by name."""

    @classmethod
    @abstractmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """(data set, split) of every target for methods trained on ``source``; empty if the protocol has none."""

    @classmethod
    def target_name(cls, target: tuple[str, str]) -> str:
        """A target (data set, split) as records name it."""
        return "/".join(target)

    @classmethod
    @abstractmethod
    def run(cls, evaluation: Evaluation, targets: list[tuple[str, str]]) -> ProtocolResult:
        """Score the method on ``targets``, which are present, and fill ``evaluation.statistics``."""

    @classmethod
    def summarise(cls, metrics: Sequence[Metrics]) -> Metrics:
        """What the ``metrics`` of one reading on all targets, the headline first, amount to; by default nothing."""
        return {}

    @classmethod
    def present(
        cls, source: type[Dataset], open_: Callable[[str, str], Dataset]
    ) -> tuple[list[tuple[str, str]], list[str]]:
        """The targets whose data is there, and one sentence for each whose data is not.

        Data that is there but incomplete or damaged is not skipped: its DataError is raised.
        """
        found, absent = [], []
        for name, split in cls.targets(source):
            try:
                open_(name, split)
            except MissingData as error:
                absent.append(str(error))
            else:
                found.append((name, split))
        return found, absent


def numbers(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Metric values as JSON has them: undefined ones are None."""
    return {name: None if not np.isfinite(value) else float(value) for name, value in values.items()}
