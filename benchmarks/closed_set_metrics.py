"""Cost of the closed-set metrics as a share of inference: FPN on MobileNetV2, one core by default.

python benchmarks/closed_set_metrics.py --height 360 --width 480 --classes 11
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import numpy as np
import segmentation_models_pytorch as smp
import torch
from rich.console import Console
from rich.table import Table

from bench.scoring.metrics.boundary import BoundaryMeter
from bench.scoring.metrics.calibration import CalibrationMeter
from bench.scoring.metrics.confusion import ConfusionMeter


def milliseconds(call: Callable[[int], object], repeats: int) -> float:
    """Median of the calls, which are handed their number; the first is not counted."""
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[1:]))


@click.command()
@click.option("--height", default=360, show_default=True)
@click.option("--width", default=480, show_default=True)
@click.option("--classes", default=11, show_default=True)
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--repeats", default=20, show_default=True)
@torch.inference_mode()
def main(height: int, width: int, classes: int, threads: int, repeats: int) -> None:
    """Print a table of median times per image."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = smp.FPN("mobilenet_v2", encoder_weights=None, classes=classes).eval()
    # Encoders need sides that are multiples of 32.
    image = torch.randn(1, 3, -(-height // 32) * 32, -(-width // 32) * 32)
    blocks = torch.randint(0, classes, (height // 20 + 1, width // 20 + 1))
    labels = blocks.repeat_interleave(20, 0).repeat_interleave(20, 1)[:height, :width].contiguous()
    predictions = torch.where(torch.rand(height, width) < 0.1, (labels + 1) % classes, labels)
    labels[torch.rand(height, width) < 0.05] = 255
    probabilities = torch.randn(classes, height, width).softmax(0)

    confusion = {dtype: ConfusionMeter(classes) for dtype in (torch.int64, torch.uint8)}
    calibration, boundary = CalibrationMeter(), BoundaryMeter(classes)

    def count(dtype: torch.dtype) -> Callable[[int], object]:
        return lambda i: confusion[dtype].update(f"{i}", predictions.to(dtype), labels.to(dtype))

    rows = {
        "inference": milliseconds(lambda _: network(image), repeats),
        **{f"confusion, {dtype}": milliseconds(count(dtype), repeats) for dtype in confusion},
        "calibration": milliseconds(lambda i: calibration.update(f"{i}", probabilities, labels), repeats),
        "boundary": milliseconds(lambda i: boundary.update(f"{i}", predictions, labels), repeats),
    }
    table = Table(title=f"{height} x {width}, {classes} classes, {threads} thread(s)")
    for column in ("what", "ms per image", "share of inference"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, spent in rows.items():
        table.add_row(what, f"{spent:.2f}", f"{spent / rows['inference']:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
