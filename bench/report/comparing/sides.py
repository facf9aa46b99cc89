"""Which runs a comparison is between: names become runs, paired by seed within what both have in common."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.common.errors import UserError, near
from bench.config.tables import RunConfig
from bench.records.ledger import GROUP, parts, rows
from bench.records.naming import named
from bench.report.leaderboard.selection import runs_of, select, states_of

_WORDS = {
    "dataset": "data set", "supervision": "supervision", "labels": "labels", "architecture": "architecture",
    "encoder": "encoder", "weights": "encoder weights", "recipe": "recipe", "recipe_hash": "the recipe's settings",
    "inference": "inference", "ranks": "number of ranks", "training_images": "number of training images",
    "training_fingerprint": "training labels", "training_content": "training files",
}  # fmt: skip
"""What sets runs apart, as a sentence names it."""


class Side(NamedTuple):
    """A method, configuration or run, and the reading of its checkpoint that is meant."""

    name: str
    reading: str | None = None
    """An anomaly score, or a reading beside the method's own prediction; None where none is named."""

    @property
    def text(self) -> str:
        """As it is given on the command line."""
        return self.name if self.reading is None else f"{self.name}@{self.reading}"


class Runs(NamedTuple):
    """The runs of both sides with one seed."""

    seed: int
    a: str
    b: str


@dataclass(frozen=True)
class Pair:
    """Two configurations that may be compared."""

    group: Mapping[str, Any]
    """What both share, by the columns of the ledger."""
    config: RunConfig
    """Of a run of A."""
    a: Side
    b: Side
    runs: Mapping[tuple[str, str], list[Runs]]
    """By protocol and version, of the seeds that both have."""

    @property
    def title(self) -> str:
        """Who is compared, and where."""
        return f"{self.a.text} against {self.b.text}: {self.where}"

    @property
    def where(self) -> str:
        """The group in few words."""
        of_group = "{dataset}, {supervision}, {recipe} ({steps} steps), {encoder}"
        return of_group.format(**self.group, steps=self.steps)

    @property
    def steps(self) -> int:
        """Of training."""
        return self.config.recipe.steps

    @property
    def seeds(self) -> int:
        """The most that a protocol has."""
        return max(len(runs) for runs in self.runs.values())

    @property
    def is_of_itself(self) -> bool:
        """Whether both sides are the same reading of the same runs."""
        same = all(found.a == found.b for runs in self.runs.values() for found in runs)
        return same and self.a.reading == self.b.reading


