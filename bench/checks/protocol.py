"""``bench check`` for protocols: the rules of their contract, each a check by name, run on small images.

Rules about ``count`` take class scores that are made up; those about numbers score toyscapes_mini in the harness's own
loop, with a method that only looks at colours.
"""

from __future__ import annotations

import copy
import math
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.checks.method import ContractViolation, TinyNetwork, require
from bench.common.errors import UserError
from bench.config.tables import InferenceConfig
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.runs import plan as planning
from bench.schema import side_file
from bench.schema.record import Scores
from bench.scoring.protocols.base import OWN, Counts, Evaluation, Protocol, Reading
from bench.scoring.score import Outcome, located, score
from datasets.base import IGNORE, Dataset
from methods.base import Method, Prediction
from methods.capabilities import NotTrained

SOURCE = "toyscapes_mini"
CLASSES, SIZE, OTHER_SIZE = 5, (24, 32), (19, 41)
TOLERANCE = 1e-9


class Guess(NotTrained, Method):
    """Class scores, a density and an anomaly score that follow the colours of the image, and a second reading."""

    name = "guess"

    def predict(self, images: Tensor) -> Prediction:
        """Maps on cells of four pixels."""
        cells = F.avg_pool2d(images, 4, ceil_mode=True)
        weights = torch.randn(len(self.classes), 3, generator=torch.Generator().manual_seed(0))
        logits = 8 * torch.einsum("bdhw,cd->bchw", cells - 0.5, weights)
        return Prediction(logits, logits - 1, {"red": cells[:, 0]}, {"reversed": logits.flip(1)})


def reading(seed: int, size: tuple[int, int] = SIZE) -> Reading:
    """An image with random class scores and labels, of which a corner is void."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(CLASSES, (1, 1, 4, 6), generator=generator).float()
    label = F.interpolate(coarse, size=size, mode="nearest")[0, 0].long()
    scores = 3 * (torch.randn(CLASSES, *size, generator=generator) + F.one_hot(label, CLASSES).permute(2, 0, 1))
    label[:5, :7] = IGNORE
    return Reading(f"image-{seed}", scores, label)


@dataclass(frozen=True)
class Scored:
    """A target as the harness scored it."""

    scores: Scores
    outcome: Outcome

    def arrays(self, row: str, kinds: Iterable[str]) -> dict[str, np.ndarray]:
        """The statistics of a row that are of these ``kinds``."""
        return side_file.of(self.outcome.statistics, kinds, self.outcome.protocol.name, self.outcome.target, row)


class Subject:
    """A protocol under check: what it counts, and what it finds."""

    def __init__(self, protocol: type[Protocol], folder: Path) -> None:
        self.protocol, self.folder = protocol, folder
        self.kinds = *protocol.kinds, *protocol.optional

    @property
    def counts(self) -> bool:
        """Whether it counts single images with ``count``; one that scores in its own way may do without."""
        return self.protocol.count.__func__ is not Protocol.count.__func__  # type: ignore[attr-defined]

    @cached_property
    def scored(self) -> dict[str, Scored]:
        """Every target."""
        return self.run(lambda dataset: dataset)

    def run(self, change: Callable[[Dataset], Dataset]) -> dict[str, Scored]:
        """Score every target, of data sets after a ``change``."""
        source = registry.datasets.get(SOURCE)
        open_ = planning.opener(self.folder, allow_partial=False)
        targets = self.protocol.targets(source)
        require(bool(targets), f"targets names nothing for {SOURCE}, so that nothing can be checked with it")
        evaluation = Evaluation(
            predictor=Predictor(Guess(None, TinyNetwork(), source.classes), InferenceConfig(), torch.device("cpu")),
            source=source,
            open=lambda name, split: change(open_(name, split)),
            scratch=self.folder,
        )
        found = {}
        for outcome in (o for outcomes in score(evaluation, {self.protocol: targets}) for o in outcomes):
            if outcome.scores is None:
                raise ContractViolation(f"{outcome.target}: {outcome.reason}")
            found[outcome.target] = Scored(outcome.scores, outcome)
        return found

    def images(self) -> Iterator[tuple[Scored, str, Counts, Counts]]:
        """Of every target and row: its name, its condensed counts of every image (n, ...), and what images share."""
        for scored in self.scored.values():
            scores = scored.scores
            for row in scores.by_score if self.protocol.rows == "Score" else (OWN, *scores.by_reading):
                found = scored.arrays(row, self.kinds)
                missing = [kind for kind in self.protocol.kinds if kind not in found]
                require(not missing, f"kinds names {', '.join(missing)}, which is not among what is counted")
                shared = scored.arrays(row, self.protocol.constants)
                if found:
                    yield scored, row, self.protocol.condensed(found), shared


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of arrays or numbers agree to rounding."""
    return one.keys() == other.keys() and all(
        np.shape(one[k]) == np.shape(other[k]) and np.allclose(one[k], other[k], TOLERANCE, TOLERANCE, equal_nan=True)
        for k in one
    )


