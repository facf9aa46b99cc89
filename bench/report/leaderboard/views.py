"""What of the runs a leaderboard shows: by default each method once, with the numbers that order the protocols' tables.

Nothing here looks at how good a number is: of a method's configurations the one nearest to its defaults is shown, of
its anomaly scores the one that it declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import pandas as pd

from bench.common.errors import UserError, near
from bench.config.tables import NOT_OF_THE_RESULT, Recipe, RunConfig, recipe_names, recipe_tables
from bench.plugins import registry
from bench.records.ledger import parts, rows
from bench.records.naming import Variant, flat
from bench.report.leaderboard.model import Column, ColumnKey, Row, Table
from bench.schema.record import Record
from bench.scoring.described import shown

OVERVIEW = "overview"
"""What ``Table.protocol`` says of tables over several protocols."""


@dataclass(frozen=True)
class View:
    """A choice of what there is to show; empty tuples choose all."""

    everything: bool = False
    """All configurations, scores, readings, splits and costs, a table for each protocol."""
    protocols: tuple[str, ...] = ()
    """A table for each of these, with all its targets and metrics, in place of the overviews."""
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    top: int | None = None
    """At most so many rows of a table."""

    @property
    def overviews(self) -> bool:
        """Whether a table is over several protocols."""
        return not (self.everything or self.protocols)

    @property
    def of_all_runs(self) -> bool:
        """Whether no protocol, data set or method is chosen."""
        return not (self.protocols or self.datasets or self.methods)

    @property
    def choice(self) -> View:
        """What it shares with the views of the same runs."""
        return replace(self, protocols=(), top=None)

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The part of the ledger that is shown; what a choice of protocols leaves out is there still."""
        for column, chosen in (("dataset", self.datasets), ("method", self.methods)):
            frame = frame[frame[column].isin(chosen)] if chosen else frame
        return frame if self.everything else frame[frame["run"].isin(usual(frame))]


EVERYTHING = View(everything=True)


def require(view: View, records: Sequence[Record]) -> None:
    """Raise UserError for a data set, method or protocol that no record is of."""
    there = {
        "--dataset": (view.datasets, {record.config.data.name for record in records}),
        "--method": (view.methods, {record.config.method_name for record in records}),
        "--protocol": (view.protocols, {name for record in records for name in record.protocols}),
    }
    for option, (asked, known) in there.items():
        for name in asked:
            if name not in known:
                raise UserError(f"no record is of {option} {name!r}: {near(name, sorted(known))}")


def usual(frame: pd.DataFrame) -> set[str]:
    """The runs of each method's configuration nearest to its defaults in each group, and all that failed."""
    runs = frame.drop_duplicates("run")
    chosen = {*runs.loc[runs["run_status"] != "complete", "run"]}
    for _, group in parts(runs[runs["run_status"] == "complete"], "group"):
        trained = group[[not variant.features for variant in group["variant"]]]
        for _, of_method in parts(trained if len(trained) else group, "method"):
            found = dict(parts(of_method, "configuration"))
            chosen |= {*found[min(found, key=lambda text: _distance(text, found[text]))]["run"]}
    return chosen


def _distance(configuration: str, runs: pd.DataFrame) -> tuple[object, ...]:
    """The newest version first, then by the number of settings that are not defaults, then most seeds."""
    settings = "(" in configuration, configuration.count(",")
    return [-ord(c) for c in runs["method_version"].iloc[0]], *settings, -len(runs), configuration


def short_names(variants: Iterable[Variant]) -> dict[Variant, str]:
    """Names for one configuration a method."""
    return {variant: variant.called() for variant in variants}


def one_score(candidates: Sequence[Row]) -> list[Row]:
    """Of each method's rows its own prediction, or its declared anomaly score; its first score if that is missing."""
    declared = {method: declared_score(method) for method in {row.method for row in candidates if row.score}}
    found: dict[str, Row] = {}
    for row in sorted(candidates, key=lambda row: (row.score not in ("", declared.get(row.method)), row.score)):
        found.setdefault(row.label, row)
    return list(found.values())


def declared_score(method: str) -> str | None:
    """The anomaly score by which a method is judged, if it is installed."""
    return _declared(method, registry.methods.changes)


@lru_cache
def _declared(method: str, changes: int) -> str | None:
    """``changes`` of the registry: what was read of a method holds as long as they stay."""
    if method not in registry.methods.names():
        return None
    with registry.methods.to_read(method) as found:
        return found.headline_score


