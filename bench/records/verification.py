"""Do the numbers of a record make sense, and do they follow from its statistics per image?

What is counted exactly must come out exactly. Ranking metrics are only kept as histograms: they must lie within what
any order of the pixels inside the bins can give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.plugins import registry
from bench.schema import side_file
from bench.schema.side_file import IDS, Arrays
from bench.scoring.metrics import confusion
from bench.scoring.metrics.boundary import boundary_f1, boundary_iou
from bench.scoring.metrics.calibration import expected_calibration_error
from bench.scoring.metrics.catalogue import ROUNDING, metric
from bench.scoring.metrics.components import LEVELS, component_metrics
from bench.scoring.metrics.images import ratio
from bench.scoring.metrics.ranking import tied_bins

if TYPE_CHECKING:
    from bench.schema.record import ProtocolResult, Record, Scores

BESIDE_A_TIE = 5e-4
"""Share of the pixels that may be counted an ulp beside the tie that the exact metric saw, as in older records: their
first pass scored fewer pixels at a time than the second, and rounded otherwise."""

Values = Mapping[str, float | None]
Bounds = dict[str, tuple[float, float]]
"""By metric the lowest and the highest value that statistics allow; NaN where it is undefined."""

_SHAPES = {
    "ids": ("U", 1),
    "confusion": ("iu", 3),
    "histogram": ("iu", 3),
    "edges": ("f", 1),
    "bins": ("f", 3),
    "losses": ("f", 2),
    "contours": ("iu", 3),
    "components": ("iu", 3),
    "overlaps": ("f", 2),
}
"""By kind of statistics: the kinds of numbers, and how many axes."""

_INNER: dict[str, Callable[[tuple[int, ...]], bool]] = {
    "confusion": lambda shape: shape[1] >= shape[0],
    "histogram": lambda shape: shape[0] == 2 and shape[1] > 0,
    "bins": lambda shape: shape[1] == 3,
    "losses": lambda shape: shape == (2,),
    "contours": lambda shape: shape[1] == 7,
    "components": lambda shape: shape == (3, len(LEVELS)),
    "overlaps": lambda shape: shape == (3,),
}
"""Whether what statistics of a kind have for each image is of the right shape."""


def problem(record: Record, arrays: Arrays) -> str | None:
    """The first number of a record that does not follow from others or its statistics; None if there is none.

    Whether metrics can have its numbers at all is known of every record that was read.
    """
    return next(_problems(record, arrays), None)


def _problems(record: Record, arrays: Arrays) -> Iterator[str]:
    for key, array in arrays.items():
        protocol, kind = side_file.protocol_and_kind(key)
        if not _of_the_suite(protocol):
            continue
        if (fault := _malformed(kind, array)) is not None:
            yield f"its statistics {key} {fault}"
            return
    for name, result in record.protocols.items():
        if not _of_the_suite(name):
            continue
        yield from _of_summary(name, result)
        for target, scores in result.targets.items():
            for reading, values in _readings(scores).items():
                place = side_file.under(name, target, reading).rstrip("/")
                found = side_file.of(arrays, _SHAPES, name, target, reading)
                named = side_file.of(arrays, [IDS], name, target)
                images = {len(array) for kind, array in {**found, **named}.items() if kind != "edges"}
                if len(images) > 1:
                    yield f"its statistics {place} are of {' and '.join(map(str, sorted(images)))} images"
                    continue
                yield from _differences(place, values, _allowed(found))
            counted = side_file.of(arrays, ("confusion", "contours"), name, target)
            yield from _of_classes(f"{name}/{target}", scores, counted)


def _of_the_suite(name: str) -> bool:
    """Whether a protocol is one of those below: a plugin's arrays and numbers may be called alike and mean others."""
    protocol = registry.protocols.known(name)
    return protocol is not None and protocol.__module__.startswith("bench.")


def _readings(scores: Scores) -> dict[str, Values]:
    """The metrics of a target by anomaly score or reading, the method's own prediction as the empty name."""
    described = {key: scores.metrics.get(key) for key in ("positives", "negatives", "prevalence")}
    by_score = {name: {**described, **values} for name, values in scores.by_score.items()}
    return {"": scores.metrics, **scores.by_reading, **by_score}


# Ranges


