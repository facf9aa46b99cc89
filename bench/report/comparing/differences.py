"""By how much one of a pair is better: a row for each protocol, target and metric, with its interval.

Values are those of the ledger; resamples of the side files say how far they may be trusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.common.errors import UserError, near
from bench.records.ledger import rows
from bench.report.comparing.bootstrap import Estimate
from bench.report.comparing.results import Results
from bench.report.comparing.samples import SUMMARY_OF, Samples, mean_over_targets
from bench.report.comparing.sides import Pair, Runs, called, pairs, side
from bench.report.leaderboard import statistics as stats
from bench.report.leaderboard.statistics import Floats
from bench.scoring.described import order as order_of_protocols
from bench.scoring.described import shown
from bench.scoring.metrics.catalogue import Metric, metric, order

_Key = tuple[str, str, str]
"""Target, data and metric."""
Contrast = Callable[[Floats, Floats], Floats]
"""What sets the values of two sides apart: their difference or their ratio."""


class Wins(NamedTuple):
    """In how many of several cases the first side is better."""

    won: int
    of: int


@dataclass(frozen=True)
class Difference:
    """A metric on a target, of one side less the same of the other."""

    protocol: str
    version: str
    targets: tuple[str, ...]
    """One, or those that a summary is over."""
    metric: Metric
    readings: tuple[str, str]
    a: float
    """Mean over the common seeds."""
    b: float
    estimate: Estimate
    runs: Sequence[Runs]
    seeds_won: Wins
    classes_won: Wins
    targets_won: Wins
    p_wilcoxon: float | None
    """Over the seeds of one target or over several targets, where there are enough."""
    headline: bool
    """Whether the protocol is judged on this target."""

    @property
    def target(self) -> str:
        """As it is shown."""
        return self.targets[0] if len(self.targets) == 1 else f"{len(self.targets)} targets"

    @property
    def better(self) -> str:
        """``a`` or ``b``; empty where that is undecided."""
        if self.estimate.why_undecided():
            return ""
        return "a" if (self.estimate.value > 0) == (self.metric.better == "higher") else "b"


_OF_A_CLASS = {"miou": "iou"}
"""The metric of a class where it is called otherwise than the mean over classes."""


class Comparisons(NamedTuple):
    """Two sides beside each other wherever that can be done."""

    found: list[tuple[Pair, list[Difference]]]
    """A pair for each group that has both, with its differences."""
    left_out: list[str]
    """A sentence for each group that was left out."""


def compared(results: Results, a: str, b: str) -> Comparisons:
    """``a`` with ``b`` in each group that has both.

    Raises UserError for names of nothing, where no two runs are alike in all but method and seed, and where nothing
    was measured of both.
    """
    one, two = side(results.runs, a), side(results.runs, b)
    of_a, of_b = called(results.runs, one.name), called(results.runs, two.name)
    for chosen, entries in ((one, of_a), (two, of_b)):
        if chosen.reading is None:
            continue
        known = {*results.numbers.loc[results.numbers["run"].isin(entries["run"]), "reading"]} - {""}
        if chosen.reading not in known:
            raise UserError(f"{chosen.name} has no reading {chosen.reading!r}: {near(chosen.reading, known)}")
    made = [*pairs(of_a, of_b, one, two)]
    found = [(pair, [*differences(results, pair)]) for pair in made if not isinstance(pair, str)]
    comparisons = Comparisons([one for one in found if one[1]], [text for text in made if isinstance(text, str)])
    if not comparisons.found:
        nothing = f"{a} and {b} share no ranked metric of one target; score both with `bench evaluate RUN`"
        raise UserError(next(iter(comparisons.left_out), nothing))
    return comparisons


def differences(
    results: Results,
    pair: Pair,
    contrast: Contrast = np.subtract,
    metrics: Collection[str] | None = None,
    judged: bool = False,
) -> Iterator[Difference]:
    """The ranked ``metrics``, or all, on every target that both sides of ``pair`` have, in the order of tables.

    ``judged``: a metric that both sides have on the target on which its protocol is judged, on no other.
    """
    ids = {run for found in pair.runs.values() for runs in found for run in (runs.a, runs.b)}
    numbers = results.numbers[results.numbers["run"].isin(ids)]
    for protocol, version in sorted(pair.runs, key=lambda key: (order_of_protocols(key[0]), key[1])):
        scored = numbers[(numbers["protocol"] == protocol) & (numbers["version"] == version)]
        runs = pair.runs[protocol, version]
        for readings in _readings(scored, runs[0], pair, protocol):
            compared = _Compared(scored, results.samples, runs, protocol, version, readings, contrast)
            yield from compared.rows(metrics, judged)


def _readings(scored: pd.DataFrame, runs: Runs, pair: Pair, protocol: str) -> list[tuple[str, str]]:
    """What is set against each other: what is named, else own predictions, or each score that both sides have."""
    of_a, of_b = ({*scored.loc[scored["run"] == run, "reading"]} for run in (runs.a, runs.b))
    a, b = pair.a.reading, pair.b.reading
    if shown(protocol).rows == "Score":
        if a is None and b is None:
            return [(score, score) for score in sorted((of_a & of_b) - {""})]
        a, b = (b if a is None else a), (a if b is None else b)
    return [(a or "", b or "")] if (a or "") in of_a and (b or "") in of_b else []


@dataclass(frozen=True)
class _Compared:
    """A pair of readings under one version of a protocol."""

    scored: pd.DataFrame
    samples: Samples
    runs: Sequence[Runs]
    protocol: str
    version: str
    readings: tuple[str, str]
    contrast: Contrast

    def rows(self, metrics: Collection[str] | None, judged: bool) -> Iterator[Difference]:
        """Those of ``metrics``, or all: targets in the order of the records, then what is over several."""
        ranked = self.scored[(self.scored["part"] == "") & (self.scored["direction"] != "")]
        a, b = self._by_seed(ranked, 0), self._by_seed(ranked, 1)
        targets = [*dict.fromkeys(ranked["target"])]
        keys = [key for key in a if key in b and key[0] and self._wanted(key[2], metrics)]
        if judged:
            defined = {key for key in keys if np.isfinite(a[key] + b[key]).any()}
            decisive = {key for key in defined if key[0] in self._headlines}
            names = {key[2] for key in decisive}
            keys = [key for key in keys if key in decisive or key[2] not in names]
        keys.sort(key=lambda key: (targets.index(key[0]), order(key[2], self.protocol)))
        one, two = (np.array([values[key] for key in keys]) for values in (a, b))
        found = [self._row(name, (target,), one[[i]], two[[i]]) for i, (target, _, name) in enumerate(keys)]
        for name in dict.fromkeys(key[2] for key in keys) if not shown(self.protocol).on_source else ():
            alike = [i for i, key in enumerate(keys) if key[2] == name]
            over = tuple(keys[i][0] for i in alike)
            if len({*over}) == len(over) > 1:
                found.append(self._row(SUMMARY_OF.get(name, name), over, one[alike], two[alike]))
        yield from filter(None, found)

    @staticmethod
    def _wanted(name: str, metrics: Collection[str] | None) -> bool:
        return metrics is None or name in metrics or SUMMARY_OF.get(name) in metrics

    def _by_seed(self, ranked: pd.DataFrame, side: int) -> dict[_Key, Floats]:
        """The values of a side, (seeds,) by target, data and metric; NaN where a seed has none."""
        places = {(runs.a, runs.b)[side]: place for place, runs in enumerate(self.runs)}
        own = ranked[ranked["run"].isin(places) & (ranked["reading"] == self.readings[side])]
        found: dict[_Key, Floats] = defaultdict(lambda: np.full(len(self.runs), np.nan))
        for run, target, data, name, value in rows(own[["run", "target", "data", "metric", "value"]]):
            found[target, data, name][places[run]] = value
        return dict(sorted(found.items()))

    def _row(self, name: str, targets: tuple[str, ...], one: Floats, two: Floats) -> Difference | None:
        """A metric on one target, or over several, from the values (targets, seeds) of both sides.

        Of the seeds that have all of them; None if there is no such seed.
        """
        whole = np.flatnonzero(np.isfinite(one + two).all(axis=0)).tolist()
        runs = [self.runs[place] for place in whole]
        if not runs:
            return None
        one, two = one[:, whole], two[:, whole]
        known = metric(name, self.protocol)
        mean, sign = mean_over_targets(name), 1 if known.better == "higher" else -1
        by_seed = mean(one), mean(two)
        by_target = one.mean(1), two.mean(1)
        tested = by_seed if len(targets) == 1 else by_target
        return Difference(
            protocol=self.protocol,
            version=self.version,
            targets=targets,
            metric=known,
            readings=self.readings,
            a=float(by_seed[0].mean()),
            b=float(by_seed[1].mean()),
            estimate=self._estimate(name, targets, runs, *by_seed),
            runs=runs,
            seeds_won=_wins(sign, *by_seed),
            classes_won=_wins(sign, *self._classes(name, targets, runs)),
            targets_won=_wins(sign, *by_target),
            p_wilcoxon=stats.wilcoxon_over_seeds(dict(enumerate(tested[0])), dict(enumerate(tested[1])), 1),
            headline=targets[0] in self._headlines,
        )

    @cached_property
    def _headlines(self) -> set[str]:
        """The targets on which the protocol is judged."""
        others = self.scored.loc[~self.scored["headline"].astype(bool), "target"]
        return {*self.scored["target"]} - {*others}

    def _estimate(self, name: str, targets: tuple[str, ...], runs: Sequence[Runs], a: Floats, b: Floats) -> Estimate:
        """Of the values by seed; resamples tell what the images add where all runs have them."""
        sides = [(found.a, self.readings[0]) for found in runs], [(found.b, self.readings[1]) for found in runs]
        asked = [self.samples.of(run, self.protocol, targets, name, reading) for run, reading in (*sides[0], *sides[1])]
        drawn = [found for found in asked if found is not None]
        if len(drawn) < len(asked):
            return Estimate.of(self.contrast(a, b))
        one, two = np.split(np.stack([found.values for found in drawn], axis=1), 2, axis=1)
        return Estimate.of(self.contrast(a, b), self.contrast(one, two), min(found.images for found in drawn))

    def _classes(self, name: str, targets: tuple[str, ...], runs: Sequence[Runs]) -> tuple[Floats, Floats]:
        """The values of each class, mean over seeds; nothing where there are several targets or other readings."""
        if len(targets) > 1 or self.readings != ("", ""):
            return np.empty(0), np.empty(0)
        of_classes = (self.scored["part"] != "") & (self.scored["metric"] == _OF_A_CLASS.get(name, name))
        found = self.scored[of_classes & (self.scored["target"] == targets[0])]
        sides = [found[found["run"].isin({(pair.a, pair.b)[side] for pair in runs})] for side in (0, 1)]
        a, b = (side.groupby("part")["value"].mean().dropna() for side in sides)
        both = a.index.intersection(b.index)
        return a[both].to_numpy(float), b[both].to_numpy(float)


def _wins(sign: int, a: Floats, b: Floats) -> Wins:
    return Wins(int((sign * (a - b) > 0).sum()), len(a))
