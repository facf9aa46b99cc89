"""Reading data sets: two threads of ``bench data verify`` against one, the loader against decoding, and memory.

python benchmarks/data_sets.py

Makes ``--images`` images of 480x360 with labels, as JPEG and PNG. All sides take turns, and the least of ``--rounds``
counts. For the threads time is elapsed, so that two of them show nothing on a machine that is busy with other
programs. For the loader, which scoring reads through, it is processor time of its one process, which bounds what it
gives, against *decoding* the same samples one after another without it. Memory is what ``verify`` holds at its peak
beyond what was held before, for all images and for a tenth of them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import peak_above
from PIL import Image

from bench.data import batches, verification
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


def load(dataset: Dataset) -> None:
    for _ in batches.whole_samples(dataset):
        pass


def processor(who: int) -> float:
    """Seconds that this process, or those that it has started and that have ended, have computed."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


Side = tuple[Callable[[], None], Callable[[], float]]
"""What is timed, and the clock."""


def least(sides: dict[str, Side], rounds: int) -> dict[str, float]:
    """Seconds of each side, the least of ``rounds``."""
    seconds = {name: float("inf") for name in sides}
    for _ in range(rounds):
        for name, (side, clock) in sides.items():
            began = clock()
            side()
            seconds[name] = min(seconds[name], clock() - began)
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
        sides: dict[str, Side] = {
            "one thread": (lambda: verify(large, 1), time.monotonic),
            "two threads": (lambda: verify(large, 2), time.monotonic),
            "decoding": (lambda: decode(dataset), lambda: processor(resource.RUSAGE_SELF)),
            "loader": (lambda: load(dataset), lambda: processor(resource.RUSAGE_CHILDREN)),
        }
        seconds = least(sides, options.rounds)
    print(f"verify of {options.images} images: two threads {seconds['one thread'] / seconds['two threads']:.2f}x one")
    print(f"the loader gives {seconds['decoding'] / seconds['loader']:.0%} of what decoding alone does")
    print(", ".join(f"{name} {1e3 * value / options.images:.2f} ms an image" for name, value in seconds.items()))


if __name__ == "__main__":
    main()