def out_of_range(record: Record) -> Iterator[str]:
    """A sentence's part for each number of a record that its metric cannot have."""
    for where, key, value in _numbers(record):
        known = metric(key)
        if value is not None and not known.allows(value):
            yield f"its {known.label} of {where} is {value:g}, which must lie between {known.low:g} and {known.high:g}"
    for key, high in (("labelled_fraction", 1.0), ("labelled_pixels_per_image", math.inf)):
        share = record.supervision.get(key)
        if share is not None and not (isinstance(share, int | float) and 0 <= share <= high and math.isfinite(share)):
            yield f"its {key} is no number between 0 and {high:g}"
    for key, kind in (("source", str), ("kind", str), ("without_labels", dict)):
        if not isinstance(record.supervision.get(key, kind()), kind):
            yield f"its {key} of the labels is not what a run writes"
    for name in record.config.method_files:
        if name not in record.config.method:
            yield f"it has the hash of a file of {name}, which is no setting of the method"


def _numbers(record: Record) -> Iterator[tuple[str, str, float | None]]:
    """Where each number of a record stands, its metric, and its value."""
    if record.training is not None:
        for key in ("parameters", "seconds", "images_per_second", "peak_memory_mb"):
            yield "training", key, getattr(record.training, key)
    yield "inference", "inference_seconds", record.inference_seconds
    for name, result in record.protocols.items():
        tables = {name: result.summary}
        tables |= {f"{name}, {reading}": values for reading, values in result.summary_by_reading.items()}
        for target, scores in result.targets.items():
            where = f"{name} on {target}"
            tables[where] = scores.metrics
            for reading, values in {**scores.by_reading, **scores.by_score}.items():
                tables[f"{where}, {reading}"] = values
            for kind, values in (*scores.per_class.items(), *scores.decomposition.items()):
                yield from ((f"{where}, {part}", kind, value) for part, value in values.items())
        for where, values in tables.items():
            yield from ((where, key, value) for key, value in values.items())


# Numbers that follow from others


def _of_summary(name: str, result: ProtocolResult) -> Iterator[str]:
    """What a summary, and a drop, are said to be made of."""
    targets = result.targets.values()
    summaries = {"": result.summary, **result.summary_by_reading}
    judged = result.targets.get(result.headline or "")
    if judged is None and (result.headline or any(result.summary.keys() & s.metrics.keys() for s in targets)):
        yield f"it does not say on which of its targets {name} is judged"
    for reading, summary in summaries.items():
        found = [scores.by_reading.get(reading, {}) if reading else scores.metrics for scores in targets]
        repeated = {} if judged is None or reading else judged.metrics
        made: Bounds = {key: (_number(value),) * 2 for key, value in repeated.items()}
        if "harmonic_mean" in summary:
            mious = [_number(values.get("miou")) for values in found]
            drops = [_number(values.get("drop")) for values in found]
            made["harmonic_mean"] = (confusion.harmonic_mean(mious),) * 2
            made["mean_drop"] = (float(np.mean(drops)) if drops else math.nan,) * 2
        yield from _differences(name, summary, made)
    for target, scores in result.targets.items():
        for values in (scores.metrics, *scores.by_reading.values()):
            if {"drop", "source_miou", "miou"} <= values.keys():
                drop = _number(values["source_miou"]) - _number(values["miou"])
                yield from _differences(f"{name}/{target}", values, {"drop": (drop, drop)})


def _of_classes(place: str, scores: Scores, counted: Arrays) -> Iterator[str]:
    """Metrics by class, in the order of the classes."""
    found: dict[str, NDArray[np.float64]] = {}
    if (matrices := counted.get("confusion")) is not None:
        found["iou"] = confusion.class_iou(matrices.sum(0, dtype=np.int64))
    if (contours := counted.get("contours")) is not None:
        counts = contours.sum(0, dtype=np.int64)
        found |= {"boundary_iou": boundary_iou(counts[:, :3]), "boundary_f1": boundary_f1(counts[:, 3:])}
    for kind, values in found.items():
        recorded = scores.per_class.get(kind)
        if recorded is None:
            continue
        if len(recorded) != len(values):
            yield f"its statistics {place} are of {len(values)} classes, not of {len(recorded)}"
        for (name, value), of_class in zip(recorded.items(), values):
            if not _same(_number(value), float(of_class)):
                yield f"its {kind} of {name} in {place} is {value}, but its statistics give {of_class:.4f}"


def _differences(place: str, values: Values, allowed: Bounds) -> Iterator[str]:
    for key in allowed.keys() & values.keys():
        value, (low, high) = _number(values[key]), allowed[key]
        if math.isnan(value) != math.isnan(low) or value < low - _slack(low) or value > high + _slack(high):
            given = f"{low:.4f}" if _same(low, high) else f"between {low:.4f} and {high:.4f}"
            yield f"its {metric(key).label} of {place} is {value:.4f}, but what it follows from gives {given}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _slack(bound: float) -> float:
    return ROUNDING * max(1.0, abs(bound))


