"""A contact sheet of pictures and labels: ``python -m datasets.toyscapes --out sheet.png``."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw

from datasets.toyscapes.classes import CLASSES
from datasets.toyscapes.render import STREAMS, render_scene

_MARGIN = 4
_CAPTION = 16


def coloured(label: np.ndarray, split: str) -> np.ndarray:
    """(H, W, 3) the label map in the classes' colours; anomalies white on grey."""
    table = np.zeros((256, 3), np.uint8)
    if split == "anomaly":
        table[0], table[1] = (60, 60, 60), (255, 255, 255)
    else:
        table[: len(CLASSES)] = np.asarray(CLASSES.colours, np.uint8)
    picture: np.ndarray = table[label]
    return picture


def contact_sheet(splits: tuple[str, ...], columns: int, first: int, size: tuple[int, int]) -> Image.Image:
    """Two rows for each split, images above their labels; the classes' colours at the foot."""
    height, width = size
    block = 2 * (height + _MARGIN) + _CAPTION
    sheet = Image.new("RGB", (columns * (width + _MARGIN), len(splits) * block + 2 * _CAPTION), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for row, split in enumerate(splits):
        top = row * block
        pen.text((_MARGIN, top + 2), f"{split}, pictures {first} to {first + columns - 1}", fill=(230, 230, 230))
        for column in range(columns):
            image, label = render_scene(first + column, split, size)
            left = column * (width + _MARGIN)
            sheet.paste(Image.fromarray(image), (left, top + _CAPTION))
            sheet.paste(Image.fromarray(coloured(label, split)), (left, top + _CAPTION + height + _MARGIN))
    step = sheet.width // len(CLASSES)
    for number, (name, colour) in enumerate(zip(CLASSES.names, CLASSES.colours)):
        top = len(splits) * block
        pen.rectangle((number * step, top, (number + 1) * step - 2, top + 2 * _CAPTION), fill=colour)
        dark = sum(colour) < 330
        pen.text((number * step + 3, top + 9), name, fill=(255, 255, 255) if dark else (0, 0, 0))
    return sheet


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="PNG file to write.")
@click.option(
    "--split", "splits", multiple=True, type=click.Choice(list(STREAMS)), help="Repeatable; all unless given."
)
@click.option("--columns", default=4, show_default=True, type=click.IntRange(1, 16), help="Pictures per split.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="Number of the first picture.")
@click.option("--height", default=128, show_default=True, type=click.IntRange(32, 1024), help="Twice as wide.")
def main(out: Path, splits: tuple[str, ...], columns: int, first: int, height: int) -> None:
    """Draw pictures of toyscapes with their labels, for a person to look at."""
    sheet = contact_sheet(splits or tuple(STREAMS), columns, first, (height, 2 * height))
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot write {out}: {error}") from error
    click.echo(f"{out}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
