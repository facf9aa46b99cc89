"""A search in place of a product: Optuna suggests the settings of trials, each of which is ordinary runs.

The records are all that it remembers. A sampler with a seed suggests the trials of a round and is then told, in their
order, what their records say. So the same command meets the same trials again: it goes by those that are done and makes
the others, however many at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, product, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from bench.common.console import note
from bench.common.errors import UserError, near
from bench.config.tables import parse_value, split_assignment
from bench.plugins import registry
from bench.records.store import Store
from bench.sweeps.plan import Grid, Planned, Range, Search, Setting, Sweep, runs_of

if TYPE_CHECKING:
    import optuna


class Trial(NamedTuple):
    """Settings that were tried."""

    settings: dict[str, Setting]
    runs: list[Planned]
    """One for each seed; none where the settings do not go together."""
    value: float | None
    """Mean of the metric over the seeds; None where a run failed or there is none."""


class Study:
    """The trials of one method on one data set, from one kind of labels.

    Raises UserError where there is no split for selection, or an end of a range fits no run.
    """

    def __init__(self, cell: Grid, sweep: Sweep, search: Search) -> None:
        try:
            import optuna
        except ImportError:
            raise UserError("Optuna is not installed; pip install 'genseg-bench[search]'") from None
        self.cell, self.sweep, self.search = cell, sweep, search
        self.trials: list[Trial] = []
        self.split = _split(cell.datasets[0], search.protocol)
        columns = {column.key: column for column in registry.protocols.get(search.protocol).columns if column.better}
        if search.metric not in columns:
            raise UserError(
                f"search.metric: {search.protocol} has no {search.metric!r}: {near(search.metric, columns)}"
            )
        self.metric = columns[search.metric]
        for key, values in search.settings.items():
            if key in {split_assignment(text)[0] for text in cell.set}:
                raise UserError(f"{key} is searched for and set; leave it out of one of them")
            for value in (values.low, values.high) if isinstance(values, Range) else values:
                self._runs({key: value})
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._failed = optuna.trial.TrialState.FAIL
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=search.seed, constant_liar=True),
            direction="maximize" if self.metric.better == "higher" else "minimize",
        )

    def rounds(self, store: Store) -> Iterator[list[Planned]]:
        """The runs of one round of trials after another; the last are those of which ``store`` has no record then."""
        for first in range(0, self.search.trials, self.search.round):
            asked = [self._study.ask() for _ in range(first, min(first + self.search.round, self.search.trials))]
            tried = [{key: _suggested(trial, key, of) for key, of in self.search.settings.items()} for trial in asked]
            made = [self._possible(settings) for settings in tried]
            yield [*chain.from_iterable(made)]
            if not all(store.record_path(run.run).exists() for runs in made for run in runs):
                return
            for trial, settings, runs in zip(asked, tried, made):
                value = self._value(store, runs)
                self._study.tell(trial, value, self._failed if value is None else None)
                self.trials.append(Trial(settings, runs, value))

    @property
    def best(self) -> Trial | None:
        """The first of the best trials so far."""
        done = [(trial.value, trial) for trial in self.trials if trial.value is not None]
        choose = max if self.metric.better == "higher" else min
        return choose(done, key=lambda one: one[0])[1] if done else None

    @property
    def sentence(self) -> str:
        """What was found so far."""
        (method,), (dataset,), (supervision,) = self.cell.methods, self.cell.datasets, self.cell.supervisions
        of, best = f"{method} on {dataset} ({supervision})", self.best
        if best is None or best.value is None:
            return f"{of}: no trial has a {self.metric.label} yet"
        found = " ".join(f"{key}={value}" for key, value in best.settings.items())
        runs = ", ".join(run.run for run in best.runs)
        return (
            f"{of}: the best of {len(self.trials)} trials is {found}, {self.metric.label} "
            f"{self.metric.text(best.value)} on {self.split} ({runs})"
        )

    def _possible(self, settings: dict[str, Setting]) -> list[Planned]:
        """The runs under ``settings``; none where these exclude each other, which each by itself did not show."""
        try:
            return self._runs(settings)
        except UserError as error:
            note(f"a trial is left out: {error}")
            return []

    def _runs(self, settings: dict[str, Setting]) -> list[Planned]:
        runs = [*runs_of(self.cell, self.sweep.protocols, settings)]
        if len(runs) != len({*self.cell.seeds}):
            raise UserError("a search gives each key of set one value; name those with several in [search.settings]")
        return runs

    def _value(self, store: Store, runs: Sequence[Planned]) -> float | None:
        values: list[float] = []
        for run in runs:
            record = store.read(run.run)
            result = None if record is None else record.protocols.get(self.search.protocol)
            scores = None if result is None else result.targets.get(self.split)
            value = None if scores is None else scores.metrics.get(self.metric.key)
            if value is None:
                return None
            values.append(value)
        return sum(values) / len(values) if values else None


def studies(sweep: Sweep, search: Search) -> list[Study]:
    """One for each method, data set and kind of labels. Raises UserError for what cannot be searched."""
    protocol = registry.protocols.get(search.protocol)
    if not (protocol.name in sweep.protocols if sweep.protocols else protocol.by_default):
        raise UserError(f"the search looks at {protocol.name}, which the runs are not scored by; add it to protocols")
    cells = [
        grid.model_copy(update={"methods": [method], "datasets": [dataset], "supervisions": [supervision]})
        for grid in sweep.grids
        for method, dataset, supervision in product(grid.methods, grid.datasets, grid.supervisions)
    ]
    return [Study(cell, sweep, search) for cell in cells]


def rounds(studies: Sequence[Study], store: Store) -> Iterator[list[Planned]]:
    """A round of all ``studies`` after another: each run once, and to be made before the next round is asked for."""
    for together in zip_longest(*(study.rounds(store) for study in studies), fillvalue=()):
        yield [*{run.run: run for run in chain.from_iterable(together)}.values()]


def _split(dataset: str, protocol: str) -> str:
    """The target of ``protocol`` on which may be selected: never the one that results are judged on."""
    source, scored = registry.datasets.get(dataset), registry.protocols.get(protocol)
    split = source.selection_split
    if split is None:
        raise UserError(
            f"{dataset} has no split to select on but the one that results are judged on; search on another"
        )
    if (dataset, split) not in scored.targets(source):
        raise UserError(f"{protocol} does not score {split} of {dataset}, on which the search selects; choose another")
    return scored.target_name((dataset, split))


def _suggested(trial: optuna.Trial, key: str, values: Range | list[Setting]) -> Setting:
    if not isinstance(values, Range):
        chosen: Setting = trial.suggest_categorical(key, values)
        return parse_value(chosen) if isinstance(chosen, str) else chosen
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)
