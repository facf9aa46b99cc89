"""Commands that show what runs left: tables, curves, pictures and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands import options
from bench.commands.completion import named
from bench.commands.options import Command, Place, say, say_json, say_written, suggest
from bench.common.errors import UserError
from bench.common.text import lines

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.records.store import Store
    from bench.report.comparing.claims import Tested
    from bench.report.leaderboard.comparison import Statistics
    from bench.schema.record import Record


@click.command(cls=Command)
@options.read_results_argument(writes=lambda given: bool(given["formats"]))
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="A table of this protocol, with all targets and metrics.",
    shell_complete=named("protocol"),
)
@click.option("--dataset", "datasets", multiple=True, help="Only runs trained on it.", shell_complete=named("dataset"))
@click.option("--method", "methods", multiple=True, help="Only runs of it.", shell_complete=named("method"))
@click.option("--top", type=click.IntRange(1), help="Rows of a table at most.")
@click.option("--all", "everything", is_flag=True, help="All configurations, scores, splits and costs.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["md", "csv", "json", "tex", "html"]),
    multiple=True,
    help="Files to write, in place of tables in the terminal.",
)
@click.option(
    "--claims",
    "claims_file",
    type=Place(dir_okay=False),
    help="TOML: claims to test at the head of Markdown and page.  [default: of all runs, RESULTS/claims.toml]",
)
@click.option("--out", type=Place(file_okay=False), help="Where; default RESULTS/leaderboard.")
@options.plugins
def leaderboard(
    results: Path,
    protocols: tuple[str, ...],
    datasets: tuple[str, ...],
    methods: tuple[str, ...],
    top: int | None,
    everything: bool,
    formats: tuple[str, ...],
    claims_file: Path | None,
    out: Path | None,
) -> None:
    """Compare the runs of RESULTS: each method once, a number for each protocol; more on request."""
    import pandas as pd

    from bench.common.console import Output, note
    from bench.records.ledger import ledger
    from bench.records.store import Store
    from bench.report import leaderboard as tables
    from bench.report.comparing import claims as claiming

    # Of a text that is Arrow's, each look makes a copy: nearly a tenth of the time of the page.
    click.get_current_context().with_resource(pd.option_context("mode.string_storage", "python"))
    if not formats and out is not None:
        formats = ("md",)
    headed = {"md", "html"} & {*formats}
    if claims_file is not None and not headed:
        raise UserError(
            "--claims is for the HTML page and Markdown; add --format html, or see them with `bench claims`"
        )
    store = Store(results)
    records = store.records()
    if unfinished := ", ".join(record.run_id for record in store.unfinished()):
        note(f"unfinished and in no table: {unfinished}; repeat their commands to finish them")
    if not records:
        raise UserError(f"there is no record in {store.root / 'records'}; make one with `bench run`")
    view = tables.View(everything, protocols, datasets, methods, top)
    tables.require(view, records)
    found = {record.run_id: record for record in records}

    def statistics(run_id: str, under: str = "") -> dict[str, np.ndarray]:
        return store.statistics_of(found[run_id], under)

    # The page shows the tables of the protocols, too.
    scored = tuple({name: None for record in records for name in record.protocols}) if view.overviews else ()
    further = [replace(view, protocols=scored)] if scored and "html" in formats else []
    numbers = ledger(records)
    built, *others = tables.build_views(numbers, statistics, [view, *further])

    if claims_file is None and view.of_all_runs and (usual := results / claiming.FILE).is_file():
        claims_file = usual
    tested = [] if claims_file is None or not headed else _tested(claims_file, numbers, statistics)

    def page(shown: Sequence[tables.Table]) -> str:
        from bench.report import panels
        from bench.report.page import page

        chosen = _chosen(records, datasets, methods)
        seen = [found for found in panels.read(store.root / "pictures", records) if found.of(chosen)]
        of_chosen = numbers[numbers["run"].isin({record.run_id for record in chosen})]
        return page([*shown, *chain(*others)], chosen, statistics, tested, seen, of_chosen)

    if formats:
        head = claiming.brief(tested) if tested else ""
        for path in tables.write(built, formats, out or results / "leaderboard", page, head):
            say(path)
    else:
        tables.show(built, Output())
        suggest("leaderboard", "--format", "html")


def _tested(file: Path, numbers: pd.DataFrame, statistics: Statistics) -> list[Tested]:
    from bench.report.comparing.claims import Claims, verdicts
    from bench.report.comparing.results import Results

    return [*verdicts(Claims.read(file), Results.made(numbers, statistics))]


@click.command(cls=Command)
@options.read_results_argument()
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "csv", "json"]),
    help="Default: what the suffix of --out says, else csv.",
)
@click.option("--out", type=Place(dir_okay=False), required=True, help="File to write.")
@options.plugins
def export(results: Path, format_: str | None, out: Path) -> None:
    """Write every number of the runs of RESULTS as one table, a row each, for a notebook."""
    from bench.records import ledger
    from bench.records.store import Store

    suffix = out.suffix.lower().removeprefix(".")
    if suffix not in ledger.FORMATS:
        suffix = ""
    if format_ and suffix and format_ != suffix:
        raise UserError(f"{out} would not hold {format_}, which --format asks for; leave it out, or name another file")
    store = Store(results)
    frame = ledger.ledger(store)
    if frame.empty:
        raise UserError(f"there is no record in {store.root / 'records'}; make one with `bench run`")
    ledger.export(frame, out, format_ or suffix or "csv")
    say_written(out)


@click.command(cls=Command)
@options.read_results_argument(writes=lambda given: True)
@click.option("--x", required=True, help="The swept key, for example method.clusters.")
@click.option("--y", default="miou", help="A metric of the protocol.")
@click.option("--protocol", default="closed-set", shell_complete=named("protocol"))
@click.option("--dataset", "datasets", multiple=True, help="Only runs trained on it.", shell_complete=named("dataset"))
@click.option("--method", "methods", multiple=True, help="Only runs of it.", shell_complete=named("method"))
@click.option("--recipe", "recipes", multiple=True, help="Only runs under it.", shell_complete=named("recipe"))
@click.option("--out", type=Place(dir_okay=False), help="Picture; default in RESULTS/curves.")
@options.plugins
def curve(
    results: Path,
    x: str,
    y: str,
    protocol: str,
    datasets: tuple[str, ...],
    methods: tuple[str, ...],
    recipes: tuple[str, ...],
    out: Path | None,
) -> None:
    """Draw a metric of the runs of RESULTS against a setting, and write the numbers beside the picture as CSV."""
    from bench.records.store import Store

    store = Store(results)
    draw_curve(store, _chosen(store.records(), datasets, methods, recipes), x, y, protocol, out)


def _chosen(
    records: Sequence[Record], datasets: tuple[str, ...], methods: tuple[str, ...], recipes: tuple[str, ...] = ()
) -> list[Record]:
    """The records of these data sets, methods and recipes; empty tuples choose all."""
    return [
        record
        for record in records
        if (not datasets or record.config.data.name in datasets)
        and (not methods or record.config.method_name in methods)
        and (not recipes or record.config.recipe.name in recipes)
    ]


def draw_curve(
    store: Store, records: Sequence[Record], x: str, y: str, protocol: str = "closed-set", out: Path | None = None
) -> None:
    """What ``bench curve`` does, for a sweep too. Raises UserError if there is nothing to draw."""
    from bench.common import names
    from bench.common.console import Output
    from bench.report.leaderboard import curves

    panels = curves.build(records, x, y, protocol)
    name = f"{x}-{y}" if protocol == "closed-set" else f"{x}-{protocol}-{y}"
    picture = out or store.root / "curves" / f"{names.require('the name of a curve', name, 200)}.png"
    curves.show(panels, Output())
    for path in curves.write(panels, picture):
        say(path)


@click.command(cls=Command)
@click.argument("name", shell_complete=named("method", "dataset", "protocol", "recipe", "run"))
@options.json_option
@options.results
@options.plugins
def show(name: str, as_json: bool, results: Path) -> None:
    """Show all of a method, data set, protocol, recipe or architecture, with every field; or what a run found."""
    from bench.commands import catalogue as documentation
    from bench.records.store import Store

    if as_json:
        say_json(documentation.facts(name, Store(results)))
    else:
        click.echo(lines(documentation.page(name, Store(results))))


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=named("method", "dataset"))
@options.plugins
def cite(names: tuple[str, ...]) -> None:
    """Print BibTeX of the suite, and of the methods and data sets of these NAMEs."""
    from bench.report import citation

    found = [text for name in dict.fromkeys(names) for text in citation.entries(name)]
    click.echo(lines("\n\n".join([citation.SUITE, *found])))


@click.command(cls=Command)
@options.results_argument
@click.option("--out", type=Place(file_okay=False), help="Where; default RESULTS/pictures.")
@click.option("--count", type=click.IntRange(1, 256), default=3, help="Images of each target.")
@options.data_root
@options.plugins
def pictures(results: Path, out: Path | None, count: int, data_root: tuple[Path, ...]) -> None:
    """Draw what the runs of RESULTS make of the worst, the median and the best image of each target, a sheet for each.

    Left where they are by default, the HTML page of `bench leaderboard` shows them too.
    """
    from bench.records.store import Store
    from bench.report import sheets

    for path in sheets.sheets(Store(results), data_root, out or results / "pictures", count):
        say(path)
    suggest("leaderboard", "--format", "html")


@click.command(cls=Command)
@click.argument("run_name", metavar="RUN", shell_complete=named("run"))
@click.argument("image", metavar="IMAGE")
@click.option("--out", type=Place(file_okay=False), help="Where; default: the run's own folder.")
@click.option("--segments", type=click.IntRange(1, 40), default=8, help="Segments of IMAGE shown.")
@click.option("--neighbours", type=click.IntRange(1, 8), default=5, help="Training segments beside each.")
@click.option("--groups", type=click.IntRange(2, 40), default=10, help="Groups of the bank.")
@options.data_root
@options.results
@options.plugins
@options.device
def explain(
    run_name: str, image: str, out: Path | None, data_root: tuple[Path, ...], results: Path, device: str, **sizes: int
) -> None:
    """Show the training segments on which the prediction of IMAGE by a finished RUN rests, and their bank.

    IMAGE is an id of the run's data set, such as test/0003, or a file. RUN is of a method that predicts by
    retrieval (segsort).
    """
    from bench.common import names
    from bench.records.store import Store
    from bench.report import explanation
    from bench.runs import execute as runs
    from bench.training import ranks

    store = Store(results)
    record = store.find(run_name)
    method = runs.load(store, record)
    fabric = ranks.make_fabric(device, record.config.recipe.precision)
    folder = out or store.run_folder(record.run_id) / "explanations" / names.slug(image)
    for path in explanation.explain(
        method, record, image, data_root, folder, fabric.device, explanation.Sizes(**sizes)
    ):
        say(path)


@click.command(cls=Command)
@options.results_argument
def migrate(results: Path) -> None:
    """Rewrite the records of RESULTS that an earlier version of the suite wrote, in today's schema."""
    from bench.records.store import Store
    from bench.schema.record import SCHEMA_VERSION

    store = Store(results)
    if not store.root.is_dir():
        raise UserError(f"there is no record in {store.records_folder}; make one with `bench run`")
    count = len(store.migrate())
    say(f"{count} record{'s' * (count != 1)} rewritten in schema {SCHEMA_VERSION}")
    suggest("leaderboard")
