"""Commands that keep house in results folders."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands import options
from bench.commands.completion import named
from bench.commands.options import Command, Place, say, say_json, say_row, suggest
from bench.common.errors import UserError

if TYPE_CHECKING:
    from bench.records.housekeeping import Merged


@click.command("ls", cls=Command)
@options.read_results_argument()
@options.json_option
def ls(results: Path, as_json: bool) -> None:
    """List the runs of RESULTS: status, age, size and what they are of. Of a URL the records alone are read."""
    from bench.records.housekeeping import listing
    from bench.records.store import Store

    runs = listing(Store(results))
    if not runs:
        raise UserError(f"there is no run in {results}; make one with `bench run`")
    if as_json:
        say_json([run._asdict() for run in runs])
        return
    width = max(len(run.run) for run in runs)
    for run in runs:
        what = f"{run.configuration}, {run.dataset} ({run.supervision}), {run.recipe}, seed {run.seed}"
        say_row(f"{run.run:<{width}}  {run.status:<10}  {_age(run.created):>8}  {run.megabytes:8.1f} MB  {what}")
    suggest("show", runs[0].run)


def _age(created: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


@click.command(cls=Command)
@options.results_argument
@click.option("--unfinished", is_flag=True, help="Folders of runs that have no record and are not in progress.")
@click.option("--models", is_flag=True, help="Models of finished runs; their numbers stay.")
@click.option("--cache", is_flag=True, help="What is fitted once for many runs; it is made again when it is needed.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def clean(results: Path, unfinished: bool, models: bool, cache: bool, yes: bool) -> None:
    """Free disk space in RESULTS. Records and their statistics always stay; says first what would go, and asks."""
    from bench.records import housekeeping
    from bench.records.store import Store

    if not results.is_dir():
        raise UserError(f"there is no run in {results}; make one with `bench run`")
    store, chosen = Store(results), unfinished or models or cache
    asked = (unfinished, models, cache) if chosen else (True, True, True)
    found = list(housekeeping.removable(store, *asked))
    for item in found:
        say(f"{item.megabytes:9.1f} MB  {item.what:<14}  {item.path}")
    say(f"{sum(item.megabytes for item in found):9.1f} MB in all")
    if not found:
        return
    if not chosen:
        say("nothing is removed: choose with --unfinished, --models, --cache")
    elif yes or _confirmed("remove these?"):
        housekeeping.remove(found)


def _confirmed(question: str) -> bool:
    """Raises UserError where the input ends without an answer."""
    try:
        return click.confirm(question)
    except click.Abort as error:
        if not isinstance(error.__context__, EOFError):  # but Ctrl-C
            raise
        say("")  # ends the line of the question
        raise UserError("the input ended before an answer; add --yes to remove without being asked") from None


@click.command(cls=Command)
@click.argument("sources", type=options.Address(file_okay=False, exists=True), nargs=-1, required=True)
@click.option("--into", type=Place(file_okay=False), required=True, help="Results folder that receives them.")
def merge(sources: tuple[Path | str, ...], into: Path) -> None:
    """Bring the finished runs of results folders, or URLs of them, together; of two of one id the newer stays.

    A model or statistics that it lacks are added to it.
    """
    from bench.records import housekeeping, remote
    from bench.records.store import Store

    for source in sources:
        with remote.at_hand(source) as folder:
            merged = housekeeping.merge(Store(folder), Store(into), partial(remote.bring_run, source, folder))
        counts = f"{len(merged.added)} added, {len(merged.renewed)} renewed, {len(merged.kept)} there already"
        say(f"{source}: {counts}")
        _say_completed(merged)
    suggest("leaderboard", "--results", into)


def _say_completed(merged: Merged) -> None:
    for run, what in merged.completed.items():
        say(f"{run} was there already; added to it: its {' and '.join(what)}")


@click.command(cls=Command)
@click.argument("run_name", metavar="RUN", shell_complete=named("run"))
@click.option(
    "--to", type=options.Address(), required=True, help="A folder, or a URL of any file system that fsspec knows."
)
@options.results
def push(run_name: str, to: Path | str, results: Path) -> None:
    """Write a finished RUN as one archive: record, statistics, model, pictures, and a manifest of hashes."""
    from bench.records import zoo
    from bench.records.store import Store

    store = Store(results)
    archive = zoo.push(store, store.find(run_name), str(to))
    say(archive)
    suggest("pull", archive, "--results", "RESULTS")


@click.command(cls=Command)
@click.argument("addresses", type=options.Address(), metavar="ARCHIVE...", nargs=-1, required=True)
@options.results
def pull(addresses: tuple[Path | str, ...], results: Path) -> None:
    """Bring runs from ARCHIVEs, files or URLs that `bench push` made, into a results folder."""
    from bench.records import zoo
    from bench.records.store import Store

    for address in addresses:
        merged = zoo.pull(str(address), Store(results))
        for run in (*merged.added, *merged.renewed):
            say(run)
        for run in merged.kept:
            say(f"{run} was there already")
        _say_completed(merged)
    suggest("ls")