def check_it_describes_itself(subject: Subject) -> None:
    """Name, version, title and columns are there, and what is named is among the columns."""
    protocol = subject.protocol
    require(bool(re.fullmatch(r"[a-z][a-z0-9-]*", protocol.name)), f"name {protocol.name!r} is no lower-case-name")
    require(isinstance(protocol.version, str) and bool(protocol.version), "version is no text")
    require(isinstance(getattr(protocol, "title", None), str), "title is missing")
    require(bool(protocol.__doc__), "there is no docstring, which `bench show` prints")
    require(bool(protocol.columns), "columns is empty, so that nothing would be shown")
    keys = [column.key for column in protocol.columns]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    require(not twice, f"columns has {', '.join(twice)} twice")
    strange = sorted({*protocol.primary} - {*keys})
    require(not strange, f"primary names {', '.join(strange)}, which is none of columns")
    headline = protocol.columns[0]
    require(headline.better is not None, f"{headline.key} comes first and has no better side; put the headline first")
    slashed = [kind for kind in (*protocol.kinds, *protocol.optional, *protocol.constants) if "/" in kind]
    require(not slashed, f"kinds has {', '.join(slashed)}; a slash parts names in the side file")


def check_counts_are_arrays_of_fixed_shapes(subject: Subject) -> None:
    """Images of any size give finite arrays of the same kinds and shapes, ``kinds`` among them."""
    if not subject.counts:
        return
    counts = [subject.protocol.count(reading(i, size)) for i, size in enumerate((SIZE, OTHER_SIZE))]
    for image in counts:
        missing = [kind for kind in subject.protocol.kinds if kind not in image]
        require(not missing, f"kinds names {', '.join(missing)}, which count does not give")
        for kind, array in image.items():
            require(isinstance(array, np.ndarray), f"{kind} is of type {type(array).__name__}, no NumPy array")
            require(array.dtype.kind in "iuf", f"{kind} is {array.dtype}, which does not add up")
            require(bool(np.isfinite(array).all()), f"{kind} is not finite")
    one, other = ({kind: array.shape for kind, array in image.items()} for image in counts)
    require(one == other, f"images of other sizes have counts of other shapes: {one} and {other}")


def check_counting_leaves_scores_and_labels_alone(subject: Subject) -> None:
    """All protocols look at the same arrays."""
    if not subject.counts:
        return
    image = reading(0)
    before = copy.deepcopy((image.scores, image.label))
    subject.protocol.count(image)
    unchanged = torch.equal(image.scores, before[0]) and torch.equal(image.label, before[1])
    require(unchanged, "count changes the class scores or the label in place, which other protocols look at too")


def check_an_images_counts_are_its_own(subject: Subject) -> None:
    """Counts do not depend on what was counted before: they are added over images in any order, on any rank."""
    if not subject.counts:
        return
    first = subject.protocol.count(reading(0))
    subject.protocol.count(reading(1))
    require(same(first, subject.protocol.count(reading(0))), "counts of an image depend on those counted before it")


def check_void_does_not_count(subject: Subject) -> None:
    """Scores at void pixels change nothing."""
    if not subject.counts:
        return
    image = reading(0)
    scores = torch.where(image.label == IGNORE, image.scores.flip(0) * 2 + 1, image.scores)
    changed = subject.protocol.count(Reading(image.id, scores, image.label))
    require(same(subject.protocol.count(image), changed), "class scores at void pixels (255) change the counts")


