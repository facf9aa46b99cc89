"""What papers claim, and whether the records at hand bear it out.

A file of claims says of each who states it and where, and which comparison tests it; the verdict is the interval's: all
of it above the threshold, all of it below, or neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.common.errors import UserError, near
from bench.common.text import in_markdown
from bench.config.tables import read_toml
from bench.plugins import registry
from bench.report.comparing.differences import Difference, differences
from bench.report.comparing.results import Results
from bench.report.comparing.show import number, signed
from bench.report.comparing.sides import Pair, Side, find, pairs
from bench.report.leaderboard.views import schedule
from bench.scoring.metrics.catalogue import metric

ENOUGH_SEEDS = 3
"""Of several groups with as many, the one that was trained longer is what a claim is about."""

FILE = "claims.toml"
"""In a results folder."""

Verdict = Literal["holds", "contradicted", "undecided", "not tested"]
_Text = Annotated[str, Field(min_length=1)]


class Claim(BaseModel):
    """That A is better than B by more than ``threshold``, or has more than that share of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: _Text
    paper: _Text
    source: _Text
    """Section, table or abstract, and how it is known."""
    statement: _Text
    a: _Text
    """As ``bench compare`` takes it."""
    b: _Text
    supervision: list[_Text] = Field(default=["dense"], min_length=1)
    """Labels from which both were trained; each is tested by itself."""
    supervision_of_b: str | None = None
    """Those of B, if it may have seen other labels."""
    protocol: str
    metrics: list[_Text] = Field(min_length=1)
    measure: Literal["difference", "ratio"] = "difference"
    threshold: float = Field(default=0.0, allow_inf_nan=False)
    """In the unit of the metrics, so that 0.01 is a point of mIoU; negative where the claim is to lose no more."""

    @model_validator(mode="after")
    def _require_ranked(self) -> Claim:
        if self.protocol not in registry.protocols.names():
            raise ValueError(
                f"there is no protocol {self.protocol!r}: {near(self.protocol, registry.protocols.names())}"
            )
        better = ("higher", "lower") if self.measure == "difference" else ("higher",)
        ranked = {column.key for column in registry.protocols.get(self.protocol).columns if column.better in better}
        for name in self.metrics:
            if name not in ranked:
                raise ValueError(f"{self.protocol} has no {self.measure} of {name!r}: {near(name, ranked)}")
        return self


class Claims(BaseModel):
    """A file of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipes: list[_Text] = []
    """Where a data set has runs of several recipes, the first of these that it has counts, and any other after them."""
    claims: list[Claim] = Field(min_length=1)

    @model_validator(mode="after")
    def _require_distinct(self) -> Claims:
        for name, count in Counter(claim.id for claim in self.claims).items():
            if count > 1:
                raise ValueError(f"there are {count} claims {name!r}")
        return self

    @classmethod
    def read(cls, path: Path) -> Claims:
        """Those of a TOML file. Raises UserError, in one sentence that says what to correct."""
        if not path.exists():
            raise UserError(f"there is no claims file {path}; name one with --claims")
        try:
            return cls.model_validate(read_toml(path))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            said = ": ".join(filter(None, (key, message[:1].lower() + message[1:])))
            raise UserError(f"claims file {path}: {said}; correct it") from None


class Tested(NamedTuple):
    """A claim on a target, as the runs of one data set and recipe have it."""

    claim: Claim
    supervision: str
    verdict: Verdict
    why: str = ""
    """Of one that is undecided or not tested."""
    pair: Pair | None = None
    found: Difference | None = None
    """What is tested: on the better side positive."""


def verdicts(claims: Claims, results: Results) -> Iterator[Tested]:
    """Every claim on every data set that has runs of both sides; one row that says so where none has."""
    runs = results.runs

    @cache
    def named(protocol: str, supervision: str, name: str) -> tuple[Side, pd.DataFrame] | None:
        return find(runs[(runs["protocol"] == protocol) & (runs["supervision"] == supervision)], name)

    for claim in claims.claims:
        for supervision in claim.supervision:
            made = [*_pairs(claim, supervision, named)]
            rows = [
                row for pair in _preferred(made, claims.recipes) for row in _rows(claim, supervision, results, pair)
            ]
            why = next((text for text in made if isinstance(text, str)), "no runs of both sides")
            yield from rows or [Tested(claim, supervision, "not tested", why)]


def _pairs(
    claim: Claim, supervision: str, named: Callable[[str, str, str], tuple[Side, pd.DataFrame] | None]
) -> Iterator[Pair | str]:
    """The pairs under the claim's protocol, or why there is none; ``named`` finds runs by what they are called."""
    a = named(claim.protocol, supervision, claim.a)
    b = named(claim.protocol, claim.supervision_of_b or supervision, claim.b)
    if a is None or b is None:
        return
    apart = ("supervision", "labels") if claim.supervision_of_b else ()
    yield from pairs(a[1], b[1], a[0], b[0], apart)


