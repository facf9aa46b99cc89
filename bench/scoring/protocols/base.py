"""The contract of a protocol: one way of scoring a trained method, in one file.

A protocol describes itself in class attributes (its name, its columns, what its tables say), counts one image as one
reading of the checkpoint sees it (``count``), and turns counts into numbers (``metrics``). Everything else is the
harness's: which images, in which order, on how many ranks, predicted once for all protocols, and what is kept of them.

Nothing here or in the protocols that come with the suite imports torch on import: tables need the descriptions and
``metrics``, and start without it.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar
from typing import Protocol as Structural

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import RunFailed
from bench.schema.side_file import IDS, Arrays, of
from bench.scoring.metrics.catalogue import Metric as Metric
from bench.scoring.metrics.images import ImageIds

if TYPE_CHECKING:
    from torch import Tensor

    from bench.model.predictor import ImagePrediction, Predictor
    from bench.schema.record import ProtocolResult
    from datasets.base import Dataset, Sample
    from methods.capabilities import Diagnosis

Values = dict[str, float | None]
"""Metric values by name, None where undefined."""

Counts = Mapping[str, NDArray[Any]]
"""What is counted of an image, by kind; of many images it is the sum."""

OWN = ""
"""The name of the method's own prediction among the readings of a checkpoint."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """One image as one reading of the checkpoint sees it: class scores at the label's own resolution, and the label."""

    id: str
    scores: Tensor
    """(C, H, W), on the device of the method; their softmax is the posterior. None is NaN."""
    label: Tensor
    """(H, W) int64, on the host: 0 to C-1, other ids where a pixel does not count."""

    @cached_property
    def predicted(self) -> Tensor:
        """The class of the largest score, (H, W) int64, on the host."""
        return self.scores.argmax(0).cpu()

    def probabilities(self) -> Tensor:
        """The posterior (C, H, W) float32, on the device of the method."""
        return self.scores.float().softmax(0)


class _OfTheMethod(Generic[T]):
    """A property that is worked out once. What goes wrong in it is no fault of the protocol that asks first."""

    def __init__(self, work: Callable[[Any], T]) -> None:
        self.work, self.__doc__ = work, work.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, image: Any, owner: type | None = None) -> T:
        try:
            value = image.__dict__[self.name] = self.work(image)
        except (Exception, SystemExit) as error:
            image.failure = error
            raise
        return value


class Image:
    """An image under evaluation. What the checkpoint makes of it is worked out when a protocol asks, once for all."""

    failure: BaseException | None = None
    """What the method, not a protocol, stumbled over."""

    def __init__(self, sample: Sample, predictor: Predictor) -> None:
        self.id, self.label, self._pixels, self._predictor = sample.id, sample.label.long(), sample.image, predictor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the label."""
        return self.label.shape[0], self.label.shape[1]

    @_OfTheMethod
    def prediction(self) -> ImagePrediction:
        """The method's prediction on its own grid."""
        return self._predictor(self._pixels)

    @_OfTheMethod
    def readings(self) -> dict[str, Reading]:
        """The method's own prediction and every other reading of it, by name.

        Raises RunFailed for class scores that are NaN, of which no class is the largest.
        """
        scores = {OWN: self.prediction.logits(self.size), **self.prediction.readings(self.size)}
        for reading, logits in scores.items():
            if bool(logits.isnan().any()):
                named = f" ({reading})" if reading else ""
                raise RunFailed(
                    f"image {self.id!r}: class scores{named} that are not numbers; look at what predicts them"
                )
        return {name: Reading(self.id, logits, self.label) for name, logits in scores.items()}

    @_OfTheMethod
    def diagnosis(self) -> Diagnosis | None:
        """What the method says its errors are made of, if it says anything."""
        return self._predictor.diagnose(self._pixels, self.label)


class ImageCounts:
    """Counts of single images, of which a whole number array with few other cells than zeros is kept as these cells."""

    def __init__(self) -> None:
        self._ids = ImageIds()
        self._images: list[dict[str, _Packed]] = []

    def add(self, image_id: str, counts: Counts) -> None:
        """Keep one image; raises DuplicateImage the second time, ValueError where kinds or shapes change."""
        packed = {kind: _Packed.of(np.asarray(array)) for kind, array in counts.items()}
        if self._images:
            shapes, known = ({k: p.shape for k, p in image.items()} for image in (packed, self._images[0]))
            if shapes != known:
                raise ValueError(f"image {image_id!r} has counts of shapes {shapes}, those before it {known}")
        self._ids.add(image_id)
        self._images.append(packed)

    def merge(self, other: ImageCounts) -> None:
        """Add the images of another shard; raises DuplicateImage."""
        self._ids.extend(other._ids)
        self._images += other._images

    def stacked(self, image_ids: Iterable[str]) -> dict[str, NDArray[Any]]:
        """By kind the counts of some images in their order, (n, ...); raises KeyError for one that was not counted."""
        images = [self._images[place] for _, place in self._ids.places(image_ids)]
        return {kind: np.stack([image[kind].array() for image in images]) for kind in images[0]} if images else {}


