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
    """Of training and scoring, or of training where ``basis`` says so; None where no finished run tells."""
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
            return (
                f"{self.run}: {self.state}, {self.steps:,} steps; no finished run here has its network, "
                "`bench profile` times a few steps"
            )
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
    known = [forecast.minutes for forecast in to_make if forecast.minutes is not None]
    time = f", about {sum(known):.0f} min of what is known" * bool(known)
    return f"in all {len(to_make)} run{'s' * (len(to_make) != 1)} to make{time}"


def _forecast(
    config: RunConfig, store: Store, records: Sequence[Record], here: str, asked: set[str], force: bool
) -> Forecast:
    run_id, steps = config.run_id(), config.recipe.steps
    made = [record for record in records if record.run_id == run_id]
    if made and not force:
        return Forecast(run_id, "finished" if asked <= made[0].protocols.keys() else "to be scored", 0, 0.0, 0.0, "")
    state = "in part" if (store.run_folder(run_id) / CHECKPOINT).exists() and not force else "new"
    alike = [record for record in records if _costs_alike(record.config, config)]
    comparable = alike or [record for record in records if _same_network(record.config, config)]
    own = [record for record in comparable if record.config.method_name == config.method_name]
    basis = [record for record in own or comparable if record.environment.hardware == here] or own or comparable
    if not basis:
        return Forecast(run_id, state, steps, None, None, "")
    minutes = median(_training_minutes(record, config) + _scoring_minutes(record) * bool(alike) for record in basis)
    megabytes = median(_megabytes(record, config) for record in basis)
    hardware = {record.environment.hardware or record.environment.device for record in basis}
    if own:
        source = "its own finished runs"
    else:
        source = "runs of " + ", ".join(sorted({record.config.method_name for record in basis}))
    if not alike:
        source = f"the pixels of {source} with other data or batches, without scoring,"
    return Forecast(run_id, state, steps, minutes, megabytes, f"by {source} on {' and '.join(sorted(hardware))}")


def _training_minutes(record: Record, config: RunConfig) -> float:
    """What a finished run took for as many steps on as many pixels."""
    assert record.training is not None
    share = config.recipe.steps / max(record.training.steps, 1)
    return record.training.seconds / 60 * share * _pixels(config.recipe) / _pixels(record.config.recipe)


def _scoring_minutes(record: Record) -> float:
    return sum(result.seconds or 0.0 for result in record.protocols.values()) / 60


def _megabytes(record: Record, config: RunConfig) -> float:
    """What a finished run took at its peak, were its network to hold as many pixels at once."""
    assert record.training is not None
    here, there = config.recipe, record.config.recipe
    return record.training.peak_memory_mb * (_pixels(here) * there.accumulate) / (_pixels(there) * here.accumulate)


def _pixels(recipe: Recipe) -> int:
    """Of a step."""
    height, width = recipe.augmentation.crop
    return recipe.batch_size * recipe.accumulate * height * width


def _costs_alike(known: RunConfig, config: RunConfig) -> bool:
    """Whether a step of both computes the same network on as many pixels."""
    one, two = known.recipe, config.recipe

    def pixels(recipe: Recipe) -> tuple[object, ...]:
        return recipe.batch_size, recipe.accumulate, recipe.micro_batch, recipe.augmentation.crop, recipe.precision

    return (known.data.name, known.network, *pixels(one)) == (config.data.name, config.network, *pixels(two))


def _same_network(known: RunConfig, config: RunConfig) -> bool:
    """Whether both compute the same network in the same arithmetic, so that pixels tell what a step costs."""
    one, two = known.recipe, config.recipe
    return (known.network, one.precision, one.micro_batch) == (config.network, two.precision, two.micro_batch)
