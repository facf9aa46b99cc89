"""Which runs count under a protocol: the complete ones, the newest of each seed, and the split they are judged on."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bench.records.ledger import TRAINING, rows
from bench.scoring.described import shown

REASON_LENGTH = 240


class Selection(NamedTuple):
    """The runs of a group under one version of a protocol, one row each."""

    used: pd.DataFrame
    """Those that count, by age."""
    incomplete: pd.DataFrame
    """The others with ``problem`` and ``why``; not those scored under another version, or not under one on request."""
    superseded: pd.DataFrame
    """Complete runs of which there is a newer one with the same seed, and its id as ``newest``."""


def runs_of(numbers: pd.DataFrame) -> pd.DataFrame:
    """The runs of a part of the ledger by age, one row each."""
    return numbers.drop_duplicates("run").sort_values(["created", "run"])


def states_of(numbers: pd.DataFrame) -> pd.DataFrame:
    """What became of each run under each protocol, one row each."""
    scored = ~numbers["protocol"].isin(("", TRAINING))
    return numbers.loc[scored, ["run", "protocol", *_State._fields]].drop_duplicates(["run", "protocol"])


def select(runs: pd.DataFrame, states: pd.DataFrame, protocol: str, version: str) -> Selection:
    """Sort out those of ``runs_of`` a group that count under ``version`` of ``protocol``, by the group's ``states``."""
    under = rows(states.loc[states["protocol"] == protocol, ["run", *_State._fields]])
    found = {run: _State(*state) for run, *state in under}
    of_runs = zip(runs["run_status"], runs["run_reason"], map(found.get, runs["run"]))
    problems = [_problem(*state, protocol, version) for state in of_runs]
    keys, names = list(zip(runs["variant"], runs["seed"])), runs["run"].tolist()
    complete = [place for place, (problem, _) in enumerate(problems) if problem == _NONE]
    newest = {keys[place]: place for place in complete}
    older = [place for place in complete if newest[keys[place]] != place]
    others = [place for place, (problem, _) in enumerate(problems) if problem not in (_NONE, _UNMENTIONED)]
    superseded = runs[["variant", "seed", "run"]].iloc[older]
    return Selection(
        runs.iloc[sorted(newest.values())],
        runs.iloc[others].assign(problem=[problems[i][0] for i in others], why=[problems[i][1] for i in others]),
        superseded.assign(newest=[names[newest[keys[place]]] for place in older]),
    )


def headline(numbers: pd.DataFrame) -> str:
    """The split that a protocol of several splits summarises in all runs; without a summary, the test split."""
    judged = numbers[numbers["headline"]].groupby("target")["run"].nunique()
    return min(judged.index[judged == numbers["run"].nunique()], default="test")


def sentence(text: str) -> str:
    """A reason in one line of limited length."""
    words = " ".join((text or "no reason was recorded").split())
    return words if len(words) <= REASON_LENGTH else words[: REASON_LENGTH - 1] + "…"


_NONE = ""
_UNMENTIONED = "unmentioned"
"""Of runs scored under another version of the protocol, or not under one that is only scored on request."""


class _State(NamedTuple):
    """What became of a run under a protocol."""

    version: str
    status: str
    reason: str
    metric: str
    """Empty if nothing was measured."""


def _problem(run_status: str, run_reason: str, under: _State | None, protocol: str, version: str) -> tuple[str, str]:
    """Why a run is not averaged, as (status, reason)."""
    if run_status != "complete":
        return "failed", sentence(run_reason)
    if under is None:
        mentioned = shown(protocol).by_default
        return "not scored" if mentioned else _UNMENTIONED, f"the run was not scored under {protocol}"
    if under.version != version:
        return _UNMENTIONED, ""
    if under.status != "complete":
        return under.status, sentence(under.reason)
    if not under.metric:
        return "not scored", "the protocol has no target"
    return _NONE, ""
