"""What GSS's codecs cost, and what they keep of label maps.

python benchmarks/gss_codecs.py           # colour decoding, label enlargement, windows, codec in a training step
python benchmarks/gss_codecs.py --colour           # one section: --colour, --labels, --window or --step
python benchmarks/gss_codecs.py --small            # a quick look at a sixteenth of the pixels
python benchmarks/gss_codecs.py --bounds toyscapes --data-root data --out bounds

``plain`` colour decoding is the squared distance of every pixel to every colour, by way of a (1, K, 3, H, W) tensor;
``plain`` enlargement is bilinear on one-hot maps, then argmax; ``plain`` windows are FT-W's inverse on a whole map at
once, of 512 x 1024 at most, where ours goes through it in bands. All are checked to give the same classes as ours (away
from contours, where bilinear enlargement rounds corners) before anything is timed.

``--bounds`` fits every codec and variant on the training labels of a data set, and prints the reconstruction of its
validation labels at the grid that is deployed: the upper bound of the method. It writes a Markdown table and JSON after
each of them; what these already hold for the same number of steps stays, so that codecs can be added one by one.

Times are medians of rounds taken in turns: processor time of one thread on the CPU, elapsed time on an accelerator.
Memory is the peak beyond what was held before, each measured in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import Classes, in_turns, peak_above, peak_elsewhere
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Collectives, Context, MethodError
from methods.gss import attention
from methods.gss.codecs import CodecSettings, build_codec
from methods.gss.codecs.cache import fitted_codec
from methods.gss.codecs.quality import reconstruction_report
from methods.gss.maskige import WindowInverse, nearest_colour, paint
from methods.gss.palette import make_palette

console = Console()


class Size(NamedTuple):
    height: int
    width: int
    classes: int = 194


FULL = Size(1024, 2048)
SMALL = Size(256, 512)


class Inputs(NamedTuple):
    labels: Tensor
    """(1, H, W) in blocks of 32 pixels."""
    palette: Tensor
    colours: Tensor
    """(1, 3, H, W) painted labels with noise."""


def make_inputs(size: Size, device: torch.device) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(size.classes, (1, size.height // 32, size.width // 32), generator=generator)
    labels = blocks.repeat_interleave(32, 1).repeat_interleave(32, 2)
    palette = make_palette("max_distance", Classes(size.classes), 0)
    colours = paint(labels, palette)
    colours = colours + 0.02 * torch.randn(colours.shape, generator=generator)
    return Inputs(labels.to(device), palette.to(device), colours.contiguous().to(device))


def plain_colour(inputs: Inputs) -> Tensor:
    difference = inputs.colours[:, None] - inputs.palette[None, :, :, None, None]
    return -difference.square_().sum(2)


def our_colour(inputs: Inputs) -> Tensor:
    return nearest_colour(inputs.colours, inputs.palette, 1.0)


def plain_enlargement(inputs: Inputs) -> Tensor:
    """The painted map at twice the size, by way of (1, K + 1, 2H, 2W)."""
    classes = len(inputs.palette) + 1
    one_hot = F.one_hot(inputs.labels, classes).movedim(3, 1).float()
    return paint(F.interpolate(one_hot, scale_factor=2.0, mode="bilinear").argmax(1), inputs.palette)


def our_enlargement(inputs: Inputs) -> Tensor:
    return F.interpolate(paint(inputs.labels, inputs.palette), scale_factor=2.0, mode="nearest")


@torch.no_grad()
def inverse_at_once(inputs: Inputs, cells: tuple[int, int]) -> Tensor:
    """Scores of 19 classes by FT-W's inverse, in bands of ``cells`` on a GPU and on a CPU."""
    torch.manual_seed(0)
    inverse = WindowInverse(19, depth=1).to(inputs.colours.device)
    before = attention.BAND_CELLS, attention.CACHED_BAND_CELLS
    attention.BAND_CELLS, attention.CACHED_BAND_CELLS = cells
    try:
        scores: Tensor = inverse(inputs.colours[..., :512, :1024])
        return scores
    finally:
        attention.BAND_CELLS, attention.CACHED_BAND_CELLS = before


def plain_window(inputs: Inputs) -> Tensor:
    return inverse_at_once(inputs, (1 << 40, 1 << 40))


def our_window(inputs: Inputs) -> Tensor:
    return inverse_at_once(inputs, (attention.BAND_CELLS, attention.CACHED_BAND_CELLS))


SECTIONS: dict[str, tuple[str, Callable[[Inputs], Tensor], Callable[[Inputs], Tensor]]] = {
    "colour": ("colours to class scores", plain_colour, our_colour),
    "labels": ("labels to a maskige of twice the size", plain_enlargement, our_enlargement),
    "window": ("FT-W's inverse in bands, on 512 x 1024 at most and 19 classes, of", plain_window, our_window),
}