def _preferred(made: Sequence[Pair | str], recipes: Sequence[str]) -> list[Pair]:
    """For each data set the pair of the first of the ``recipes``; of several with enough seeds the longest training."""
    places = {name: place for place, name in enumerate(recipes)}

    def rank(pair: Pair) -> tuple[str, int, int, int, int]:
        place = places.get(pair.group["recipe"], len(places))
        return pair.group["dataset"], place, -min(pair.seeds, ENOUGH_SEEDS), -pair.steps, -pair.seeds

    found = sorted((pair for pair in made if isinstance(pair, Pair)), key=rank)
    return [next(alike) for _, alike in groupby(found, key=lambda pair: pair.group["dataset"])]


def _rows(claim: Claim, supervision: str, results: Results, pair: Pair) -> Iterator[Tested]:
    """What the claim is of: the target on which a protocol is judged, else each of them, else what is over all."""
    contrast = np.divide if claim.measure == "ratio" else np.subtract
    found = [*differences(results, pair, contrast, claim.metrics, judged=True)]
    for name in claim.metrics:
        of_metric = [row for row in found if row.metric.key == name]
        of_one = [row for row in of_metric if len(row.targets) == 1]
        for row in [row for row in of_one if row.headline] or of_one or of_metric:
            yield _judged(claim, supervision, pair, row)


def _judged(claim: Claim, supervision: str, pair: Pair, row: Difference) -> Tested:
    gain = row.estimate
    if row.metric.better == "lower":
        gain = gain._replace(value=-gain.value)
    why = gain.why_undecided(claim.threshold)
    verdict: Verdict = "undecided" if why else "holds" if gain.value > claim.threshold else "contradicted"
    return Tested(claim, supervision, verdict, why, pair, replace(row, estimate=gain))


# As people read them, and for programs


class Line(NamedTuple):
    """A claim on a target, in words."""

    claim: str
    """Its id, and the labels if training saw others than dense ones."""
    trained_on: str
    """Data set and schedule, as titles of tables have them."""
    scored_on: str
    metric: str
    gain: str
    interval: str
    verdict: str
    """With what is missing for one."""
    seeds: str
    runs: tuple[str, ...]
    """Pairs of run ids, one for each seed."""


def line(row: Tested) -> Line:
    """Of one that is not tested there is no more than the claim and its verdict."""
    claim, pair, found = row.claim, row.pair, row.found
    name = claim.id if row.supervision == "dense" else f"{claim.id}, from {row.supervision}"
    verdict = f"{row.verdict}: {row.why}" if row.why else row.verdict
    if pair is None or found is None:
        return Line(name, "", "", "", "", "", verdict, "", ())
    gain, low, high = (
        f"{100 * value:.1f}" if claim.measure == "ratio" else signed(found.metric, value)
        for value in (found.estimate.value, found.estimate.low, found.estimate.high)
    )
    return Line(
        claim=name,
        trained_on=f"{pair.config.data.name}: {schedule(pair.config)}",
        scored_on=found.target,
        metric=found.metric.label + ", A as share of B (%)" * (claim.measure == "ratio"),
        gain=gain,
        interval=f"{low} to {high}",
        verdict=verdict,
        seeds=str(found.estimate.seeds),
        runs=tuple(f"{runs.a} and {runs.b}" for runs in found.runs),
    )


_RULE = (
    "Gain: of A over B, mean over common seeds, on the better side positive; of shares in points. Its interval covers "
    "the choice of images and of training runs (`bench compare`), with one seed that of images alone. A claim *holds* "
    "where all of the interval is above what is claimed, which is no gain if nothing else is said, is *contradicted* "
    "where all of it is below, and *undecided* otherwise or with one seed. Claims are tested one by one, without "
    "correction for their number."
)
_HEADINGS = {
    "Claim": "---", "Metric": "---", "Gain": "---:", "95 % interval": "---:", "Verdict": "---", "Seeds": "---:",
}  # fmt: skip
"""The columns, and on which side their cells stand."""