def _same(first: float, second: float) -> bool:
    return abs(first - second) <= _slack(second) or (math.isnan(first) and math.isnan(second))


# Numbers that follow from statistics


def _malformed(kind: str, array: NDArray[Any]) -> str | None:
    """What is wrong with an array of statistics by itself."""
    numbers, axes = _SHAPES.get(kind, (array.dtype.kind, array.ndim))
    if array.dtype.kind not in numbers or array.ndim != axes:
        return f"are {array.dtype} of shape {array.shape}, as no protocol writes them"
    if kind == "ids":
        return None if len(np.unique(array)) == len(array) else "name an image twice"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "hold what is not a number"
    if kind == "edges":
        return None if (np.diff(array) > 0).all() else "do not ascend"
    if kind in _SHAPES and kind != "losses" and array.size and array.min() < 0:
        return "hold negative counts"
    if kind in _INNER and not _INNER[kind](array.shape[1:]):
        return f"are of shape {array.shape}, as no protocol writes them"
    return None


def _allowed(found: Arrays) -> Bounds:
    """What the statistics of one target and reading, by kind, leave for its metrics."""
    exact: dict[str, Any] = {}
    if "confusion" in found:
        matrix = found["confusion"].sum(0, dtype=np.int64)
        exact["miou"] = confusion.mean_iou(matrix)
        exact["mean_accuracy"] = confusion.mean_accuracy(matrix)
        exact["pixel_accuracy"] = confusion.pixel_accuracy(matrix)
    if "contours" in found:
        counts = found["contours"].sum(0, dtype=np.int64)
        exact["boundary_iou"] = confusion.nan_mean(boundary_iou(counts[:, :3]))
        exact["boundary_f1"] = confusion.nan_mean(boundary_f1(counts[:, 3:]))
    if {"components", "overlaps"} <= found.keys():
        exact |= component_metrics(found["components"].sum(0, dtype=np.int64), found["overlaps"].sum(0))
    if "bins" in found:
        sums = found["bins"].sum(0)
        exact["ece"] = expected_calibration_error(sums)
        if "losses" in found:
            exact["nll"], exact["brier"] = ratio(found["losses"].sum(0), np.full(2, sums[:, 0].sum()))
    bounds = {key: (float(value), float(value)) for key, value in exact.items()}
    return bounds | (_ranking(found) if "histogram" in found else {})


def _ranking(found: Arrays) -> Bounds:
    """Bounds of what exact ranking metrics are, from a histogram, as bins hide the order inside them."""
    n, p = found["histogram"].sum(0, dtype=np.int64)[:, ::-1].astype(np.float64)  # from the highest scores down
    edges = found.get("edges")
    tied = np.zeros(len(p), bool) if edges is None or len(edges) != len(p) - 1 else tied_bins(edges)[::-1]
    positives, negatives = p.sum(), n.sum()
    counts = {"positives": positives, "negatives": negatives, "prevalence": positives / max(positives + negatives, 1.0)}
    bounds = {key: (float(value), float(value)) for key, value in counts.items()}
    if not positives or not negatives:
        return bounds
    tp, fp = p.cumsum(), n.cumsum()
    above = fp - n
    # Within a bin all negatives lie above the positives at worst, below them at best; in a tie, neither.
    tie = p * (negatives - fp + 0.5 * n)
    worst, best = (np.where(tied, tie, p * (negatives - seen)).sum() for seen in (fp, above))
    ranking = {"auroc": (worst / (positives * negatives), best / (positives * negatives))}
    together = p * tp / np.maximum(tp + fp, 1.0)
    # Positive k of the bin has precision (tp_above + k) / (tp_above + k + fp): its sum over k in closed form.
    apart = p - fp * (_harmonic(tp + fp) - _harmonic(tp - p + fp))
    at_best = p * tp / np.maximum(tp + above, 1.0)
    worst, best = (np.where(tied, together, sums).sum() for sums in (apart, at_best))
    ranking["ap"] = (worst / positives, best / positives)
    reached = int(np.argmax(20 * tp >= 19 * positives))
    ranking["fpr95"] = ((fp if tied[reached] else above)[reached] / negatives, fp[reached] / negatives)
    beside = {key: (float(low) - BESIDE_A_TIE, float(high) + BESIDE_A_TIE) for key, (low, high) in ranking.items()}
    return bounds | beside


def _harmonic(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 + 1/2 + ... + 1/n of whole numbers, to eleven digits: SciPy's digamma takes a fifth of a second to import."""
    first = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 32))])
    x = np.maximum(n, len(first))
    series = np.log(x) + np.euler_gamma + 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)
    return np.where(n < len(first), first[np.minimum(n, len(first) - 1).astype(np.int64)], series)