def compare(section: str, size: Size, arguments: argparse.Namespace) -> None:
    device = arguments.device
    title, plain, ours = SECTIONS[section]
    inputs = make_inputs(size, device)
    expected, found = plain(inputs), ours(inputs)
    if section != "labels":
        expected, found = expected.argmax(1), found.argmax(1)
    same = (expected == found).float().mean().item()
    assert same > 0.99, f"only {100 * same:.2f}% of the pixels agree"
    del expected, found
    calls = {"plain": lambda: plain(inputs), "ours": lambda: ours(inputs)}
    slow, fast = in_turns(calls, device, arguments.rounds).values()
    peaks = {name: peak_elsewhere(section, name) for name in calls}
    table = Table(title=f"{title}: {size.height} x {size.width}, K={size.classes}, {device}")
    for column in ("plain ms", "ours ms", "speed-up", "plain GB", "ours GB", "less memory", "same pixels"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{1000 * slow:.0f}",
        f"{1000 * fast:.0f}",
        f"{slow / fast:.1f}x",
        f"{peaks['plain'] / 1e9:.2f}",
        f"{peaks['ours'] / 1e9:.2f}",
        f"{peaks['plain'] / max(peaks['ours'], 1):.1f}x",
        f"{100 * same:.2f}%",
    )
    console.print(table)
    console.print()


def print_peak(section: str, name: str, size: Size, device: torch.device) -> None:
    _, plain, ours = SECTIONS[section]
    function = plain if name == "plain" else ours
    function(make_inputs(Size(64, 64, 3), device))  # libraries are loaded
    inputs = make_inputs(size, device)
    print(peak_above(lambda: function(inputs), device))


