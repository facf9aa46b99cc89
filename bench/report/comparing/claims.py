"""What papers claim, and whether the records at hand bear it out.

A file of claims says of each who states it and where, and which comparison tests it; the verdict is the interval's: all
of it above the threshold, all of it below, or neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

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
from bench.report.comparing.sides import Pair, called, find, pairs
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
    """Where a data set has runs of several recipes, the first of these that it has counts."""
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
    for claim in claims.claims:
        for supervision in claim.supervision:
            made = [*_pairs(claim, supervision, results.runs)]
            rows = [
                row for pair in _preferred(made, claims.recipes) for row in _rows(claim, supervision, results, pair)
            ]
            why = next((text for text in made if isinstance(text, str)), "no runs of both sides")
            yield from rows or [Tested(claim, supervision, "not tested", why)]


def _pairs(claim: Claim, supervision: str, runs: pd.DataFrame) -> Iterator[Pair | str]:
    """The pairs under the claim's protocol, or why there is none."""
    runs = runs[runs["protocol"] == claim.protocol]
    of_a = runs[runs["supervision"] == supervision]
    of_b = runs[runs["supervision"] == (claim.supervision_of_b or supervision)]
    a, b = find(of_a, claim.a), find(of_b, claim.b)
    if a is None or b is None:
        return
    apart = ("supervision", "labels") if claim.supervision_of_b else ()
    yield from pairs(called(of_a, a.name), called(of_b, b.name), a, b, apart)


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
    found = [*differences(results, pair, contrast, claim.metrics)]
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


# As Markdown and for programs

HEADINGS = {
    "Claim": "---", "Trained on": "---", "Scored on": "---", "Metric": "---", "Gain": "---:", "95 % interval": "---:",
    "More than": "---:", "Verdict": "---", "Seeds": "---:", "Runs": "---:",
}  # fmt: skip
"""The columns, and on which side their cells stand."""
_RULE = (
    "Gain: of the first configuration over the second, mean over common seeds, on the better side positive; shares in "
    "per cent. Its interval covers the choice of images and of training runs (`bench compare`), with one seed that of "
    "images alone. A claim *holds* where all of the interval is above what is claimed, is *contradicted* where all of "
    "it is below, and *undecided* otherwise or with one seed. Claims are tested one by one, without correction for "
    "their number."
)


def markdown(tested: Sequence[Tested]) -> str:
    """A page: for each paper its claims and what became of them, and the runs behind every row."""
    blocks = ["# What papers claim, and what the records say", "Written by `bench claims`. " + _RULE]
    behind: dict[str, int] = {}
    for paper in dict.fromkeys(row.claim.paper for row in tested):
        rows = [row for row in tested if row.claim.paper == paper]
        stated = {row.claim.id: row.claim for row in rows}.values()
        blocks.append(f"## {in_markdown(paper)}")
        blocks.append("\n".join(map(_statement, stated)))
        lines = [[*HEADINGS], [*HEADINGS.values()], *(map(in_markdown, cells(row, behind)) for row in rows)]
        blocks.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    if behind:
        blocks.append("## Runs")
        blocks.append("\n".join(f"{number}. {runs}" for runs, number in behind.items()))
    return "\n\n".join(blocks) + "\n"


def _statement(claim: Claim) -> str:
    said = f"{claim.statement} {claim.a} against {claim.b} ({claim.source})."
    return f"- **{in_markdown(claim.id)}**: {in_markdown(said)}"


def cells(row: Tested, behind: dict[str, int]) -> tuple[str, ...]:
    """What stands under the ``HEADINGS`` in a row; the runs behind it are numbered in ``behind``."""
    claim, pair, found = row.claim, row.pair, row.found
    if pair is None or found is None:
        labels = ", ".join(filter(None, (row.supervision, claim.supervision_of_b)))
        return claim.id, labels, "", ", ".join(claim.metrics), "", "", _claimed(claim), f"not tested: {row.why}", "", ""
    runs = "; ".join(f"{runs.a} and {runs.b}" for runs in found.runs)
    number = behind.setdefault(runs, len(behind) + 1)
    what = f"{found.metric.label} ({' / '.join(found.readings)})" if any(found.readings) else found.metric.label
    return (
        claim.id,
        f"{pair.group['dataset']}, {row.supervision}, {pair.group['recipe']} ({pair.steps} steps)",
        found.target,
        what,
        _text(claim, found, found.estimate.value),
        f"{_text(claim, found, found.estimate.low)} to {_text(claim, found, found.estimate.high)}",
        _claimed(claim),
        f"{row.verdict}: {row.why}" if row.why else row.verdict,
        str(found.estimate.seeds),
        str(number),
    )


def _text(claim: Claim, found: Difference, value: float) -> str:
    return f"{100 * value:.1f} %" if claim.measure == "ratio" else signed(found.metric, value)


def _claimed(claim: Claim) -> str:
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
