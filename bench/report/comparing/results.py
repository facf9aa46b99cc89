"""A results folder as comparisons read it: the ledger, the runs that count, and their statistics per image."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bench.common.errors import UserError, near
from bench.records.ledger import ledger
from bench.records.store import Store
from bench.report.comparing.samples import Samples
from bench.report.comparing.sides import counted
from bench.report.leaderboard.comparison import Statistics
from bench.schema.side_file import Arrays


class Results(NamedTuple):
    """What is compared."""

    numbers: pd.DataFrame
    """The ledger."""
    runs: pd.DataFrame
    """The runs that count: one row for each run, protocol and version."""
    samples: Samples
    """Bootstrap samples of them."""

    @classmethod
    def of(cls, store: Store) -> Results:
        """Everything of a folder. Raises UserError if it has no record."""
        records = {record.run_id: record for record in store.records()}
        if not records:
            raise UserError(f"there is no record in {store.root / 'records'}; make one with `bench run`")

        def statistics(run: str, under: str) -> Arrays:
            return store.statistics_of(records[run], under)

        return cls.made(ledger(records.values()), statistics)

    @classmethod
    def made(cls, numbers: pd.DataFrame, statistics: Statistics) -> Results:
        """Of a ledger and the statistics per image of its runs."""
        return cls(numbers, counted(numbers), Samples(numbers, statistics))

    def only(self, **wanted: str | None) -> Results:
        """Those runs that have the ``wanted`` values in columns of the ledger; None is any."""
        runs = self.runs
        for column, value in wanted.items():
            if value is not None:
                if not (runs[column] == value).any():
                    raise UserError(f"no run has the {column} {value!r}: {near(value, {*runs[column]})}")
                runs = runs[runs[column] == value]
        return self._replace(runs=runs)