def check_nothing_labelled_is_undefined_not_an_error(subject: Subject) -> None:
    """An image of void alone adds nothing, and numbers of nothing are NaN, without an exception or a warning."""
    if not subject.counts:
        return
    image = reading(0)
    empty = subject.protocol.count(Reading(image.id, image.scores, torch.full_like(image.label, IGNORE)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = subject.protocol.metrics(subject.protocol.condensed(empty))
    defined = [name for name, value in values.items() if not np.isnan(value)]
    require(not defined, f"without any labelled pixel {', '.join(defined)} must be NaN")


def check_numbers_are_in_their_columns_and_ranges(subject: Subject) -> None:
    """Every number is one of the columns and within its range, and the headline is among them."""
    columns = {column.key: column for column in subject.protocol.columns}
    for target, scored in subject.scored.items():
        scores = scored.scores
        rows = [scores.metrics, *scores.by_reading.values(), *scores.by_score.values()]
        wanted = {*subject.protocol.primary, subject.protocol.columns[0].key}
        require(any(wanted & row.keys() for row in rows), f"{target} has no number of the headline")
        for name, value in (item for row in rows for item in row.items()):
            column = columns[name]
            allowed = value is None or column.allows(value)
            require(allowed, f"{name} is {value} on {target}, outside of its range {column.low:g} to {column.high:g}")


def check_metrics_take_leading_axes(subject: Subject) -> None:
    """Many sums at once give what each gives alone: the bootstrap asks so."""
    for _, _, images, shared in subject.images():
        count = len(next(iter(images.values())))
        weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=(2, 3)).astype(float)
        sums = {kind: np.tensordot(weights, array, 1) for kind, array in images.items()}
        together = subject.protocol.metrics({**sums, **shared})
        for place in np.ndindex(2, 3):
            alone = subject.protocol.metrics({**{kind: array[place] for kind, array in sums.items()}, **shared})
            for name in alone:
                shape = np.shape(together.get(name, 0.0))
                require(shape == (2, 3), f"{name} of counts with leading axes (2, 3) is of shape {shape}")
            found = {name: np.asarray(value)[place] for name, value in together.items()}
            require(same(found, alone), "metrics of many sums at once differ from those of each alone")


def check_condensing_is_linear(subject: Subject) -> None:
    """Condensed and then added is the same as added and then condensed."""
    for scored, row, images, _ in subject.images():
        total = {kind: array.sum(0) for kind, array in scored.arrays(row, subject.kinds).items()}
        sums = {kind: array.sum(0) for kind, array in images.items()}
        require(same(sums, subject.protocol.condensed(total)), "condensed of a sum is not the sum of condensed counts")


def check_the_side_file_gives_the_recorded_numbers(subject: Subject) -> None:
    """Numbers of the sum over images are those of the record, so that intervals are about them.

    Where rows are anomaly scores, the record's are exact and those of the side file binned.
    """
    if subject.protocol.rows == "Score":
        return
    for scored, row, images, shared in subject.images():
        found = subject.protocol.metrics({**{kind: array.sum(0) for kind, array in images.items()}, **shared})
        recorded = scored.scores.by_reading[row] if row else scored.scores.metrics
        for name, value in found.items():
            known = recorded.get(name)
            agree = np.isnan(value) if known is None else math.isclose(value, known, rel_tol=1e-6, abs_tol=TOLERANCE)
            require(bool(agree), f"{name} of what the side file keeps is {float(value)}, the record says {known}")


def check_the_order_of_images_does_not_matter(subject: Subject) -> None:
    """The images of a split in reverse have the same numbers, and each the same counts."""

    def reverse(dataset: Dataset) -> Dataset:
        changed = copy.copy(dataset)
        changed.items = list(reversed(dataset.items))
        return changed

    backwards = subject.run(reverse)
    for target, scored in subject.scored.items():
        one, other = scored.scores, backwards[target].scores
        for ours, theirs in (
            ({"": one.metrics}, {"": other.metrics}),
            (one.by_reading, other.by_reading),
            (one.by_score, other.by_score),
        ):
            equal = all(same(_defined(ours[row]), _defined(theirs[row])) for row in ours)
            require(ours.keys() == theirs.keys() and equal, f"another order of images changes numbers on {target}")


def _defined(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_it_describes_itself,
    check_counts_are_arrays_of_fixed_shapes,
    check_counting_leaves_scores_and_labels_alone,
    check_an_images_counts_are_its_own,
    check_void_does_not_count,
    check_nothing_labelled_is_undefined_not_an_error,
    check_numbers_are_in_their_columns_and_ranges,
    check_metrics_take_leading_axes,
    check_condensing_is_linear,
    check_the_side_file_gives_the_recorded_numbers,
    check_the_order_of_images_does_not_matter,
)


def check(protocol: type[Protocol]) -> Iterator[tuple[str, str | None]]:
    """Run every check: its name, and None or what is wrong."""
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        subject = Subject(protocol, Path(folder))
        for function in CHECKS:
            name = function.__name__.removeprefix("check_").replace("_", " ")
            try:
                function(subject)
            except (ContractViolation, UserError) as error:
                yield name, str(error)
            except Exception as error:  # noqa: BLE001 - a protocol under check may raise anything
                yield name, located(error)
            else:
                yield name, None