def counted(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs that tables count: one row for each run, protocol and version, with its label in that table."""
    found = []
    for _, members in parts(frame, "group"):
        runs, states = runs_of(members), states_of(members)
        complete = states.loc[states["status"] == "complete", ["protocol", "version"]].drop_duplicates()
        for protocol, version in complete.itertuples(index=False):
            selection = select(runs, states, protocol, version)
            naming = named([*selection.used["variant"], *selection.incomplete["variant"]])
            label = selection.used["variant"].map(naming.label)
            found.append(selection.used.assign(protocol=protocol, version=version, label=label))
    return pd.concat(found) if found else frame[:0].assign(label="")


def side(entries: pd.DataFrame, text: str) -> Side:
    """What ``text`` names among ``counted`` runs: NAME or NAME@READING. Raises UserError for nothing."""
    found = find(entries, text)
    if found is None:
        everything = {*entries["configuration"], *entries["method"]}
        raise UserError(f"there is no method, configuration or run {text!r}: {near(text, everything)}")
    return found[0]


def find(entries: pd.DataFrame, text: str) -> tuple[Side, pd.DataFrame] | None:
    """``side`` and the runs that are ``called`` so; None for nothing."""
    name, at, reading = text.rpartition("@")
    forms = [Side(text), Side(name, reading)] if at and name and reading else [Side(text)]
    found = ((form, called(entries, form.name)) for form in forms)
    return next((one for one in found if len(one[1])), None)


def called(entries: pd.DataFrame, name: str) -> pd.DataFrame:
    """The ``counted`` runs that ``name`` means: one run by its id or record, or in each group what is called so.

    The configuration's own name comes before its label in a table, that before the method, and last a pattern in which
    a star is any text.
    """
    run = Path(name).name.removesuffix(".json")
    of_a_run = entries["run"].str.startswith(run) & (run != "")
    if entries.loc[of_a_run, "run"].nunique() == 1:
        return entries[of_a_run]
    pattern = ".*".join(map(re.escape, name.split("*")))
    # A short name without a word is a method's: it may be several configurations.
    labels = entries["label"].where(entries["label"] != entries["method"])
    ways = [column == name for column in (entries["configuration"], labels, entries["method"])]
    ways.append(entries["configuration"].str.fullmatch(pattern))
    entries = entries.assign(way=np.select(ways, range(len(ways)), len(ways)))
    way = entries.groupby(["group", "variant"], sort=False)["way"].transform("min")
    return entries[(way < len(ways)) & (way == way.groupby(entries["group"]).transform("min"))]


def pairs(of_a: pd.DataFrame, of_b: pd.DataFrame, a: Side, b: Side, apart: Sequence[str] = ()) -> Iterator[Pair | str]:
    """The comparison of ``called`` runs in each group that has both, or the sentence that says why there is none.

    Both sides may differ in the columns ``apart``, and in no others.
    """
    alike = [column for column in GROUP if column not in apart]
    key = alike if apart else "group"  # which is a hash of all of them
    in_groups_of_a, in_groups_of_b = (dict(parts(entries, key)) for entries in (of_a, of_b))
    shared = [group for group in in_groups_of_a if group in in_groups_of_b]
    if not shared:
        yield _unlike(a.name, of_a, b.name, of_b, alike)
    for group in shared:
        yield pair_of(in_groups_of_a[group], in_groups_of_b[group], a, b)


def pair_of(of_a: pd.DataFrame, of_b: pd.DataFrame, a: Side, b: Side) -> Pair | str:
    """The comparison of runs of one group, or the sentence that says why there is none."""
    first = of_a.iloc[0]
    where = ", ".join((first["dataset"], first["supervision"], first["recipe"]))
    for one, entries in ((a, of_a), (b, of_b)):
        names = sorted({*entries["configuration"]})
        if len(names) > 1:
            return f"{one.name} is {len(names)} configurations under {where}: {'; '.join(names)}; name one of them"
    scored = ["seed", "protocol", "version"]
    found_a, found_b = (dict(zip(rows(entries[scored]), entries["run"])) for entries in (of_a, of_b))
    runs: dict[tuple[str, str], list[Runs]] = defaultdict(list)
    for key in sorted(found_a.keys() & found_b.keys()):
        runs[key.protocol, key.version].append(Runs(key.seed, found_a[key], found_b[key]))
    if not runs:
        seeds = [", ".join(map(str, sorted({*entries["seed"]}))) for entries in (of_a, of_b)]
        return (
            f"under {where} {a.name} and {b.name} share no seed under any protocol (seeds {seeds[0]} and {seeds[1]}); "
            "run one of them with the seeds of the other"
        )
    return Pair({key: of_a[key].tolist()[0] for key in GROUP}, first["config"], a, b, dict(runs))


def _unlike(a: str, of_a: pd.DataFrame, b: str, of_b: pd.DataFrame, alike: Sequence[str]) -> str:
    """Why runs cannot be compared: of what should be ``alike``, what no run of one side shares with the other."""
    for column, word in ((column, word) for column, word in _WORDS.items() if column in alike):
        values = [{*map(str, entries[column])} for entries in (of_a, of_b)]
        if not values[0] & values[1]:
            texts = [", ".join(sorted(found)) or "none" for found in values]
            differ = f"their {word} differ ({texts[0]} and {texts[1]})"
            break
    else:
        differ = "no two of their runs agree in data set, supervision, network, recipe and training data at once"
    return f"{a} and {b} cannot be compared, {differ}; run one of them as the other was"
