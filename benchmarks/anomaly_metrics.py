"""Time and memory of the anomaly metrics: exact ones against scikit-learn and against bins, components against a loop.

    python benchmarks/anomaly_metrics.py --pixels 40_000_000
    python benchmarks/anomaly_metrics.py --binned         # 60 images of 720 x 1280, a tenth of their pixels anomalous
    python benchmarks/anomaly_metrics.py --components     # an image of 1024 x 2048 with thousands of components

In the first, each candidate runs in its own process, so that the peak of resident memory is its own. "beyond scores"
is that peak less what was resident once scores and labels were there.

*Binned* takes the scores of each image at 768 quantiles, half of anomalous and half of other pixels, as
SegmentMeIfYouCan's evaluator does, and adds up the steps of all images. The *loop* over components follows the
definition of the paper (Chan et al. 2021, section 4) with a mask for each component.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch
from common import peak_above
from rich.console import Console
from rich.table import Table
from scipy import ndimage

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
    found: dict[str, Any] = {}

    def timed() -> None:
        start = time.perf_counter()
        found["numbers"] = candidate(scores, labels)
        found["seconds"] = time.perf_counter() - start

    return {"mebibytes": peak_above(timed, torch.device("cpu")) / 2**20, **found}


def street(rng: np.random.Generator, height: int, width: int, objects: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (H, W) float32 and labels (H, W) uint8 with so many squares of anomalous pixels, which score higher."""
    scores = rng.standard_normal((height, width), dtype=np.float32)
    labels = np.zeros((height, width), np.uint8)
    for top, left in zip(rng.integers(0, height - side, objects), rng.integers(0, width - side, objects)):
        labels[top : top + side, left : left + side] = 1
    scores[labels == 1] += 1.5
    return scores, labels


Images = list[tuple[str, np.ndarray, np.ndarray]]


def exact_ap(images: Images) -> float:
    """Average precision of all images by the two passes of the suite, which find the other metrics too."""
    from bench.scoring.metrics.ranking import NegativeCounts, PositiveScores

    positives = PositiveScores()
    for image in images:
        positives.update(*image)
    negatives = NegativeCounts(positives.finish())
    for image in images:
        negatives.update(*image)
    return negatives.result().ap


def binned_ap(images: Images, bins: int = 768) -> float:
    """Average precision from the scores of each image at quantiles of its anomalous and of its other pixels."""
    thresholds, true, false = [], [], []
    for _, scores, labels in images:
        kinds = [scores[labels == label] for label in (1, 0)]
        shares = [np.linspace(0, 1, min(bins // 2, kind.size)) for kind in kinds]
        edges = np.unique(np.concatenate([np.quantile(k, s) for k, s in zip(kinds, shares) if k.size]))
        thresholds.append(edges[:-1])
        true.append(np.histogram(kinds[0], edges)[0])
        false.append(np.histogram(kinds[1], edges)[0])
    order = np.argsort(np.concatenate(thresholds))[::-1]
    found, wrong = (np.cumsum(np.concatenate(counts)[order]) for counts in (true, false))
    return float(np.diff(found / found[-1], prepend=0) @ (found / np.maximum(found + wrong, 1)))


def loop_components(
    scores: np.ndarray, labels: np.ndarray, threshold: float, min_segment: int, min_instance: int
) -> tuple[list[float], list[float]]:
    """sIoU of each labelled component and PPV of each predicted one, by a mask for each, as the paper defines them."""

    def components(mask: np.ndarray, least: int) -> np.ndarray:
        ids, count = ndimage.label(mask, np.ones((3, 3)))
        for index in range(1, count + 1):
            one = ids == index
            if one.sum() < least:
                ids[one] = 0
        return ids

    predicted = components((scores > threshold) & (labels != 255), min_segment)
    truth = components(labels == 1, min_instance)
    region = (labels == 0) | (truth > 0)
    siou, ppv = [], []
    for index in np.unique(truth[truth > 0]):
        one = truth == index
        touching = np.isin(predicted, np.unique(predicted[one & (predicted > 0)])) & region
        on_others = touching & (truth > 0) & ~one
        siou.append((one & touching).sum() / ((one | touching).sum() - on_others.sum()))
    for index in np.unique(predicted[region & (predicted > 0)]):
        one = (predicted == index) & region
        ppv.append((one & (truth > 0)).sum() / one.sum())
    return siou, ppv


def compare_binned(images: int) -> None:
    """Print the processor time of exact and of binned metrics of a split."""
    rng = np.random.default_rng(0)
    split = [(f"{i}", *street(rng, 720, 1280, 1, 303)) for i in range(images)]
    table = Table(title=f"{images} images of 720 x 1280")
    for column in ("metrics", "seconds", "AP"):
        table.add_column(column, justify="right")
    spent = {}
    for name, measure_ap in (("exact", exact_ap), ("binned", binned_ap)):
        start = time.process_time()
        ap = measure_ap(split)
        spent[name] = time.process_time() - start
        table.add_row(name, f"{spent[name]:.2f}", f"{ap:.6f}")
    table.caption = f"exact is {spent['binned'] / spent['exact']:.2f} times as fast"
    Console().print(table)


def compare_components(height: int, width: int) -> None:
    """Print the processor time of the components of one image, by the suite and by the loop."""
    from bench.scoring.metrics.components import image_components

    scores, labels = street(np.random.default_rng(0), height, width, 40, 24)
    scores = ndimage.gaussian_filter(scores, 1.5)
    threshold, sizes = float(np.quantile(scores, 0.93)), (20, 10)
    raw = ndimage.label(scores > threshold, np.ones((3, 3)))[1]
    start = time.process_time()
    ours = image_components(scores, labels, threshold, *sizes)
    between = time.process_time()
    siou, ppv = loop_components(scores, labels, threshold, *sizes)
    end = time.process_time()
    np.testing.assert_allclose(ours.siou_gt, siou, rtol=1e-12)
    np.testing.assert_allclose(ours.ppv, ppv, rtol=1e-12)
    Console().print(
        f"{height} x {width}: {raw:,} components above the threshold, {len(ppv):,} of them large enough, "
        f"{len(siou)} labelled: {between - start:.3f} s, the loop {end - between:.1f} s "
        f"({(end - between) / (between - start):.0f} times as long), the same values"
    )


@click.command()
@click.option("--binned", is_flag=True, help="Exact against binned metrics.")
@click.option("--components", is_flag=True, help="Components against a loop over them.")
@click.option("--pixels", default="40_000_000", show_default=True, help="Pixels of the split.")
@click.option("--prevalence", default=0.01, show_default=True, help="Share of anomalous pixels.")
@click.option("--ours-only", is_flag=True, help="Leave scikit-learn out.")
def main(binned: bool, components: bool, pixels: str, prevalence: float, ours_only: bool) -> None:
    """Print a table of times, memory and numbers, for continuous scores and for heavy ties."""
    if binned or components:
        if binned:
            compare_binned(60)
        if components:
            compare_components(1024, 2048)
        return
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
