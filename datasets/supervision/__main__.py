"""A contact sheet of sparse labels: ``python -m datasets.supervision --dataset NAME --data-root DIR --out FILE``.

Images are darkened and enlarged, labelled pixels are in their class's colour, void is black. Points, clicks and
fractions are drawn larger than they are, or they would not be seen.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

import datasets
from datasets.base import IGNORE, ClassSet, DataError, Dataset
from datasets.supervision import supervise
from datasets.supervision.kinds import EXAMPLES

MARGIN, CAPTION, LEGEND = 4, 16, 18
"""Pixels between tiles, above a tile, and of each row of the classes' colours."""
DARK = 0.4
"""Brightness of the image under the labels."""


def plugins() -> Iterator[type[Dataset]]:
    """The data sets that come with the suite."""
    for info in pkgutil.iter_modules(datasets.__path__):
        for value in vars(importlib.import_module(f"datasets.{info.name}")).values():
            if isinstance(value, type) and issubclass(value, Dataset) and isinstance(getattr(value, "name", None), str):
                yield value


def tile(image: np.ndarray, label: np.ndarray, classes: ClassSet, scale: int, dots: bool) -> np.ndarray:
    """(scale * H, scale * W, 3) uint8: ``label`` (H, W) over ``image`` (H, W, 3), single pixels as dots if wanted."""
    large = np.kron(label, np.ones((scale, scale), label.dtype))
    drawn = np.kron(image, np.ones((scale, scale, 1), image.dtype)) * DARK
    labelled = large < len(classes)
    drawn[large == IGNORE] = 0
    if dots:
        distance, nearest = ndimage.distance_transform_edt(~labelled, return_indices=True)
        labelled, large = distance <= 1.5 * scale, large[tuple(nearest)]
    drawn[labelled] = np.asarray(classes.colours, np.uint8)[large[labelled]]
    return drawn.astype(np.uint8)


def legend(classes: ClassSet, width: int) -> Image.Image:
    """The classes' colours with their names."""
    columns = max(1, width // 110)
    sheet = Image.new("RGB", (width, LEGEND * -(-len(classes) // columns)), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for number, (name, colour) in enumerate(zip(classes.names, classes.colours)):
        left, top = number % columns * 110 + MARGIN, number // columns * LEGEND
        pen.rectangle((left, top + 3, left + 12, top + 15), fill=colour)
        pen.text((left + 17, top + 3), name, fill=(230, 230, 230))
    return sheet


def contact_sheet(
    dataset: Dataset, kinds: Sequence[str], scale: int, seed: int, cache: Path, void_is_unlabelled: bool = False
) -> Image.Image:
    """One row for each image, one column for each kind; the rest as ``supervise`` takes it."""
    rows: list[list[Image.Image]] = [[] for _ in dataset.items]
    for kind in kinds:
        sparse = supervise(dataset, kind, seed, cache, void_is_unlabelled=void_is_unlabelled)
        dots = kind.startswith(("points", "clicks", "fraction"))
        for index, row in enumerate(rows):
            sample = sparse[index]
            label = sample.label.numpy()
            drawn = tile(sample.image.permute(1, 2, 0).numpy(), label, dataset.classes, scale, dots)
            share = (label < len(dataset.classes)).sum() / max((label != IGNORE).sum(), 1)
            cell = Image.new("RGB", (drawn.shape[1] + MARGIN, drawn.shape[0] + CAPTION + MARGIN), (24, 24, 24))
            cell.paste(Image.fromarray(drawn), (0, CAPTION))
            caption = f"{kind}: {share:.3%} of {sample.id}"
            ImageDraw.Draw(cell).text((MARGIN, 2), caption, fill=(230, 230, 230))
            row.append(cell)
    colours = legend(dataset.classes, max(sum(cell.width for cell in row) for row in rows))
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (colours.width, sum(heights) + colours.height), (24, 24, 24))
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            sheet.paste(cell, (sum(c.width for c in row[:column]), sum(heights[:number])))
    sheet.paste(colours, (0, sum(heights)))
    return sheet


class Mistake(click.ClickException):
    """A user's mistake, as one sentence with exit code 2."""

    exit_code = 2


def check_picture(path: Path) -> None:
    """Raise Mistake, before anything is drawn, unless ``path`` can be a picture."""
    formats = sorted(ending for ending, name in Image.registered_extensions().items() if name in Image.SAVE)
    if path.suffix.lower() not in formats:
        raise Mistake(f"{path} cannot be drawn, its ending names no picture format; end --out with .png")
    if not path.absolute().parent.is_dir():
        raise Mistake(f"there is no folder {path.absolute().parent}; make it, or choose another file with --out")


@click.command()
@click.option("--dataset", "name", required=True, help="Data set; its training split is drawn.")
@click.option(
    "--data-root",
    default="data",
    show_default=True,
    envvar="BENCH_DATA",
    help="Folder of the data sets, or several with PATH's separator between them; also $BENCH_DATA.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="PNG file to write.")
@click.option("--kind", "kinds", multiple=True, help="Repeatable; all unless given.")
@click.option("--images", default=4, show_default=True, type=click.IntRange(1, 64), help="Evenly spaced ones.")
@click.option("--scale", default=2, show_default=True, type=click.IntRange(1, 8), help="Enlargement.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of derived labels.")
@click.option("--void-is-unlabelled", is_flag=True, help="As data.void_is_unlabelled of a run, for published labels.")
def main(
    name: str,
    data_root: str,
    out: Path,
    kinds: tuple[str, ...],
    images: int,
    scale: int,
    seed: int,
    void_is_unlabelled: bool,
) -> None:
    """Draw the labels that each kind of supervision leaves of a data set, for a person to look at."""
    known = {plugin.name: plugin for plugin in plugins() if plugin.train_split is not None}
    if name not in known:
        raise Mistake(f"there is no data set {name!r} to train on; choose one of {', '.join(sorted(known))}")
    check_picture(out)
    plugin = known[name]
    assert plugin.train_split is not None
    try:
        dataset = plugin([Path(root) for root in data_root.split(os.pathsep)], plugin.train_split, allow_partial=True)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, images).round().astype(int)).tolist()
        # labels of an image do not depend on the others, so those of thousands need not be derived for four
        dataset.items = [dataset.items[index] for index in chosen]
        with tempfile.TemporaryDirectory() as cache:
            sheet = contact_sheet(dataset, kinds or EXAMPLES, scale, seed, Path(cache), void_is_unlabelled)
    except DataError as error:
        raise Mistake(str(error)) from error
    try:
        sheet.save(out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Mistake(f"{out} cannot be written ({reason}); choose another file with --out") from error
    click.echo(f"{out}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
