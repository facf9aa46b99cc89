"""The command line. Thin: every command gathers its arguments and calls the module that does the work.

Heavy imports happen inside the commands, so that ``bench --help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import __version__
from bench.common import interruption
from bench.common.text import lines, visible

if TYPE_CHECKING:
    from bench.records.store import Store
    from bench.schema.record import Record
    from bench.scoring.protocols.base import Metric

ENDED_BY_A_PLUGIN = "a plugin ended the program (sys.exit({})); let it raise an error instead"

EXIT_FAILED, EXIT_USER = 1, 2


def shown(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show a user's mistake as one sentence with exit code 2."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from bench.common.errors import RankLost, RunFailed, UserError, describe_os_error
        from bench.plugins.own_datasets import require_own_datasets

        try:
            require_own_datasets()
            return command(*args, **kwargs)
        except UserError as error:
            fail(str(error))
        except RunFailed as error:
            fail(str(error), EXIT_FAILED)
        except RankLost as error:
            if str(error):
                fail(f"interrupted: {error}; the same command continues", EXIT_FAILED, prefix="")
            raise click.exceptions.Exit(EXIT_FAILED) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise click.exceptions.Exit(EXIT_FAILED) from None
        except SystemExit as error:  # our own are click's
            fail(ENDED_BY_A_PLUGIN.format(error.code), EXIT_FAILED)
        except OSError as error:
            fail(describe_os_error(error))

    return wrapper


def fail(sentence: str, code: int = EXIT_USER, prefix: str = "error: ") -> None:
    """Print one line to standard error and exit, unless a signal is the reason."""
    interruption.check()
    click.echo(prefix + visible(" ".join(sentence.split())), err=True)
    raise click.exceptions.Exit(code)


class Place(click.Path):
    """A path on the command line. The empty one, which would mean the working folder, is a mistake."""

    def __init__(self, **kinds: bool) -> None:
        super().__init__(path_type=Path, **kinds)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, checked for being of the right kind if it exists."""
        if not str(value) or "\0" in str(value):
            self.fail("the path is empty or holds a NUL; name a file or folder, '.' for the working folder", param, ctx)
        return super().convert(value, param, ctx)


def say(text: object) -> None:
    """Print one line of a result to standard output."""
    click.echo(visible(str(text)))


def results_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--results DIR``."""
    option = click.option(
        "--results",
        type=Place(file_okay=False),
        default=Path("results"),
        show_default=True,
        help="Folder of records and runs.",
    )
    return option(command)


def results_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """``[RESULTS]``, also accepted as ``--results DIR`` like everywhere else."""

    @wraps(command)
    def wrapper(*args: Any, results: Path | None, named_results: Path | None, **kwargs: Any) -> Any:
        if results is not None and named_results is not None and results.resolve() != named_results.resolve():
            fail(f"RESULTS is {results} and --results is {named_results}; give one of them")
        return command(*args, results=results or named_results or Path("results"), **kwargs)

    argument = click.argument("results", type=Place(file_okay=False), default=None, metavar="[RESULTS]")
    option = click.option(
        "--results",
        "named_results",
        type=Place(file_okay=False),
        help="The same as RESULTS.  [default: results]",
    )
    return argument(option(wrapper))


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--data-root DIR``."""
    option = click.option(
        "--data-root",
        type=Place(),
        envvar="BENCH_DATA",
        default=Path("data"),
        show_default=True,
        help="Folder of the data sets; also $BENCH_DATA.",
    )
    return option(command)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--device``."""
    option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
    return option(command)


def protocol_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--protocol NAME``, repeatable."""
    option = click.option(
        "--protocol",
        "protocols",
        multiple=True,
        help="Default: closed-set, cross-domain and anomaly, as far as their data is there.",
    )
    return option(command)


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--plugin FILE.py``, repeatable."""
    option = click.option(
        "--plugin",
        "plugins",
        type=Place(),
        multiple=True,
        help="A file with a method, data set or protocol.",
    )
    return option(command)


def load_plugins(plugins: tuple[Path, ...]) -> list[str]:
    """Register the plugins of the user's files."""
    from bench.plugins import registry

    return [name for path in plugins for name in registry.load_plugin(path)]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="genseg-bench")
