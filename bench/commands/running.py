"""Commands that run a method: to train and score it, or on images of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands import options
from bench.commands.completion import named
from bench.commands.looking import draw_curve
from bench.commands.options import EXIT_FAILED, EXIT_USER, Command, Place, say, suggest
from bench.common import verbosity
from bench.common.errors import UserError, near

if TYPE_CHECKING:
    from bench.report import predictions


@click.command(cls=Command)
@click.option(
    "--method", "method_names", multiple=True, required=True, help="Repeat for a grid.", shell_complete=named("method")
)
@click.option("--dataset", help="Data set to train on.", shell_complete=named("dataset"))
@click.option(
    "--features",
    multiple=True,
    metavar="RUN",
    shell_complete=named("run"),
    help="Take data, recipe and trained network of a finished run, and fit the methods to what it computes.",
)
@click.option("--supervision", help="Labels that training may see.  [default: dense]")
@click.option(
    "--recipe", help="A recipe's name, or a TOML file.  [default: quick]", shell_complete=named("recipe", "file")
)
@click.option(
    "--seed", "seeds", type=click.IntRange(0, 2**31 - 1), multiple=True, help="[default: 0, or that of the features]"
)
@options.protocols
@options.data_root
@options.results
@click.option("--config", "config_file", type=Place(), help="TOML with tables as for --set.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="For example recipe.steps=1000; KEY=A,B,C runs a sweep and draws its curve.",
)
@options.plugins
@options.devices
@click.option("--encoder", help="Encoder of segmentation-models-pytorch, or tu-NAME of timm.")
@click.option("--encoder-weights", help="A hub name such as imagenet, or a local file; none: scratch.")
@click.option("--architecture", help="Architecture of segmentation-models-pytorch.")
@click.option("--force", is_flag=True, help="Repeat runs that are finished.")
@click.option("--dry-run", is_flag=True, help="Only say what would be made, and what it would cost by finished runs.")
def run(
    method_names: tuple[str, ...],
    dataset: str | None,
    features: tuple[str, ...],
    supervision: str | None,
    recipe: str | None,
    seeds: tuple[int, ...],
    protocols: tuple[str, ...],
    data_root: tuple[Path, ...],
    results: Path,
    config_file: Path | None,
    assignments: tuple[str, ...],
    device: str,
    force: bool,
    dry_run: bool,
    **network: str | None,
) -> None:
    """Train methods, score them under the protocols, and write a record for each run.

    Several methods, seeds and swept values make a grid. What is finished is not repeated; what was interrupted
    continues.
    """
    from bench.common.console import note
    from bench.config import grid as sweeps
    from bench.config import tables as config
    from bench.plugins import registry
    from bench.records.store import Store
    from bench.report import summary
    from bench.runs import features as on_features
    from bench.runs import grid as runs
    from bench.runs import plan as planning
    from bench.training import ranks

    planning.require_protocols(protocols)
    named = {"network": _given(**network), "data": _given(supervision=supervision)}
    if network["encoder_weights"] == "none":
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
        recipe = "quick" if recipe is None else recipe
        grids = [sweeps.grid(methods, dataset, recipe, seeds or (0,), overrides, assignments)]
    grid, swept = [run for part in grids for run in part.runs], grids[0].swept
    accelerator = ranks.accelerator_for(device)
    planning.require_possible([run_config for _, run_config in grid], accelerator)
    if dry_run or verbosity.is_verbose():
        from bench.records.environment import hardware
        from bench.runs.forecast import forecasts, total

        plan = forecasts([run_config for _, run_config in grid], store, hardware(accelerator), protocols, force)
        for line in (*(forecast.sentence for forecast in plan), total(plan)):
            say(line) if dry_run else note(line)
    if dry_run:
        return
    store.require_writable()
    found = runs.execute(grid, store, data_root, device, protocols, force)
    summary.show(found.records)
    records = store.records() if swept else []
    for key in swept:
        try:
            draw_curve(store, records, key, "miou")
        except UserError as error:
            note(f"no curve of {key}: {error}")
    if unmade := found.failed + found.mistaken:
        note(f"failed: {', '.join(unmade)}")
        raise click.exceptions.Exit(EXIT_USER if found.mistaken else EXIT_FAILED)
    suggest("leaderboard")


def _given(**settings: str | None) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


@click.command(cls=Command)
@click.argument("run_name", metavar="RUN", shell_complete=named("run"))
@options.protocols
@options.data_root
@options.results
@options.plugins
@options.devices
def evaluate(
    run_name: str, protocols: tuple[str, ...], data_root: tuple[Path, ...], results: Path, device: str
) -> None:
    """Score a finished RUN again (its id, or the beginning of it) and renew its record."""
    from bench.plugins import registry
    from bench.records.store import Store
    from bench.report import summary
    from bench.runs import execute as runs
    from bench.runs import plan as planning

    planning.require_protocols(protocols)
    store = Store(results)
    record = store.find(run_name)
    runs.load(store, record)  # refuse before anything is touched if the model is absent or of another version
    store.require_writable()
    method = registry.methods.get(record.config.method_name)
    try:
        renewed = runs.execute(method, record.config, store, data_root, device, protocols, force=True, retrain=False)
    except runs.ProtocolFailed as error:
        summary.show([error.record])
        raise
    summary.show([renewed])
    suggest("leaderboard")


@click.command(cls=Command)
@click.argument("run_name", metavar="RUN", shell_complete=named("run"))
@click.argument("images", nargs=-1, required=True, type=Place(), metavar="IMAGE...")
@click.option("--out", required=True, type=Place(file_okay=False), help="Folder for what is written.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "npz", "hdf5", "server"]),
    default="png",
    help="npz: logits and scores as arrays; hdf5: scores in SegmentMeIfYouCan's layout; server: official ids.",
)
@click.option(
    "--dataset",
    help="For server: the data set with hidden labels. For hdf5: SegmentMeIfYouCan's name, such as AnomalyTrack-all.",
)
@options.results
@options.plugins
@options.device
def predict(
    run_name: str,
    images: tuple[Path, ...],
    out: Path,
    form: predictions.Format,
    dataset: str | None,
    results: Path,
    device: str,
) -> None:
    """Segment IMAGEs with a finished RUN: class ids as PNG, and pictures of classes and anomaly scores; or arrays."""
    from bench.records.store import Store
    from bench.report import predictions
    from bench.runs import execute as runs

    if (dataset is None) == (form in ("hdf5", "server")):
        raise UserError("--format hdf5 or server and --dataset NAME, that of the images' data set, go together")
    store = Store(results)
    record = store.find(run_name)
    method = runs.load(store, record)
    for path in predictions.predict(method, record, images, out, device, form, dataset or ""):
        say(path)
    suggest("show", record.run_id)


@click.command(cls=Command)
@click.argument("run_name", metavar="RUN", shell_complete=named("run"))
@click.option("--image", type=Place(), help="Draw masks of this image; without it, of none.")
@click.option("--count", type=click.IntRange(1, 256), default=8, help="Label maps to draw.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0)
@click.option("--out", required=True, type=Place(file_okay=False), help="Folder for pictures.")
@options.data_root
@options.results
@options.plugins
@options.device
def sample(
    run_name: str,
    image: Path | None,
    count: int,
    seed: int,
    out: Path,
    data_root: tuple[Path, ...],
    results: Path,
    device: str,
) -> None:
    """Draw label maps with a finished RUN of a generative method: of an image with their disagreement, or of none."""
    from bench.records.store import Store
    from bench.report import samples as sampling
    from bench.runs import execute as runs

    store = Store(results)
    record = store.find(run_name)
    if image is None:
        written = sampling.of_nothing(store, record, data_root, count, seed, out, device)
    else:
        written, mean = sampling.of_image(runs.load(store, record), record, image, count, seed, out, device)
        say(f"two draws differ at {100 * mean:.2f} % of the pixels")
    for path in written:
        say(path)


@click.command(cls=Command)
@click.argument("name", metavar="METHOD|RUN", shell_complete=named("method", "run"))
@click.option(
    "--dataset", help="Data set that a method is trained on; a run has its own.", shell_complete=named("dataset")
)
@click.option(
    "--recipe",
    default="quick",
    help="A recipe's name, or a TOML file, for a method.",
    shell_complete=named("recipe", "file"),
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="As for `bench run`, for a method.")
@click.option("--steps", type=click.IntRange(1, 1000), default=5, help="Training steps and images that are timed.")
@click.option("--out", type=Place(file_okay=False), help="Folder for Chrome traces of some of them.")
@options.data_root
@options.results
@options.plugins
@options.devices
def profile(
    name: str,
    dataset: str | None,
    recipe: str,
    assignments: tuple[str, ...],
    steps: int,
    out: Path | None,
    data_root: tuple[Path, ...],
    results: Path,
    device: str,
) -> None:
    """Show where a training step and a prediction of METHOD, or of a finished RUN, go: time and memory by part.

    Nothing is kept but traces, which Perfetto or chrome://tracing shows.
    """
    from bench.common.console import console
    from bench.config import grid as sweeps
    from bench.model.weights import MODEL
    from bench.plugins import registry
    from bench.records.store import Store
    from bench.report import profiles
    from bench.runs import execute as runs
    from bench.runs import plan as planning
    from bench.runs import profiling
    from bench.training import ranks

    if name in registry.methods.names():
        if dataset is None:
            raise UserError(f"give the data set that {name} is to be trained on with --dataset")
        method_class, model, features = registry.methods.get(name), None, None
        registry.datasets.get(dataset)
        found = sweeps.grid([method_class], dataset, recipe, (0,), [], assignments).runs
        if len(found) > 1:
            raise UserError("one configuration is profiled at a time; give each --set one value")
        ((_, config),) = found
    else:
        store = Store(results)
        if not store.matching(name):
            raise UserError(f"there is no method or run {name!r}: {near(name, registry.methods.names())}")
        if dataset is not None or assignments:
            raise UserError("a run has its data set and settings; leave out --dataset and --set")
        record = store.find(name)
        config, model = record.config, runs.load(store, record)
        method_class = registry.methods.get(config.method_name)
        features = None if config.features is None else store.run_folder(config.features.run) / MODEL
    planning.require_possible([config], ranks.accelerator_for(device))
    seen = profiling.profile(method_class, config, data_root, device, steps, out, model, features)
    if not console.quiet:  # on the first rank
        profiles.show(seen)
