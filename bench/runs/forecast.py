"""What a grid would do and cost, by the finished runs of the results folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from bench.config.tables import Recipe, RunConfig
from bench.records.store import Store
from bench.schema.record import Record
from bench.training.checkpoint import CHECKPOINT


class Forecast(NamedTuple):
    """A run of a grid before it is made."""

    run: str
    state: str
    """finished, to be scored, in part (it continues) or new."""
    steps: int
    """0 for a run that is trained."""
    minutes: float | None
    """Of training and scoring; None where no finished run is like it."""
    megabytes: float | None
    """Peak memory of training; None likewise."""
    basis: str
    """Which runs both are taken from."""

    @property
    def sentence(self) -> str:
        """As it is printed."""
        if not self.steps:
            return f"{self.run}: {self.state}"
        if self.minutes is None or self.megabytes is None:
            return f"{self.run}: {self.state}, {self.steps:,} steps; no finished run here is like it"
        return (
            f"{self.run}: {self.state}, {self.steps:,} steps, about {self.minutes:.0f} min and "
            f"{self.megabytes / 1000:.1f} GB, {self.basis}"
        )


def forecasts(
    configs: Iterable[RunConfig], store: Store, here: str, protocols: Iterable[str] = (), force: bool = False
) -> list[Forecast]:
    """One for each run of a grid that is scored under ``protocols``; with ``force`` finished ones are repeated.

    ``here`` is the hardware: runs on it count where there are any.
    """
    asked = set(protocols)
    records = [record for record in store.records() if record.status == "complete" and record.training is not None]
    return [_forecast(config, store, records, here, asked, force) for config in configs]


def total(plan: Sequence[Forecast]) -> str:
    """How many runs would be made, and how long those would take of which that is known."""
    to_make = [forecast for forecast in plan if forecast.steps]
    minutes = sum(forecast.minutes or 0.0 for forecast in to_make)
    return f"in all {len(to_make)} run{'s' * (len(to_make) != 1)} to make, about {minutes:.0f} min of what is known"


def _forecast(
    config: RunConfig, store: Store, records: Sequence[Record], here: str, asked: set[str], force: bool
) -> Forecast:
    run_id, steps = config.run_id(), config.recipe.steps
    made = [record for record in records if record.run_id == run_id]
    if made and not force:
        return Forecast(run_id, "finished" if asked <= made[0].protocols.keys() else "to be scored", 0, 0.0, 0.0, "")
    state = "in part" if (store.run_folder(run_id) / CHECKPOINT).exists() and not force else "new"
    alike = [record for record in records if _costs_alike(record.config, config)]
    own = [record for record in alike if record.config.method_name == config.method_name]
    basis = [record for record in own or alike if record.environment.hardware == here] or own or alike
    if not basis:
        return Forecast(run_id, state, steps, None, None, "")
    minutes = median(_minutes(record, steps) for record in basis)
    megabytes = median(record.training.peak_memory_mb for record in basis if record.training is not None)
    hardware = {record.environment.hardware or record.environment.device for record in basis}
    if own:
        source = "its own finished runs"
    else:
        source = "runs of " + ", ".join(sorted({record.config.method_name for record in basis}))
    return Forecast(run_id, state, steps, minutes, megabytes, f"by {source} on {' and '.join(sorted(hardware))}")


def _minutes(record: Record, steps: int) -> float:
    assert record.training is not None
    scoring = sum(result.seconds or 0.0 for result in record.protocols.values())
    return (record.training.seconds * steps / max(record.training.steps, 1) + scoring) / 60


def _costs_alike(known: RunConfig, config: RunConfig) -> bool:
    """Whether a step of both computes the same network on as many pixels."""
    one, two = known.recipe, config.recipe

    def pixels(recipe: Recipe) -> tuple[object, ...]:
        return recipe.batch_size, recipe.accumulate, recipe.micro_batch, recipe.augmentation.crop, recipe.precision

    return (known.data.name, known.network, *pixels(one)) == (config.data.name, config.network, *pixels(two))