def main() -> None:
    """Train and compare generative methods of semantic segmentation under the same protocols."""


@main.command()
@click.option("--method", "method_names", multiple=True, required=True, help="Repeat for a grid.")
@click.option("--dataset", default=None, help="Data set to train on.")
@click.option(
    "--features",
    multiple=True,
    metavar="RUN",
    help="Take data, recipe and trained network of a finished run, and fit the methods to what it computes.",
)
@click.option("--supervision", default=None, help="Labels that training may see.  [default: dense]")
@click.option("--recipe", default=None, help="A recipe's name, or a TOML file.  [default: quick]")
@click.option(
    "--seed", "seeds", type=click.IntRange(0, 2**31 - 1), multiple=True, help="[default: 0, or that of the features]"
)
@protocol_option
@data_option
@results_option
@click.option("--config", "config_file", type=Place(), help="TOML with tables as for --set.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="For example recipe.steps=1000; KEY=A,B,C runs a sweep and draws its curve.",
)
@plugin_option
@device_option
@click.option("--encoder", default=None, help="Encoder of segmentation-models-pytorch, or tu-NAME of timm.")
@click.option("--encoder-weights", default=None, help="A hub name such as imagenet, or a local file; none: scratch.")
@click.option("--architecture", default=None, help="Architecture of segmentation-models-pytorch.")
@click.option("--force", is_flag=True, help="Repeat runs that are finished.")
@shown
def run(
    method_names: tuple[str, ...],
    dataset: str | None,
    features: tuple[str, ...],
    supervision: str | None,
    recipe: str | None,
    seeds: tuple[int, ...],
    protocols: tuple[str, ...],
    data_root: Path,
    results: Path,
    config_file: Path | None,
    assignments: tuple[str, ...],
    plugins: tuple[Path, ...],
    device: str,
    encoder: str | None,
    encoder_weights: str | None,
    architecture: str | None,
    force: bool,
) -> None:
    """Train methods, score them under the protocols, and write a record for each run.

    Several methods, seeds and swept values make a grid. What is finished is not repeated; what was interrupted
    continues.
    """
    from bench.common.console import note
    from bench.common.errors import RankLost, RunFailed, UserError, describe_os_error, disk_is_full
    from bench.config import grid as sweeps
    from bench.config import tables as config
    from bench.plugins import registry
    from bench.records.store import Store
    from bench.runs import execute as runs
    from bench.runs import features as on_features
    from bench.runs import plan as planning
    from bench.scoring.score import located
    from bench.training import ranks

    load_plugins(plugins)
    planning.require_protocols(protocols)
    named: dict[str, Any] = {"network": {}, "data": {}}
    for table, key, value in (
        ("network", "encoder", encoder),
        ("network", "encoder_weights", None if encoder_weights == "none" else encoder_weights),
        ("network", "architecture", architecture),
        ("data", "supervision", supervision),
    ):
        if value is not None:
            named[table][key] = value
    if encoder_weights == "none":
        named["network"]["encoder_weights"] = None
    overrides = [named] if config_file is None else [config.read_toml(config_file), named]
    methods = [registry.methods.get(name) for name in dict.fromkeys(method_names)]
    store, seeds = Store(results), tuple(dict.fromkeys(seeds))
    if features:
        if dataset is not None or recipe is not None:
            raise UserError("--features takes data set and recipe of its run; leave out --dataset and --recipe")
        grids = [on_features.grid(store.find(name), methods, seeds, overrides, assignments) for name in features]
    elif dataset is None:
        raise UserError("give --dataset NAME to train on, or --features RUN to take the network of a finished run")
    else:
        registry.datasets.get(dataset)
        grids = [
            sweeps.grid(methods, dataset, "quick" if recipe is None else recipe, seeds or (0,), overrides, assignments)
        ]
    grid, swept = [run for found in grids for run in found.runs], grids[0].swept
    fabric = ranks.make_fabric(device, grid[0][1].recipe.precision)
    planning.require_possible([run_config for _, run_config in grid], fabric.device)
    store.require_writable()
    failed, mistaken = [], []
    records = []
    for method_class, run_config in grid:
        interruption.check()
        run_id = run_config.run_id()
        note(f"{run_id}")
        try:
            records.append(runs.execute(method_class, run_config, store, data_root, device, protocols, force))
        except runs.ProtocolFailed as error:
            failed.append(run_id)
            records.append(error.record)
        except UserError as error:
            if len(grid) == 1 or disk_is_full(error):
                raise
            mistaken.append(run_id)
            _leave_row(store, run_config, str(error))
        except OSError as error:
            if len(grid) == 1 or disk_is_full(error):
                raise
            mistaken.append(run_id)
            note(f"{run_id} failed: {describe_os_error(error)}")
        except RankLost:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything, and the grid goes on
            failed.append(run_id)
            _leave_row(store, run_config, str(error) if isinstance(error, RunFailed) else located(error))
    _summary(records)
    for key in swept:
        try:
            _curve(store, key, "miou", None)
        except UserError as error:
            note(f"no curve of {key}: {error}")
    if failed or mistaken:
        note(f"failed: {', '.join(failed + mistaken)}")
        raise click.exceptions.Exit(EXIT_USER if mistaken else EXIT_FAILED)


