"""Reading data sets: threads of ``bench data verify``, reading ahead, images that are decoded once, and memory.

python benchmarks/data_sets.py

Makes ``--images`` images of 480x360 with labels, as JPEG and PNG. All sides take turns, and the least of ``--rounds``
counts, of the time that passed and of what this process computed. On a machine that is busy with other programs only
the second means something; it is what a second thread adds to it that bounds what two can give.

- *verify* with one thread and with two.
- *decoding* samples one after another, against *reading ahead*, as scoring does.
- *examples* for training, decoded and augmented one after another, against ``recipe.decode_once``.

Memory is what ``verify`` holds at its peak beyond what was held before, for all images and for a tenth of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import peak_above
from PIL import Image

from bench.config.tables import Recipe
from bench.data import verification
from bench.data.batches import Augmentation, TrainingSet
from bench.data.decoded import Decoded, decoded
from bench.data.reading import read_ahead
from datasets.base import Dataset
from datasets.camvid import CamVid


def make(root: Path, images: int) -> None:
    """Smooth images with noise, labels in blocks; every hundredth pair is new, the others are its copies."""
    generator = np.random.default_rng(0)
    for index in range(images):
        if index % 100 == 0:
            coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((480, 360))
            noise = generator.integers(-12, 13, (360, 480, 3))
            picture = Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))
            blocks = generator.integers(0, 12, (18, 24), dtype=np.uint8)
            label = Image.fromarray(blocks.repeat(20, 0).repeat(20, 1))
        for folder, image, kind in (("train", picture, "jpg"), ("trainannot", label, "png")):
            path = root / "camvid" / folder / f"{index:05d}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


def verify(root: Path, workers: int) -> None:
    (report,) = verification.verify(CamVid, root, ["train"], workers).values()
    assert not [problem for problem in report.problems if "the release" not in problem], report.problems


def decode(dataset: Dataset) -> None:
    for index in range(len(dataset)):
        dataset[index]


def read(dataset: Dataset) -> None:
    for _ in read_ahead(dataset):
        pass


def augment(samples: Dataset | Decoded) -> None:
    recipe = Recipe()
    examples = TrainingSet(samples, Augmentation(recipe.augmentation, recipe.inference), 0)
    for index in range(len(samples)):
        examples[index, index]


CLOCKS = (time.monotonic, time.process_time)


def least(sides: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds that passed and that were computed in each side, the least of ``rounds``."""
    seconds = {name: [float("inf")] * len(CLOCKS) for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = [clock() for clock in CLOCKS]
            side()
            seconds[name] = [min(s, clock() - b) for s, clock, b in zip(seconds[name], CLOCKS, began)]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large"), Path(folder, "small")
        make(large, options.images)
        make(small, options.images // 10)
        verify(small, 2)
        cpu = torch.device("cpu")
        few, all_ = (peak_above(lambda root=root: verify(root, 2), cpu) for root in (small, large))  # type: ignore[misc]
        print(f"memory of verify: {few / 1e6:.1f} MB for {options.images // 10} images, {all_ / 1e6:.1f} MB for all")
        dataset = CamVid(large, "train", allow_partial=True)
        once = decoded(dataset, None, Path(folder, "cache"), lambda items, *_: items, print)
        sides = {
            "verify, one thread": lambda: verify(large, 1),
            "verify, two threads": lambda: verify(large, 2),
            "decoding": lambda: decode(dataset),
            "reading ahead": lambda: read(dataset),
            "examples": lambda: augment(dataset),
            "examples, decoded once": lambda: augment(once),
        }
        seconds = least(sides, options.rounds)
    for slow, fast in zip([*seconds][::2], [*seconds][1::2]):
        elapsed, computed = (a / b for a, b in zip(seconds[slow], seconds[fast]))
        print(f"{fast}: {elapsed:.2f} times as many images a second as {slow}, {computed:.2f} times as many of a core")
    for name, (elapsed, computed) in seconds.items():
        print(
            f"{name}: {1e3 * elapsed / options.images:.2f} ms an image, {1e3 * computed / options.images:.2f} computed"
        )


if __name__ == "__main__":
    main()