def overview(tables: Sequence[Table], runs: pd.DataFrame) -> Table:
    """The tables of one group's ``runs``, a protocol each, as one: rows are joined by their names."""
    joined: dict[str, Row] = {}
    columns: list[Column] = []
    for table in tables:
        several = len({column.target for column in table.columns}) > 1
        for column in table.columns:
            group = f"{table.protocol}, {column.group}" if several and column.target else table.protocol
            columns.append(replace(column, key=_under(table.protocol, column.key), group=group, shown=True))
        for row in table.rows:
            own = joined.setdefault(row.label, replace(row, score="", cells={}))
            own.cells.update({_under(table.protocol, key): cell for key, cell in row.cells.items()})
    shown_runs = {run for row in joined.values() for run in row.run_ids}
    facts = {name: text for name, text in tables[0].facts.items() if name != "protocol"}
    facts["settings that are not defaults"] = _settings_of(runs[runs["run"].isin(shown_runs)])
    facts["anomaly scores"] = ", ".join(f"{r.label} {r.score}" for table in tables for r in table.rows if r.score)
    return Table(
        title(runs["config"].iloc[0]),
        OVERVIEW,
        {name: text for name, text in facts.items() if text},
        columns=columns,
        rows=list(joined.values()),
        incomplete=list(dict.fromkeys(item for table in tables for item in table.incomplete)),
        rules=[rule for table in tables for rule in table.rules],
        notes=list(dict.fromkeys(note for table in tables for note in table.notes)),
    )


def _under(protocol: str, key: ColumnKey) -> ColumnKey:
    return f"{protocol}/{key[0]}", key[1], key[2]


def _settings_of(runs: pd.DataFrame) -> str:
    found = dict.fromkeys((run.variant.called(), run.configuration) for run in rows(runs))
    told = [(name, configuration.partition("(")[2].partition(")")[0]) for name, configuration in found]
    return "; ".join(f"{name} {settings}" for name, settings in told if settings)


def title(config: RunConfig) -> str:
    """Data set, labels, and the schedule with what a run's recipe has besides the one of that name."""
    labels = "" if config.data.supervision == "dense" else f" from {config.data.supervision}"
    return f"{config.data.name}{labels}: {schedule(config)}"


def schedule(config: RunConfig) -> str:
    """The length of training, its recipe, and what that has besides the one of that name."""
    return ", ".join([f"{_steps(config)} ({config.recipe.name})", *_changes(config)])


def recipe_in_words(config: RunConfig) -> str:
    """Its name, its length, and what it has besides the recipe of that name."""
    return ", ".join([config.recipe.name, _steps(config), *_changes(config)])


def _steps(config: RunConfig) -> str:
    return f"{config.recipe.steps:,} step{'s' * (config.recipe.steps > 1)}"


def _changes(config: RunConfig) -> list[str]:
    recipe = config.recipe
    if recipe.name not in recipe_names():
        return []
    usual = _usual_content(recipe.name, config.data.name)
    changed = {key: value for key, value in _content(recipe).items() if usual.get(key) != value}
    return [key.replace("_", "-") if value is True else f"{key}={value}" for key, value in changed.items()]


@cache
def _usual_content(recipe: str, dataset: str) -> dict[str, object]:
    """Of a recipe that comes with the suite."""
    return _content(Recipe(**recipe_tables(recipe, dataset)["recipe"]))


def _content(recipe: Recipe) -> dict[str, object]:
    return flat(recipe.model_dump(exclude={*NOT_OF_THE_RESULT, "name", "steps"}))


def in_order(tables: Iterable[Table]) -> tuple[list[Table], list[str]]:
    """Overviews that rest on most numbers first, and their rules, which are said once for all of them."""

    def numbers(table: Table) -> int:
        keys = {column.key for column in table.columns}
        return sum(cell.n for row in table.rows for key, cell in row.cells.items() if key in keys)

    ordered = sorted(tables, key=numbers, reverse=True)
    rules = dict.fromkeys(rule for table in ordered for rule in table.rules)
    for table in ordered:
        table.rules = []
    return ordered, ["Rows are ordered by the first column with numbers for all of them.", *rules]


def judged_by(protocol: str, columns: Sequence[Column], primary: Sequence[Column], view: View) -> list[Column]:
    """The ``columns`` of a protocol's table that are shown: those that order the rows, or all but secondary splits."""
    if view.everything:
        return list(columns)
    if view.overviews:
        return list(primary)
    targets = {column.target for column in primary}
    on_source = shown(protocol).on_source
    return [c for c in columns if c.group != "cost" and (c.target in targets or not (on_source and c.target))]
