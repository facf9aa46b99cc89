"""``bench data``: what data sets there are, what of them lies on this machine, whether it is whole, what it needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands import options
from bench.commands.completion import named
from bench.commands.options import EXIT_FAILED, Command, Place, fail, say, say_json, say_row, suggest
from bench.common.errors import UserError
from bench.common.text import filled, lines
from datasets.errors import DataError

if TYPE_CHECKING:
    from bench.data.verification import SplitReport
    from datasets.base import Dataset

UNBROKEN = "\u00a0"
"""A space at which no line ends."""

splits_option = click.option("--split", "names", multiple=True, help="Repeatable; all unless given.")


@click.group()
def data() -> None:
    """Look at data sets: which there are, what lies on this machine, whether it is whole, and how fast it is read."""


@data.command("list", cls=Command)
@options.json_option
@options.data_root
@options.plugins
def list_(as_json: bool, data_root: tuple[Path, ...]) -> None:
    """List all data sets, and where they lie if they are on this machine."""
    from bench.plugins import registry

    rows = []
    for plugin in registry.datasets:
        folder = plugin.unopened(data_root, next(iter(plugin.splits))).folder
        rows.append({"name": plugin.name, "title": plugin.title, "folder": str(folder) if folder.is_dir() else None})
    if as_json:
        say_json(rows)
        return
    width = max(len(str(row["name"])) for row in rows)
    titles = max(len(str(row["title"])) for row in rows)
    for row in rows:
        say_row(f"{row['name']:<{width}}  {row['title']:<{titles}}  {row['folder'] or '-'}")


@data.command(cls=Command)
@click.argument("name", shell_complete=named("dataset"))
@options.json_option
@options.data_root
@options.plugins
def info(name: str, as_json: bool, data_root: tuple[Path, ...]) -> None:
    """Show what the data set NAME is, where to get it, how its files must lie, and which of them are there."""
    from bench.commands import catalogue
    from bench.plugins import registry

    plugin = registry.datasets.get(name)
    here = {split: _present(plugin, data_root, split) for split in plugin.splits}
    if as_json:
        say_json({**catalogue.dataset_facts(plugin), "here": here})
        return
    click.echo(lines(catalogue.dataset_page(plugin)))
    click.echo("\nOn this machine:")
    folder = plugin.unopened(data_root, next(iter(plugin.splits))).folder
    if not folder.is_dir():
        say(f"  nothing: there is no folder {folder}")
        here = {}
    for split, found in here.items():
        if "problem" in found:
            say(f"  {split}: {found['problem']}")
        else:
            of = "" if plugin.splits[split].count is None else f" of {plugin.splits[split].count}"
            say(f"  {split}: {found['images']}{of} images with labels in {found['folder']}")
    suggest("data", "verify", name)


def _present(plugin: type[Dataset], roots: tuple[Path, ...], split: str) -> dict[str, Any]:
    """How many images with labels a split has on this machine, and where; or what keeps them from being counted."""
    dataset = plugin.unopened(roots, split)
    try:
        paired = sum(item.image.is_file() and item.label.is_file() for item in dataset.find())
    except DataError as error:
        return {"problem": str(error)}
    return {"images": paired, "folder": str(dataset.folder)}


@data.command(cls=Command)
@click.argument("name", shell_complete=named("dataset"))
@splits_option
@click.option("--workers", type=click.IntRange(1, 256), default=os.cpu_count() or 1, help="Threads.")
@options.json_option
@options.data_root
@options.plugins
def verify(name: str, names: tuple[str, ...], workers: int, as_json: bool, data_root: tuple[Path, ...]) -> None:
    """Read every file of the data set NAME; the exit code is 1 if anything is wrong, all of which is listed."""
    from bench.data import verification
    from bench.plugins import registry

    plugin = registry.datasets.get(name)
    reports = verification.verify(plugin, data_root, dict.fromkeys(names or plugin.splits), workers)
    if as_json:
        say_json({split: vars(report) for split, report in reports.items()})
    else:
        for split, report in reports.items():
            _tell(split, report)
    # A file that belongs to several splits is listed in each.
    if wrong := {problem for report in reports.values() for problem in report.problems}:
        fail(
            f"{name} has {len(wrong)} problem{'s' * (len(wrong) > 1)}, listed above; its layout should be "
            f"{plugin.layout.rstrip('.')}; get what is wrong again from {plugin.home}",
            EXIT_FAILED,
        )
    if plugin.train_split is not None:
        suggest("run", "--method", "softmax", "--dataset", name)


def _tell(split: str, report: SplitReport) -> None:
    sizes = [size if len(report.sizes) == 1 else f"{size} ({n})" for size, n in report.sizes.most_common(4)]
    more = ["other sizes"] if len(report.sizes) > 4 else []
    of = f" of {report.expected}" if report.expected else ""
    say(f"{split}: {', '.join([f'{report.images}{of} images', *sizes, *more])}, in {report.folder}")
    if total := report.pixels.total():
        shares = (f"{label} {count / total:.2%}".replace(" ", UNBROKEN) for label, count in report.pixels.items())
        click.echo(lines(filled(f"  labels: {', '.join(shares)}", " " * 10).replace(UNBROKEN, " ")))
        say(f"  fingerprint {(report.fingerprint or 'none')[:16]}, of every byte {report.digest[:16]}")
    for word, sentences in (("note", report.remarks), ("FAIL", report.problems)):
        for sentence in sentences:
            say(f"  {word}  {sentence}")


@data.command(cls=Command)
@click.argument("name", shell_complete=named("dataset"))
@click.option("--workers", type=click.IntRange(1, 256), default=os.cpu_count() or 1, help="Threads.")
@options.data_root
@options.plugins
def prepare(name: str, workers: int, data_root: tuple[Path, ...]) -> None:
    """Check the official archives of the data set NAME, and convert what is slow to read as it is published.

    Nothing is changed or removed. Interrupted, it goes on where it stopped when it is repeated.
    """
    from bench.data import preparation
    from bench.plugins import registry

    for line in preparation.prepare(registry.datasets.get(name), data_root, workers):
        say(line)
    suggest("data", "verify", name)


@data.command(cls=Command)
@click.argument("name", shell_complete=named("dataset"))
@splits_option
@click.option("--count", type=click.IntRange(1, 64), default=3, help="Images of each split, evenly spaced.")
@click.option("--out", type=Place(dir_okay=False), help="Picture; default NAME.png.")
@options.data_root
@options.plugins
def sheet(name: str, names: tuple[str, ...], count: int, out: Path | None, data_root: tuple[Path, ...]) -> None:
    """Draw some images of the data set NAME with their labels, to be looked at: colours, order, alignment."""
    from bench.common.console import note
    from bench.plugins import registry
    from bench.report import contact_sheet, pictures

    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"a sheet is a PNG; end --out {out} with .png")
    plugin = registry.datasets.get(name)
    present = []
    for split in dict.fromkeys(names or plugin.splits):
        try:
            present.append(plugin(data_root, split, allow_partial=True))
        except DataError as error:
            absent = error
            note(f"skipped: {error}")
    if not present:
        raise absent
    say(pictures.save(contact_sheet.draw(present, count), out or Path(f"{name}.png")))


@data.command(cls=Command)
@click.argument("name", shell_complete=named("dataset"))
@click.option(
    "--recipe", default="quick", help="A recipe's name, or a TOML file.", shell_complete=named("recipe", "file")
)
@click.option("--images", type=click.IntRange(8), default=200, help="How many to read.")
@options.data_root
@options.plugins
@options.device
def speed(name: str, recipe: str, images: int, data_root: tuple[Path, ...], device: str) -> None:
    """Measure how fast the data set NAME is read, beside what training needs.

    What training needs is the batch size over the time of a step of softmax under the recipe, with a batch that is
    already on the device.
    """
    from bench.plugins import registry
    from bench.runs import throughput

    plugin = registry.datasets.get(name)
    for what, rate in throughput.measure(plugin, data_root, recipe, images, device):
        say(f"{rate:8.1f} images/s  {what}")