@dataclass(frozen=True)
class _Packed:
    """An array, or the cells of it that are not zero."""

    shape: tuple[int, ...]
    values: NDArray[Any]
    cells: NDArray[np.int32] | None

    @classmethod
    def of(cls, array: NDArray[Any]) -> _Packed:
        if array.dtype.kind in "iu" and 3 * np.count_nonzero(array) < array.size:
            cells = np.flatnonzero(array)
            return cls(array.shape, array.reshape(-1)[cells], cells.astype(np.int32))
        return cls(array.shape, array, None)

    def array(self) -> NDArray[Any]:
        if self.cells is None:
            return self.values
        flat = np.zeros(int(np.prod(self.shape)), self.values.dtype)
        flat[self.cells] = self.values
        return flat.reshape(self.shape)


class Meter(Structural):
    """What a pass over a split fills: one image at a time, and the shares of several ranks add up."""

    def update(self, image: Image) -> None:
        """Count one image."""

    def merge(self, other: Any) -> None:
        """Add the images of another shard."""


class ReadingCounts:
    """The counts of every reading of the images, by reading.

    Args:
        count: counts of an image by reading. It travels between ranks, so no lambda.
    """

    def __init__(self, count: Callable[[Image], Mapping[str, Counts]]) -> None:
        self._count = count
        self.readings: dict[str, ImageCounts] = {}

    def update(self, image: Image) -> None:
        """Count one image."""
        for reading, counts in self._count(image).items():
            self.readings.setdefault(reading, ImageCounts()).add(image.id, counts)

    def merge(self, other: ReadingCounts) -> None:
        """Add the images of another shard, though this one may have seen none."""
        for reading, counts in other.readings.items():
            self.readings.setdefault(reading, ImageCounts()).merge(counts)


@dataclass
class Pass:
    """A pass over a split that a protocol wants. Passes over the same images share their predictions."""

    dataset: Dataset
    meter: Any
    """A ``Meter``; after the pass, that of all ranks."""
    doing: str = ""
    """For the progress bar, where a protocol has several passes."""
    within: Callable[[], AbstractContextManager[None]] | None = None
    """What holds while images are predicted; such a pass shares its predictions with no other."""

    @cached_property
    def ids(self) -> list[str]:
        """Those of the images, in the order of the split."""
        return [item.id for item in self.dataset.items]

    def covers(self, other: Pass) -> bool:
        """Whether the images of ``other`` can be counted on the way."""
        if self is other:
            return True
        shared = self.within is None and other.within is None and self.dataset.name == other.dataset.name
        return shared and {*self.dataset.items} >= {*other.dataset.items}

    def context(self) -> AbstractContextManager[None]:
        """What holds during the pass."""
        return nullcontext() if self.within is None else self.within()


