"""What certainty costs: the hierarchical bootstrap of a difference of mIoUs, against a loop over resamples.

python benchmarks/comparing.py                          # two methods, three seeds, 500 images, 19 classes
python benchmarks/comparing.py --images 5000 --classes 150

Ours: standard errors of both levels from per-image confusion matrices, 10,000 resamples, with the drawing of the
resamples. Plain: for each resample draw seeds and images, add up the matrices, take the mIoU; it is timed on
``--plain`` resamples and stands for as many as ours. Before that both are compared: the loop's standard error of the
images must be ours within what so few resamples can tell.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from bench.report.comparing import bootstrap
from bench.report.leaderboard import resampling
from bench.scoring.metrics.confusion import mean_iou
from bench.scoring.protocols import ClosedSet

Matrices = NDArray[np.int32]
"""(side, seed, image, C, C)."""


def made(seeds: int, images: int, classes: int) -> Matrices:
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(0.5, 1.5, (images, 1, 1))
    errors = rng.poisson(20 * difficulty, (2, seeds, images, classes, classes))
    return np.asarray(errors + 2000 * np.eye(classes, dtype=int), np.int32)


def ours(matrices: Matrices, resamples: int) -> bootstrap.Estimate:
    ids = np.array([f"{i:06d}" for i in range(matrices.shape[2])])
    values, samples = [], []
    for side in matrices:
        runs = [resampling.in_order(ids, {"confusion": run}, {}, ClosedSet) for run in side]
        samples.append(np.stack([resampling.resampled(ClosedSet, run, resamples)["miou"][1:] for run in runs], axis=1))
        values.append(np.array([mean_iou(run.sum(0)) for run in side]))
    return bootstrap.Estimate.of(values[0] - values[1], samples[0] - samples[1], len(ids))


def plain(matrices: Matrices, resamples: int, draw_seeds: bool = True) -> float:
    """The standard deviation of the difference over resamples."""
    rng, found = np.random.default_rng(1), []
    _, seeds, images, *_ = matrices.shape
    for _ in range(resamples):
        drawn = rng.integers(0, seeds, (seeds,)) if draw_seeds else np.arange(seeds)
        chosen = rng.integers(0, images, images)
        a, b = (np.mean([mean_iou(side[seed][chosen].sum(0)) for seed in drawn]) for side in matrices)
        found.append(a - b)
    return float(np.std(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--resamples", type=int, default=bootstrap.RESAMPLES)
    parser.add_argument("--plain", type=int, default=200)
    options = parser.parse_args()
    matrices = made(options.seeds, options.images, options.classes)
    began = time.process_time()
    estimate = ours(matrices, options.resamples)
    our_time = time.process_time() - began
    loop = plain(matrices, options.plain, draw_seeds=False)
    if abs(loop / estimate.error_images - 1) > 4 / np.sqrt(2 * options.plain):
        raise SystemExit(f"standard errors of the images differ: {estimate.error_images:.2e} and {loop:.2e} of a loop")
    began = time.process_time()
    plain(matrices, options.plain)
    plain_time = (time.process_time() - began) * options.resamples / options.plain
    print(f"{options.resamples} resamples: {our_time:.2f} s of processor time, a loop {plain_time:.1f} s")
    print(f"ratio: {plain_time / our_time:.1f}x")


if __name__ == "__main__":
    main()