def training_step(arguments: argparse.Namespace) -> None:
    """The codec's share of a step of the quick recipe on Toyscapes: encoding the labels, and decoding as prediction."""
    from bench.config.tables import build
    from bench.model.weights import build_method
    from methods.gss import GSS

    device = arguments.device
    config = build(GSS, "toyscapes", "quick", 0, [])
    crop = config.recipe.augmentation.crop
    classes, images = 14, config.recipe.batch_size
    method = build_method(GSS, config, Classes(classes)).to(device)
    assert isinstance(method, GSS)
    method.codec.freeze()
    optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (images, crop[0] // 16, crop[1] // 16), generator=generator)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2).to(device)
    pictures = torch.rand(images, 3, *crop, generator=generator).to(device)
    context = Context(
        device=device,
        seed=0,
        steps=config.recipe.steps,
        step=0,
        collectives=Collectives(),
        cache=Path(),
        label_maps=lambda: iter(()),
        images=lambda first=0, every=1: iter(()),
    )
    tokens = method.codec.encode(labels)

    def step() -> None:
        batch = Batch(pictures, labels)
        optimiser.zero_grad()
        losses = method.losses(batch)
        sum(losses.terms.values(), torch.zeros((), device=device)).backward()
        optimiser.step()
        method.after_step([losses.observed], context)

    def decode() -> None:
        with torch.no_grad():
            method.codec.decode(tokens)

    parts = {"step": step, "encode": lambda: method.codec.encode(labels), "decode": decode}
    in_turns(parts, device, 1)  # warms up
    middle = in_turns(parts, device, arguments.rounds)
    table = Table(title=f"A training step, toyscapes quick, {images} x {crop[0]} x {crop[1]}, C={classes}, {device}")
    for column in ("part", "ms", "share of the step"):
        table.add_column(column, justify="right")
    for name in parts:
        table.add_row(name, f"{1000 * middle[name]:.1f}", f"{100 * middle[name] / middle['step']:.1f}%")
    both = middle["encode"] + middle["decode"]
    table.add_row("encode + decode", f"{1000 * both:.1f}", f"{100 * both / middle['step']:.1f}%")
    console.print(table)
    console.print()


def candidates(names: list[str], window_depth: int) -> Iterator[CodecSettings]:
    """Every codec, and every variant of those that are fitted, at one vocabulary and stride."""
    for codec in ("identity", "colour", "patch", "vqvae", "dvae"):
        trained = codec in ("vqvae", "dvae")
        for variant in ("ff", "ff-r", "ft", "ft-w", "tf", "tt") if trained else ("ff",):
            if not names or f"{codec}/{variant}" in names or codec in names:
                blocks = {"window_depth": window_depth} if variant == "ft-w" else {}
                yield CodecSettings(codec=codec, variant=variant, **blocks)


def bounds(arguments: argparse.Namespace) -> None:
    from bench.common.console import progress
    from bench.common.errors import UserError
    from bench.plugins import registry
    from bench.records import environment
    from datasets.base import DataError, Dataset

    try:
        dataset = registry.datasets.get(arguments.bounds)
        if dataset.train_split is None or dataset.selection_split is None:
            raise UserError(f"{arguments.bounds} has no training and validation split; name another data set")
        training = dataset(arguments.data_root, dataset.train_split)
        validation = dataset(arguments.data_root, dataset.selection_split)
    except (UserError, DataError) as error:
        raise SystemExit(str(error)) from None

    def of(split: Dataset) -> Callable[[], Iterator[Tensor]]:
        return lambda: (split.label(index).long() for index in range(len(split)))

    steps = CodecSettings().resolved_steps(arguments.run_steps)
    table = arguments.out / f"{arguments.bounds}.json"
    rows = {}
    if table.exists():
        known = [row for row in json.loads(table.read_text()) if row["steps"] == steps]
        rows = {(row["codec"], row["variant"]): row for row in known}
    made = environment.describe(arguments.device)
    for settings in candidates(arguments.codec, arguments.window_depth):
        codec = build_codec(settings, dataset.classes).to(arguments.device)
        start = time.monotonic()
        try:
            fitted_codec(codec, of(training), arguments.run_steps, arguments.out / "cache", progress)
        except MethodError as error:
            raise SystemExit(str(error)) from None
        seconds = time.monotonic() - start
        report = reconstruction_report(codec, of(validation)())
        vocabulary = None if codec.continuous else codec.vocabulary
        row = {
            "codec": settings.codec,
            "variant": settings.variant,
            "steps": steps,
            "codec_seed": settings.codec_seed,
            **({"window_depth": settings.window_depth} if settings.variant == "ft-w" else {}),
            "stride": codec.stride,
            "vocabulary": vocabulary,
            "seconds": round(seconds, 1),
            **{name: None if math.isnan(value) else value for name, value in report.as_dict().items()},
            "commit": made.commit,
            "dirty": made.dirty,
            "hardware": made.hardware,
        }
        console.print(row)
        rows[settings.codec, settings.variant] = row
        places = {(c.codec, c.variant): place for place, c in enumerate(candidates([], 1))}
        rows = dict(sorted(rows.items(), key=lambda item: places[item[0]]))
        write_bounds(table, list(rows.values()), f"{arguments.bounds} {dataset.selection_split}")
    console.print(f"{table} and .md written")


def write_bounds(path: Path, rows: list[dict[str, Any]], labels: str) -> None:
    """Write ``rows`` as JSON to ``path``, and as a Markdown table beside it."""
    lines = [
        f"Reconstruction of {labels} labels; autoencoders fitted for {rows[0]['steps']} steps.",
        "",
        "| codec | variant | stride | V | mIoU | boundary F | perplexity | used codes |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        figures = [("miou", 100, ".2f"), ("boundary_f", 100, ".2f"), ("perplexity", 1, ".1f"), ("used_codes", 1, ".0f")]
        shown = ["-" if row[name] is None else format(scale * row[name], form) for name, scale, form in figures]
        left = [row["codec"], row["variant"], str(row["stride"]), str(row["vocabulary"] or "-")]
        lines.append("| " + " | ".join([*left, *shown]) + " |")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    path.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for section in (*SECTIONS, "step"):
        parser.add_argument(f"--{section}", action="store_true", help="only the sections that are named")
    parser.add_argument("--small", action="store_true", help="a sixteenth of the pixels")
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--threads", default=1, type=int, help="threads of PyTorch on the CPU")
    parser.add_argument("--bounds", metavar="DATASET", help="reconstruction bounds of all codecs on its labels")
    parser.add_argument("--data-root", default=Path("data"), type=Path)
    parser.add_argument("--out", default=Path("codec-bounds"), type=Path, help="tables and fitted codecs")
    parser.add_argument("--run-steps", default=450, type=int, help="steps of the run that the fit belongs to")
    parser.add_argument("--codec", action="append", default=[], help="only this codec, or codec/variant; repeatable")
    parser.add_argument("--window-depth", default=2, type=int, help="window blocks of ft-w")
    parser.add_argument("--peak", nargs=2, help="print only the peak bytes of a section's plain or ours")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = SMALL if arguments.small else FULL
    if arguments.peak is not None:
        section, name = arguments.peak
        print_peak(section, name, size, arguments.device)
        return
    if arguments.bounds is not None:
        bounds(arguments)
        return
    named = [section for section in (*SECTIONS, "step") if getattr(arguments, section)]
    for section in SECTIONS:
        if not named or section in named:
            compare(section, size, arguments)
    if not named or "step" in named:
        training_step(arguments)


if __name__ == "__main__":
    main()