@dataclass
class Found:
    """What a protocol found on one target."""

    metrics: Mapping[str, Any]
    by_reading: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    by_score: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metrics of each anomaly score, where ``rows`` of the protocol are those."""
    per_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    decomposition: dict[str, Values] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    statistics: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    """For the side file, by reading and kind: (n, ...). With ``OWN`` stand the ``IDS``."""


Steps = Generator[Sequence[Pass], None, Found]
"""A protocol at work on one target: it yields the passes that it needs, goes on when these are done, returns."""


@dataclass
class Evaluation:
    """A trained method with everything that it takes to score it."""

    predictor: Predictor
    source: type[Dataset]
    """The data set that the method was trained on."""
    open: Callable[[str, str], Dataset]
    """``open(name, split)`` finds a data set; raises DataError."""
    scratch: Path
    """An existing folder for what is only needed during evaluation."""
    density_score: str = "nll"
    results: Mapping[str, ProtocolResult] = field(default_factory=dict)
    """What is known of the same checkpoint so far, by protocol."""
    rank: int = 0
    world: int = 1


class Protocol(ABC):
    """One way of scoring.

    A protocol of one's own sets ``name``, ``title`` and ``columns`` and writes ``count`` and ``metrics``. By default it
    scores the evaluation splits of the data set of training; other ``targets`` need no more than to be named.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    """Raised whenever a definition changes that moves a number."""
    title: ClassVar[str]
    """Of its tables."""
    columns: ClassVar[tuple[Metric, ...]] = ()
    """All numbers that it gives, in the order of tables. The first is its headline."""
    by_default: ClassVar[bool] = False
    """False for what only those get who ask for it by name."""
    place: ClassVar[int] = 100
    """Protocols run and are shown in this order; equal ones by name."""
    kinds: ClassVar[tuple[str, ...]] = ()
    """What ``count`` gives that the side file keeps of every image, and ``metrics`` needs."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Kinds that a side file may have or not: of some targets, or in newer records alone. With them ``metrics`` gives
    more."""
    constants: ClassVar[tuple[str, ...]] = ()
    """Arrays in the side file that all images of a target share; ``metrics`` finds them among the counts."""

    on_source: ClassVar[bool] = True
    """Whether its targets are splits of the data set of training, named by the split alone, the headline first."""
    rows: ClassVar[Literal["Reading", "Score"]] = "Reading"
    """What tells several rows of one method apart: readings of its checkpoint, or anomaly scores."""
    primary: ClassVar[tuple[str, ...]] = ()
    """Metrics that order the rows, the first of them that a table has; by default the headline."""
    shows_costs: ClassVar[bool] = False
    """Whether its tables say what training cost."""
    compared: ClassVar[str] = ""
    """What of its numbers compares with the closed-set scores of the same checkpoint, if anything does: the drops."""
    rules: ClassVar[tuple[str, ...]] = ()
    """Sentences below its tables: how to read the numbers."""

    @classmethod
    def require_possible(cls) -> None:
        """Raises UserError where a package that it needs is not installed; asked before hours of training."""
        return

    @classmethod
    def headline(cls) -> str | None:
        """The metric that the summary repeats from the first target, on which the protocol is judged; None without."""
        return cls.columns[0].key if cls.on_source and cls.columns else None

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """(data set, split) of every target for methods trained on ``source``; empty if the protocol has none."""
        return [(source.name, split) for split in source.eval_splits]

    @classmethod
    def target_name(cls, target: tuple[str, str]) -> str:
        """A target (data set, split) as records name it."""
        return target[1] if cls.on_source else "/".join(target)

    @classmethod
    def kept(cls, arrays: Arrays, target: str, reading: str = OWN) -> Counts:
        """What the ``arrays`` of a side file hold of each image, by kind; nothing if one of ``kinds`` is missing."""
        found = of(arrays, (*cls.kinds, *cls.optional), cls.name, target, reading)
        return found if found.keys() >= {*cls.kinds} else {}

    @classmethod
    def count(cls, image: Reading) -> Counts:
        """What one image adds: arrays by kind, of the same shapes for every image, which are added over images."""
        raise NotImplementedError(f"protocol {cls.name} has no count; write it, or score")

    @classmethod
    def condensed(cls, counts: Counts) -> Counts:
        """What ``metrics`` needs of the ``counts`` (..., shape), if less will do: the margins of a matrix, say.

        Linear, since the bootstrap condenses first and then adds up images, a thousand times.
        """
        return counts

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """The numbers, (...) by name, of ``condensed`` counts (..., shape) summed over images; NaN where undefined.

        All leading axes are those of the result: the bootstrap asks for a thousand sums at once.
        """
        raise NotImplementedError(f"protocol {cls.name} has no metrics; write them")

    @classmethod
    def per_class(cls, counts: Counts) -> Mapping[str, Any]:
        """Numbers of each class, (C,) by name, of the summed counts; by default none."""
        return {}

    @classmethod
    def count_readings(cls, image: Image) -> dict[str, Counts]:
        """``count`` of every reading of an image."""
        return {name: cls.count(reading) for name, reading in image.readings.items()}

    @classmethod
    def score(cls, evaluation: Evaluation, dataset: Dataset) -> Steps:
        """Score one target: by default one pass that counts every reading of every image."""
        counted = Pass(dataset, ReadingCounts(cls.count_readings))
        yield [counted]
        return cls.found(counted.meter.readings, counted.ids, evaluation.source.classes.names)

    @classmethod
    def found(cls, counted: Mapping[str, ImageCounts], ids: Sequence[str], names: Sequence[str]) -> Found:
        """The numbers of every reading from the ``counted`` images ``ids`` of a split; ``names`` are of its classes."""
        found = Found({}, statistics={OWN: {IDS: np.array(ids)}})
        for reading, images in counted.items():
            stacked = images.stacked(ids)
            total = {kind: array.sum(0) for kind, array in stacked.items()}
            found.by_reading[reading] = cls.metrics(cls.condensed(total))
            found.statistics.setdefault(reading, {}).update({kind: stacked[kind] for kind in cls.kinds})
            if reading == OWN:
                per_class = cls.per_class(total)
                found.per_class = {metric: dict(zip(names, values)) for metric, values in per_class.items()}
        found.metrics = found.by_reading.pop(OWN)
        return found

    @classmethod
    def summarise(cls, metrics: Sequence[Values], results: Mapping[str, ProtocolResult]) -> Values:
        """What the ``metrics`` of one reading on all targets, the headline first, amount to.

        ``results`` are those of all protocols on the same checkpoint. By default the headline of the first target.
        """
        headline = cls.headline()
        return {} if headline is None else {headline: metrics[0].get(headline)}


def numbers(values: Mapping[str, Any]) -> Values:
    """Metric values as JSON has them: undefined ones are None."""
    return {name: None if not np.isfinite(value) else float(value) for name, value in values.items()}