def _leave_row(store: Store, run_config: Any, reason: str) -> None:
    from bench.common.console import note
    from bench.common.errors import UserError
    from bench.runs import execute as runs

    interruption.check()
    note(f"{run_config.run_id()} failed: {reason}")
    try:
        existing = store.read(run_config.run_id())
    except UserError:
        return  # a damaged record is the user's to look at, not ours to overwrite
    if existing is None or existing.status != "complete":
        runs.write_failure(store, run_config, reason)


def _summary(records: list[Record]) -> None:
    """A table for each run below its id, which is never cut: other commands ask for it."""
    from rich.table import Table

    from bench.common.console import console, note, styled
    from bench.report.leaderboard.columns import metric
    from bench.scoring.described import primary

    for record in records:
        table = Table()
        for heading in ("protocol", "target", "score"):
            table.add_column(heading, overflow="fold")
        rows = []
        for protocol, result in record.protocols.items():
            if result.status == "skipped":
                rows.append((protocol, "", _why_skipped(record, protocol)))
            elif result.status != "complete":
                why = f"{result.status}: {result.reason}" if result.reason else result.status
                rows.append((protocol, "", why))
            for target, scores in result.targets.items():
                wanted = primary(protocol)
                if scores.by_score:
                    first = metric(next(key for key in wanted if key in next(iter(scores.by_score.values()))), protocol)
                    best = max(scores.by_score, key=lambda s: scores.by_score[s][first.key] or 0)
                    others = [metric(key, protocol) for key in scores.by_score[best] if key != first.key]
                    shown = [(column, scores.by_score[best][column.key]) for column in (first, *others[:1])]
                else:
                    best, key = "", next((k for k in wanted if k in scores.metrics), next(iter(scores.metrics)))
                    shown = [(metric(key, protocol), scores.metrics[key])]
                text = " ".join(f"{column.label} {_brief(column, value)}" for column, value in shown)
                partial = f" ({scores.dataset.images} images of partial data)" * record.config.data.allow_partial
                rows.append((protocol, target + partial, f"{best}: {text}" if best else text))
        for row in rows:
            table.add_row(*map(styled, row))
        note(record.run_id)
        console.print(table)


def _why_skipped(record: Record, protocol: str) -> str:
    """In few words, for a narrow column: the notes of the run have the whole sentence."""
    from bench.plugins import registry

    targets = registry.protocols.get(protocol).targets(registry.datasets.get(record.config.data.name))
    names = list(dict.fromkeys(name for name, _ in targets))
    if not names:
        return "skipped: no target"
    return f"skipped: {', '.join(names)} {'is' if len(names) == 1 else 'are'} absent"


