"""Commands for many runs at once."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bench.commands import options
from bench.commands.options import EXIT_FAILED, Command, Place, load_plugins, say, say_json, suggest


@click.command(cls=Command)
@click.argument("grid", type=Place(dir_okay=False), metavar="GRID.toml")
@click.option("--launcher", type=click.Choice(["local", "slurm", "ray"]), default="local")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Runs at once.  [default: here one for each GPU, or one; on a cluster as many as it takes]",
)
@click.option("--only", type=click.Choice(["failed", "missing"]), help="Runs that failed, or that have no record.")
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
@options.data_root
@options.results
@click.option("--plugin", "plugins", type=Place(), multiple=True, help="A file with a method, data set or protocol.")
@options.device
def sweep(
    grid: Path,
    launcher: str,
    jobs: int | None,
    only: str | None,
    dry_run: bool,
    data_root: tuple[Path, ...],
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
) -> None:
    """Make all runs of a grid: methods x data sets x supervisions x seeds x settings, as GRID.toml names them.

    Each is what `bench run` makes. With a table [search], settings are searched for in place of all combinations. The
    same command continues an interrupted sweep.
    """
    import os

    import torch

    from bench.common import names
    from bench.records.environment import hardware
    from bench.records.store import Store
    from bench.runs.forecast import forecasts
    from bench.runs.plan import require_possible
    from bench.sweeps import launchers, plan, schedule, search
    from bench.sweeps.states import state

    load_plugins(plugins)
    store, asked = Store(results), plan.read(grid)
    name = names.require("the name of a grid's file", grid.stem)
    devices = 0 if device == "cpu" else torch.cuda.device_count()
    place = torch.device("cuda" if devices else "cpu")
    where = ["--results", str(results), "--data-root", os.pathsep.join(map(str, data_root)), "--device", device]
    where += [word for path in plugins for word in ("--plugin", str(path))]

    def to_make(runs: list[plan.Planned]) -> list[plan.Planned]:
        require_possible([run.config for run in runs], place)
        found = {run.run: state(store, run.run, asked.protocols) for run in runs}
        chosen = [run for run in runs if schedule.ONLY[only](found[run.run])]
        if studies and not chosen:  # a round that is done
            return []
        say(f"{len(runs)} runs: {schedule.counted(found.values())}; {len(chosen)} to make")
        estimates = forecasts([run.config for run in chosen], store, hardware(place), asked.protocols, force=True)
        for run, estimate in zip(chosen, estimates):
            say(estimate.sentence)
            if dry_run:
                say("  " + shlex.join(["bench", *run.words]))
        minutes = [estimate.minutes for estimate in estimates if estimate.minutes is not None]
        say(f"about {sum(minutes):.0f} min for {len(minutes)} of {len(chosen)} runs, of which runs like them are known")
        return chosen

    def launched() -> launchers.Launcher:
        store.require_writable()
        if launcher == "local":
            return launchers.Local(jobs, devices)
        if launcher == "slurm":
            return launchers.Slurm(results / "sweeps" / "slurm", asked.slurm, jobs)
        return launchers.Ray(asked.ray, jobs)

    studies = [] if asked.search is None else search.studies(asked, asked.search)
    rounds = search.rounds(studies, store) if studies else iter([plan.planned(asked)])
    made: launchers.Launcher | None = None
    known: list[plan.Planned] = []
    whole = True
    for runs in rounds:
        known += runs
        if not (chosen := to_make(runs)):
            continue
        if dry_run:
            return
        made = made or launched()
        plan.keep(store, name, known)
        lines = [plan.Planned(run.config, [*run.words, *where]) for run in chosen]
        outcome = schedule.work(lines, store, made, asked.protocols)
        say(f"{len(outcome.done)} done, {len(outcome.failed)} failed, {len(outcome.interrupted)} stopped")
        whole = whole and not outcome.failed + outcome.interrupted
        if outcome.interrupted:
            break
    for study in studies:
        say(study.sentence)
    if not whole:
        raise click.exceptions.Exit(EXIT_FAILED)
    suggest("leaderboard")


@click.command(cls=Command)
@options.results_argument
@options.json_option
def status(results: Path, as_json: bool) -> None:
    """Say of every run of RESULTS and its sweeps whether it is queued, running, stale, interrupted, done or failed."""
    from bench.common.errors import UserError
    from bench.records.store import Store
    from bench.sweeps import plan, schedule
    from bench.sweeps.states import runs_of, state

    store = Store(results)
    states = [state(store, run) for run in sorted(runs_of(store) | plan.kept(store))]
    if not states:
        raise UserError(f"there is no run in {results}; make one with `bench run`")
    if as_json:
        say_json([{"run": found.run, "state": found.state, "progress": found.progress} for found in states])
        return
    for found in states:
        if found.state not in ("done", "queued"):
            say(": ".join(filter(None, (f"{found.run} {found.state}", found.progress))))
    say(schedule.counted(states))
