"""Time and memory of the exact anomaly metrics against scikit-learn's three functions, on the same scores.

    python benchmarks/anomaly_metrics.py --pixels 40_000_000

Each candidate runs in its own process, so that the peak of resident memory is its own. "beyond scores"
is that peak less what was resident once scores and labels were there.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

FRAME = 2048 * 1024


def make_split(pixels: int, prevalence: float, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) float32 and labels (N,) uint8; with ties, some fifty distinct scores per unit."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(pixels, dtype=np.float32)
    labels = (rng.random(pixels, dtype=np.float32) < prevalence).astype(np.uint8)
    scores[labels == 1] += 2
    if ties:
        scores *= 50
        np.round(scores, out=scores)
    return scores, labels


def with_scikit_learn(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    auroc = roc_auc_score(labels, scores)
    ap = average_precision_score(labels, scores)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(auroc), float(ap), float(fpr[np.argmax(tpr >= 0.95)])


def with_two_passes(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Frame by frame, as a protocol does."""
    from bench.scoring.metrics.ranking import NegativeCounts, PositiveScores

    frames = [slice(start, start + FRAME) for start in range(0, len(scores), FRAME)]
    positives = PositiveScores()
    for i, frame in enumerate(frames):
        positives.update(f"{i}", scores[frame], labels[frame])
    negatives = NegativeCounts(positives.finish())
    for i, frame in enumerate(frames):
        negatives.update(f"{i}", scores[frame], labels[frame])
    result = negatives.result()
    return result.auroc, result.ap, result.fpr95


CANDIDATES: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, float, float]]] = {
    "genseg-bench": with_two_passes,
    "scikit-learn": with_scikit_learn,
}


def measure(name: str, pixels: int, prevalence: float, ties: bool) -> dict[str, Any]:
    """Numbers, seconds, and mebibytes beyond scores and labels, in this process."""
    candidate = CANDIDATES[name]
    candidate(*make_split(10_000, 0.1, ties))  # imports and first-call costs are no part of the measurement
    scores, labels = make_split(pixels, prevalence, ties)
    process, stop = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    numbers = candidate(scores, labels)
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    return {"numbers": numbers, "seconds": seconds, "mebibytes": (peak - before) / 2**20}


@click.command()
@click.option("--pixels", default="40_000_000", show_default=True, help="Pixels of the split.")
@click.option("--prevalence", default=0.01, show_default=True, help="Share of anomalous pixels.")
@click.option("--ours-only", is_flag=True, help="Leave scikit-learn out.")
def main(pixels: str, prevalence: float, ours_only: bool) -> None:
    """Print a table of times, memory and numbers, for continuous scores and for heavy ties."""
    table = Table(title=f"{int(pixels):,} pixels, {prevalence:.1%} anomalous")
    for column in ("scores", "who", "seconds", "times faster", "MiB beyond scores", "AUROC", "AP", "FPR95"):
        table.add_column(column, justify="left" if column in ("scores", "who") else "right")
    context = multiprocessing.get_context("spawn")
    names = [name for name in CANDIDATES if name != "scikit-learn" or not ours_only]
    for ties in (False, True):
        found = {}
        for name in names:
            with context.Pool(1) as pool:
                found[name] = pool.apply(measure, (name, int(pixels), prevalence, ties))
        slowest = max(row["seconds"] for row in found.values())
        for name, row in found.items():
            table.add_row(
                "heavy ties" if ties else "continuous",
                name,
                f"{row['seconds']:.2f}",
                f"{slowest / row['seconds']:.1f}",
                f"{row['mebibytes']:.0f}",
                *(f"{number:.12f}" for number in row["numbers"]),
            )
        largest = max(
            abs(ours - theirs)
            for row in found.values()
            for ours, theirs in zip(row["numbers"], found["genseg-bench"]["numbers"], strict=True)
        )
        table.add_section()
        if not ours_only:
            table.caption = f"{table.caption or 'largest difference:'} {largest:.1e}"
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