def _brief(column: Metric, value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}" if column.percent else column.text(value)


@main.command()
@click.argument("run_name", metavar="RUN")
@protocol_option
@data_option
@results_option
@plugin_option
@device_option
@shown
def evaluate(
    run_name: str,
    protocols: tuple[str, ...],
    data_root: Path,
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
) -> None:
    """Score a finished RUN again (its id, or the beginning of it) and renew its record."""
    from bench.plugins import registry
    from bench.records.store import Store
    from bench.runs import execute as runs
    from bench.runs import plan as planning

    load_plugins(plugins)
    planning.require_protocols(protocols)
    store = Store(results)
    record = store.find(run_name)
    runs.load(store, record)  # refuse before anything is touched if the model is absent or of another version
    method_class = registry.methods.get(record.config.method_name)
    try:
        renewed = runs.execute(
            method_class, record.config, store, data_root, device, protocols, force=True, retrain=False
        )
    except runs.ProtocolFailed as error:
        _summary([error.record])
        raise
    _summary([renewed])


@main.command()
@click.argument("run_name", metavar="RUN")
@click.argument("images", nargs=-1, required=True, type=Place(), metavar="IMAGE...")
@click.option("--out", required=True, type=Place(file_okay=False), help="Folder for pictures.")
@results_option
@plugin_option
@device_option
@shown
def predict(
    run_name: str, images: tuple[Path, ...], out: Path, results: Path, plugins: tuple[Path, ...], device: str
) -> None:
    """Segment IMAGEs with a finished RUN: class ids as PNG, and pictures of classes and anomaly scores."""
    from bench.records.store import Store
    from bench.report import pictures
    from bench.runs import execute as runs

    load_plugins(plugins)
    store = Store(results)
    record = store.find(run_name)
    method = runs.load(store, record)
    for path in pictures.predict(method, record, images, out, device):
        say(path)


