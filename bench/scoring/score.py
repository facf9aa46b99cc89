"""The one loop of all protocols: every image is read and predicted once for all that score it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common.console import ProgressBar
from bench.common.errors import RunFailed, UserError, disk_is_full, first_line
from bench.common.verbosity import is_verbose
from bench.data.fingerprint import describe
from bench.data.reading import read_ahead
from bench.schema import side_file
from bench.schema.record import Scores
from bench.scoring.metrics.images import NonFiniteScore
from bench.scoring.metrics.ranking import UndefinedMetric
from bench.scoring.protocols.base import Evaluation, Found, Image, Pass, Protocol, Steps, numbers
from datasets.base import Dataset, Sample


@dataclass
class Outcome:
    """What came of one target of a protocol."""

    protocol: type[Protocol]
    target: str
    scores: Scores | None
    """None where the protocol failed."""
    reason: str = ""
    """Why."""
    statistics: dict[str, np.ndarray] = field(default_factory=dict)
    """For the side file, by name."""
    seconds: float = 0.0
    """Of the passes that it took part in, shared or not."""


def score(
    evaluation: Evaluation, wanted: Mapping[type[Protocol], Iterable[tuple[str, str]]]
) -> Iterator[list[Outcome]]:
    """Score the (data set, split) targets ``wanted`` of every protocol; yields those that are done after each pass.

    What a protocol itself gets wrong ends that protocol's target and nothing else. Raises RunFailed where the method
    gives what cannot be scored, and whatever the method raises.
    """
    strands = [_Strand(protocol, evaluation, target) for protocol, targets in wanted.items() for target in targets]
    try:
        for strand in strands:
            strand.advance()
        while waiting := [(strand, one) for strand in strands for one in strand.waiting]:
            first = waiting[0][1]
            widest = max((one for _, one in waiting if one.covers(first)), key=lambda one: len(one.dataset))
            together = [(strand, one) for strand, one in waiting if widest.covers(one)]
            began = time.monotonic()
            _pass(evaluation, widest, together)
            for strand in {strand.protocol: strand for strand, _ in reversed(together)}.values():
                strand.seconds += time.monotonic() - began
            for strand in strands:
                if not strand.waiting:
                    strand.advance()
            yield [strand.outcome() for strand in strands if strand.ended]
            strands = [strand for strand in strands if not strand.ended]
        yield [strand.outcome() for strand in strands]
    finally:
        for strand in strands:
            strand.close()


class _Strand:
    """A protocol at work on one target."""

    def __init__(self, protocol: type[Protocol], evaluation: Evaluation, target: tuple[str, str]) -> None:
        self.protocol, self.evaluation = protocol, evaluation
        self.dataset = evaluation.open(*target)
        self.target = protocol.target_name(target)
        self.steps: Steps | None = None
        self.waiting: list[Pass] = []
        self.scores: Scores | None = None
        self.statistics: dict[str, np.ndarray] = {}
        self.problem = ""
        self.seconds = 0.0

    @property
    def ended(self) -> bool:
        return self.scores is not None or bool(self.problem)

    def advance(self) -> None:
        """Go on to the next passes, or to the end; what has failed is there already."""
        if not self.ended:
            self.guarded(self._advance)

    def _advance(self) -> None:
        try:
            self.steps = self.steps or self.protocol.score(self.evaluation, self.dataset)
            while not self.waiting:  # a protocol may find that it needs no further pass
                self.waiting = list(next(self.steps))
        except StopIteration as end:
            self._finish(end.value)

    def guarded(self, work: Callable[[], Any], image: Image | None = None) -> None:
        """Do ``work``, and note what the protocol gets wrong in it. The faults of anything else are raised."""
        try:
            work()
        except (NonFiniteScore, UndefinedMetric) as error:
            where = "" if isinstance(error, NonFiniteScore) else f"{self.target}: "
            raise RunFailed(f"{where}{error}") from None
        except (RunFailed, UserError):
            raise
        except (Exception, SystemExit) as error:
            if disk_is_full(error) or (image is not None and error is image.failure):
                raise
            self.problem, self.waiting = located(error), []
            self.close()

    def close(self) -> None:
        """Let the protocol tidy up."""
        if self.steps is not None:
            self.steps.close()

    def _finish(self, found: Found) -> None:
        self.statistics = {
            side_file.under(self.protocol.name, self.target, reading) + kind: array
            for reading, arrays in found.statistics.items()
            for kind, array in arrays.items()
        }
        ordered = self._ordered
        self.scores = Scores(
            dataset=describe(self.dataset),
            metrics=ordered(found.metrics),
            per_class={metric: numbers(values) for metric, values in found.per_class.items()},
            by_score={name: ordered(values) for name, values in found.by_score.items()},
            by_reading={name: ordered(values) for name, values in found.by_reading.items()},
            decomposition=found.decomposition,
            notes=found.notes,
        )

    def _ordered(self, values: Mapping[str, Any]) -> dict[str, float | None]:
        """In the order of the columns; raises ValueError for a number that is none of these."""
        places = {column.key: place for place, column in enumerate(self.protocol.columns)}
        if strange := sorted(values.keys() - places):
            raise ValueError(f"metrics has {', '.join(strange)}, which is none of columns")
        return numbers({key: values[key] for key in sorted(values, key=lambda key: places[key])})

    def outcome(self) -> Outcome:
        return Outcome(self.protocol, self.target, self.scores, self.problem, self.statistics, self.seconds)


def _pass(evaluation: Evaluation, widest: Pass, together: list[tuple[_Strand, Pass]]) -> None:
    """Read the images of the ``widest`` pass, and let those ``together`` count theirs; then merge all ranks."""
    wanting = [(strand, one, {*one.ids}) for strand, one in together]
    names = ", ".join(dict.fromkeys(strand.protocol.name for strand, _ in together))
    doing = f" on {widest.dataset.name}/{widest.dataset.split}" + (f", {widest.doing}" if widest.doing else "")
    with widest.context():
        for sample in samples(evaluation, widest.dataset, names + doing):
            image = Image(sample, evaluation.predictor)
            for strand, one, ids in wanting:
                if sample.id in ids and not strand.problem:
                    strand.guarded(lambda one=one, image=image: one.meter.update(image), image)  # type: ignore[misc]
    shares = gather_one([(one.meter, strand.problem) for strand, one in together])
    for place, (strand, one) in enumerate(together):
        (one.meter, _), *others = (share[place] for share in shares)
        strand.problem = next((problem for share in shares if (problem := share[place][1])), "")
        if not strand.problem:
            for other, _ in others:
                strand.guarded(lambda one=one, other=other: one.meter.merge(other))  # type: ignore[misc]
        strand.waiting = [] if strand.problem else [p for p in strand.waiting if p is not one]


def samples(evaluation: Evaluation, dataset: Dataset, description: str) -> Iterator[Sample]:
    """This rank's share of the split, decoded ahead, with a progress bar."""
    share = range(evaluation.rank, len(dataset), evaluation.world)
    with ProgressBar(description, len(share)) as bar:
        for sample in read_ahead(dataset, share):
            yield sample
            bar.advance()


def gather_one(value: Any) -> list[Any]:
    """The values of all ranks, in rank order; one rank has its own only."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def located(error: BaseException) -> str:
    """An unexpected error with the place that it came from. After ``-v`` its traceback goes to standard error."""
    if is_verbose():
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name} line {frame.lineno}: {first_line(error)}"