def markdown(tested: Sequence[Tested]) -> str:
    """A page: for each paper its claims and what became of them, and the runs behind every row."""
    blocks = ["# What papers claim, and what the records say", f"Written by `bench claims`. {_RULE}"]
    behind: dict[tuple[str, ...], int] = {}
    for paper in dict.fromkeys(row.claim.paper for row in tested):
        rows = [row for row in tested if row.claim.paper == paper]
        stated = {row.claim.id: row.claim for row in rows}.values()
        blocks += [f"## {in_markdown(paper)}", "\n".join(map(_statement, stated))]
        if untested := [f"{line(row).claim} ({row.why})" for row in rows if row.found is None]:
            blocks.append(f"Not tested: {in_markdown('; '.join(untested))}.")
        if lines := [line(row) for row in rows if row.found is not None]:
            blocks.append("\n".join(_table(lines, behind)))
    if behind:
        blocks.append("\n".join(f"[^{number}]: {'; '.join(runs)}" for runs, number in behind.items()))
    return "\n\n".join(blocks) + "\n"


def _statement(claim: Claim) -> str:
    labels = f" from {claim.supervision_of_b} labels" if claim.supervision_of_b else ""
    said = f"{claim.statement} A is {claim.a}, B is {claim.b}{labels} ({claim.source})."
    above = f" It holds above {claimed(claim)}." if claim.threshold else ""
    return f"- **{in_markdown(claim.id)}**: {in_markdown(said + above)}"


def _table(lines: Sequence[Line], behind: dict[tuple[str, ...], int]) -> Iterator[str]:
    """``lines`` under what they were trained and scored on; runs are footnotes, numbered in ``behind``."""
    yield f"| {' | '.join(_HEADINGS)} |"
    yield f"| {' | '.join(_HEADINGS.values())} |"
    schedules = [*dict.fromkeys(one.trained_on for one in lines)]
    places = dict.fromkeys((one.trained_on, one.scored_on) for one in lines)
    for trained_on, scored_on in sorted(places, key=lambda place: schedules.index(place[0])):
        yield f"| **{in_markdown(trained_on)}**<br>on {in_markdown(scored_on)} |{' |' * (len(_HEADINGS) - 1)}"
        for one in lines:
            if (one.trained_on, one.scored_on) == (trained_on, scored_on):
                note = f"[^{behind.setdefault(one.runs, len(behind) + 1)}]"
                cells = map(in_markdown, (one.claim, one.metric, one.gain, one.interval, one.verdict, one.seeds))
                yield f"| {' | '.join(cells)}{note} |"


def brief(tested: Sequence[Tested]) -> str:
    """For the head of other pages, a line a verdict: each claim by its first metric, with numbers where they decide."""
    found: dict[Verdict, dict[str, list[str]]] = {verdict: {} for verdict in get_args(Verdict)}
    for row in tested:
        if row.found is not None and row.found.metric.key != row.claim.metrics[0]:
            continue
        one = line(row)
        places = found[row.verdict].setdefault(one.claim, [])
        if row.pair is not None:
            place = one.scored_on if "/" in one.scored_on else row.pair.group["dataset"]
            places.append(f"on {place}" if row.why else f"{one.gain} ({one.interval}) on {place}")
    told = {
        verdict: "; ".join(f"{name} {', '.join(places)}".strip() for name, places in of_claims.items())
        for verdict, of_claims in found.items()
    }
    lines = [f"- **{verdict}**: {in_markdown(text)}." for verdict, text in told.items() if text]
    head = "Gains with 95 % intervals, by the first metric of each; `bench claims` has statements, schedules and runs."
    return "\n\n".join(["## What papers claim", head, "\n".join(lines)])


def claimed(claim: Claim) -> str:
    """The threshold, as gains are shown."""
    known = metric(claim.metrics[0], claim.protocol)
    return f"{100 * claim.threshold:.0f} %" if claim.measure == "ratio" else known.text(claim.threshold)


def as_json(tested: Sequence[Tested]) -> list[dict[str, Any]]:
    """Every row with all digits, for programs."""
    return [
        {
            **row.claim.model_dump(mode="json", exclude={"supervision", "metrics"}),
            "supervision": row.supervision,
            "verdict": row.verdict,
            "why": row.why or None,
            "group": None if row.pair is None else dict(row.pair.group),
            "found": None if row.found is None else number(row.found),
        }
        for row in tested
    ]