@main.command()
@click.argument("run_name", metavar="RUN")
@click.argument("image", metavar="IMAGE")
@click.option("--out", type=Place(file_okay=False), help="Where; default: the run's own folder.")
@click.option("--segments", type=click.IntRange(1, 40), default=8, show_default=True, help="Segments of IMAGE shown.")
@click.option(
    "--neighbours", type=click.IntRange(1, 8), default=5, show_default=True, help="Training segments beside each."
)
@click.option("--groups", type=click.IntRange(2, 40), default=10, show_default=True, help="Groups of the bank.")
@data_option
@results_option
@plugin_option
@device_option
@shown
def explain(
    run_name: str,
    image: str,
    out: Path | None,
    segments: int,
    neighbours: int,
    groups: int,
    data_root: Path,
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
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

    load_plugins(plugins)
    store = Store(results)
    record = store.find(run_name)
    method = runs.load(store, record)
    fabric = ranks.make_fabric(device, record.config.recipe.precision)
    folder = out or store.run_folder(record.run_id) / "explanations" / names.slug(image)
    sizes = explanation.Sizes(segments, neighbours, groups)
    for path in explanation.explain(method, record, image, data_root, folder, fabric.device, sizes):
        say(path)


@main.command()
@click.argument("run_name", metavar="RUN")
@click.option("--image", type=Place(), help="Draw masks of this image; without it, of none.")
@click.option("--count", type=click.IntRange(1, 256), default=8, show_default=True, help="Label maps to draw.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--out", required=True, type=Place(file_okay=False), help="Folder for pictures.")
@data_option
@results_option
@plugin_option
@device_option
@shown
def sample(
    run_name: str,
    image: Path | None,
    count: int,
    seed: int,
    out: Path,
    data_root: Path,
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
) -> None:
    """Draw label maps with a finished RUN of a generative method: of an image with their disagreement, or of none."""
    from bench.records.store import Store
    from bench.report import samples as sampling
    from bench.runs import execute as runs

    load_plugins(plugins)
    store = Store(results)
    record = store.find(run_name)
    if image is None:
        written = sampling.of_nothing(store, record, data_root, count, seed, out, device)
    else:
        written, mean = sampling.of_image(runs.load(store, record), record, image, count, seed, out, device)
        say(f"two draws differ at {100 * mean:.2f} % of the pixels")
    for path in written:
        say(path)


@main.command()
@results_argument
@click.option("--out", type=Place(file_okay=False), help="Where; default RESULTS/pictures.")
@click.option("--count", type=click.IntRange(1, 256), default=4, show_default=True, help="Images for each split.")
@data_option
@plugin_option
@shown
def pictures(results: Path, out: Path | None, count: int, data_root: Path, plugins: tuple[Path, ...]) -> None:
    """Draw predictions and anomaly scores of the runs of RESULTS beside the ground truth, a sheet for each target."""
    from bench.records.store import Store
    from bench.report import pictures as drawing

    load_plugins(plugins)
    for path in drawing.sheets(Store(results), data_root, out or results / "pictures", count):
        say(path)


@main.command()
@results_argument
@click.option(
    "--format",
    "formats",
    type=click.Choice(["md", "csv", "tex", "html"]),
    multiple=True,
    help="Files to write.",
)
@click.option("--out", type=Place(file_okay=False), help="Where; default RESULTS/leaderboard.")
@plugin_option
@shown
def leaderboard(results: Path, formats: tuple[str, ...], out: Path | None, plugins: tuple[Path, ...]) -> None:
    """Compare the runs of RESULTS: tables in the terminal, and files if --format or --out is given."""
    from rich.console import Console

    from bench.common.console import note
    from bench.common.errors import UserError
    from bench.records.store import Store
    from bench.report import leaderboard as tables

    load_plugins(plugins)
    store = Store(results)
    records = store.records()
    if unfinished := ", ".join(record.run_id for record in store.unfinished()):
        note(f"unfinished and in no table: {unfinished}; repeat their commands to finish them")
    if not records:
        raise UserError(f"there is no record in {store.root / 'records'}; make one with `bench run`")
    found = {record.run_id: record for record in records}
    built = tables.build(records, lambda run_id, under: store.statistics_of(found[run_id], under))
    tables.show(built, Console())
    if formats or out is not None:
        for path in tables.write(built, list(formats) or ["md"], out or results / "leaderboard"):
            say(path)


@main.command()
@results_argument
@click.option("--format", "format_", type=click.Choice(["parquet", "csv", "json"]), default="csv", show_default=True)
@click.option("--out", type=Place(dir_okay=False), required=True, help="File to write.")
@plugin_option
@shown
def export(results: Path, format_: str, out: Path, plugins: tuple[Path, ...]) -> None:
    """Write every number of the runs of RESULTS as one table, a row each, for a notebook."""
    from bench.common.errors import UserError
    from bench.records import ledger
    from bench.records.store import Store

    load_plugins(plugins)
    store = Store(results)
    frame = ledger.ledger(store)
    if frame.empty:
        raise UserError(f"there is no record in {store.root / 'records'}; make one with `bench run`")
    ledger.export(frame, out, format_)
    click.echo(out)


@main.command()
@results_argument
@shown
def migrate(results: Path) -> None:
    """Rewrite the records of RESULTS that an earlier version of the suite wrote, in today's schema."""
    from bench.records.store import Store
    from bench.schema.record import SCHEMA_VERSION

    count = len(Store(results).migrate())
    say(f"{count} record{'s' * (count != 1)} rewritten in schema {SCHEMA_VERSION}")


@main.command()
@results_argument
@click.option("--x", required=True, help="The swept key, for example method.clusters.")
@click.option("--y", default="miou", show_default=True, help="A metric of the closed-set protocol.")
@click.option("--out", type=Place(dir_okay=False), help="Picture; default in RESULTS/curves.")
@shown
def curve(results: Path, x: str, y: str, out: Path | None) -> None:
    """Draw a metric of the runs of RESULTS against a setting, and write the numbers beside the picture as CSV."""
    from bench.records.store import Store

    _curve(Store(results), x, y, out)


def _curve(store: Store, x: str, y: str, out: Path | None) -> None:
    from rich.console import Console

    from bench.common import names
    from bench.report.leaderboard import curves

    panels = curves.build(store.records(), x, y)
    picture = out or store.root / "curves" / f"{names.require('the name of a curve', f'{x}-{y}', 200)}.png"
    curves.show(panels, Console())
    for path in curves.write(panels, picture):
        say(path)


KINDS = ("methods", "datasets", "protocols", "recipes", "architectures")


@main.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@plugin_option
@shown
def list_(kind: str, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List what there is of a KIND."""
    from bench.commands import catalogue as documentation

    load_plugins(plugins)
    rows = documentation.listing(kind)
    if as_json:
        click.echo(json.dumps(rows, indent=1).replace("\x7f", "\\u007f"))  # all else without a glyph is escaped
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        say(f"{row['name']:<{width}}  {row['summary']}".rstrip())


@main.command()
@click.argument("name")
@results_option
@plugin_option
@shown
def show(name: str, results: Path, plugins: tuple[Path, ...]) -> None:
    """Show the documentation of a method, data set, protocol or recipe, with every field; or what a run found."""
    from bench.commands import catalogue as documentation
    from bench.records.store import Store

    load_plugins(plugins)
    click.echo(lines(documentation.page(name, Store(results))))


@main.group()
def new() -> None:
    """Start a plugin of your own."""


@new.command("method")
@click.argument("name")
@click.option("--out", type=Place(file_okay=False), default=Path("."), show_default=True)
@shown
def new_method(name: str, out: Path) -> None:
    """Write NAME.py, a working method to change into yours."""
    from bench.plugins import templates

    path = templates.new_method(name, out)
    say(f"wrote {path}; next: bench check {name} --plugin {path}")


@new.command("protocol")
@click.argument("name")
@click.option("--out", type=Place(file_okay=False), default=Path("."), show_default=True)
@shown
def new_protocol(name: str, out: Path) -> None:
    """Write a file with a working protocol NAME to change into yours."""
    from bench.plugins import templates

    path = templates.new_protocol(name, out)
    say(f"wrote {path}; next: bench check {name} --plugin {path}")


@main.command()
@click.argument("name")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of the method to check.")
@plugin_option
@data_option
@shown
def check(name: str, assignments: tuple[str, ...], plugins: tuple[Path, ...], data_root: Path) -> None:
    """Prove that the method, data set or protocol NAME honours its contract.

    Every check is named; the exit code is 1 if one fails.
    """
    from bench.checks import dataset as dataset_contract
    from bench.checks import method as contract
    from bench.checks import protocol as protocol_contract
    from bench.common.console import progress
    from bench.common.errors import UserError, near
    from bench.config import tables as config
    from bench.plugins import registry

    load_plugins(plugins)
    checks: Iterator[tuple[str, str | contract.NotApplicable | None]]
    if name in registry.methods.names():
        kind, checks = "method", contract.check(registry.methods.get(name), config.method_settings(assignments))
    elif name in registry.datasets.names():
        kind, checks = "data set", dataset_contract.check(registry.datasets.get(name), data_root)
    elif name in registry.protocols.names():
        kind, checks = "protocol", protocol_contract.check(registry.protocols.get(name))
    else:
        try:
            registry.methods.get(name)
        except UserError as error:
            others = "; of ".join(f"{k.kind}s, {near(name, k.names())}" for k in registry.KINDS[1:])
            raise UserError(f"{error}; of {others}") from None
    failures = 0
    for rule, problem in progress(checks, f"checking {name}"):
        is_failure = isinstance(problem, str)
        word = "ok  " if problem is None else "FAIL" if is_failure else "n/a "
        say(f"{word}  {rule}" + ("" if problem is None else f": {problem}"))
        failures += is_failure
    if failures:
        fail(f"{name} breaks {failures} rule(s) of the {kind} contract", EXIT_FAILED)
    say(f"{name} honours the {kind} contract")
