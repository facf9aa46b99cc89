"""Anomaly: are pixels of things that training never showed scored higher than the rest?"""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.common import files
from bench.common.errors import UserError
from bench.schema.side_file import IDS
from bench.scoring.metrics import ranking
from bench.scoring.metrics.components import ComponentMeter, component_metrics
from bench.scoring.metrics.images import VOID as IGNORE
from bench.scoring.protocols.base import OWN, Counts, Evaluation, Found, Image, Metric, Pass, Protocol, Steps, Values
from bench.scoring.protocols.targets import anomaly

if TYPE_CHECKING:
    from torch import Tensor

    from bench.model.predictor import ImagePrediction
    from bench.schema.record import ProtocolResult
    from datasets.base import ComponentSizes, Dataset

SAMPLED = 53
"""One of so many in-distribution pixels helps to place the bins of the per-image histograms."""
ABOUT = "prediction for the second pass"
"""What the seals of the files between the passes say."""


ScoredPixels = tuple[dict[str, np.ndarray], np.ndarray]
"""Anomaly scores by name of some pixels, and their labels: 0 or 1."""


class Anomaly(Protocol):
    """AUROC, AP, FPR95 and prevalence of every anomaly score, pooled over all valid pixels of a split, and exact.

    Where the data set's benchmark scores connected components too, also F1*, sIoU and PPV of the pixels above the
    threshold of the best pixel F1, an oracle as that benchmark has it.

    Two passes: the first predicts and collects the scores of the anomalous pixels, the second counts the others
    between them; a third matches components. The network runs once; what it found waits on disk for the second
    pass: its predictions where their grid is coarse, else the scores, of which there are fewer than classes.
    """

    name: ClassVar[str] = "anomaly"
    title: ClassVar[str] = "Anomaly segmentation"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("auroc", "AUROC"),
        Metric("ap", "AP"),
        Metric("fpr95", "FPR95", "lower"),
        Metric("prevalence", "Prevalence", None),
        Metric("best_f1_oracle", "Best F1 (oracle threshold)"),
        Metric("f1_star_oracle", "F1* of components (oracle threshold)", of_all_rows=True),
        Metric("siou_oracle", "sIoU (oracle threshold)", of_all_rows=True),
        Metric("ppv_oracle", "PPV (oracle threshold)", of_all_rows=True),
        Metric(
            "best_f1_threshold_oracle",
            "Threshold (oracle)",
            None,
            percent=False,
            decimals=4,
            shown=False,
            low=-math.inf,
            high=math.inf,
        ),
        Metric("closed_set_miou", "Closed-set mIoU", None),
        Metric(
            "positives", "Positive pixels", None, percent=False, decimals=0, shown=False, high=math.inf, unit="pixels"
        ),
        Metric(
            "negatives", "Negative pixels", None, percent=False, decimals=0, shown=False, high=math.inf, unit="pixels"
        ),
    )
    by_default: ClassVar[bool] = True
    place: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("histogram",)
    optional: ClassVar[tuple[str, ...]] = ("components", "overlaps")
    constants: ClassVar[tuple[str, ...]] = ("edges",)
    on_source: ClassVar[bool] = False
    rows: ClassVar = "Score"
    primary: ClassVar[tuple[str, ...]] = ("ap",)
    rules: ClassVar[tuple[str, ...]] = (
        "Prevalence is the AP of chance. Scores of one method come from one checkpoint.",
    )

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The targets that the source data set names, and those that name it."""
        return [(t.dataset, t.split) for t in anomaly(source)]

    @classmethod
    def condensed(cls, counts: Counts) -> Counts:
        """The ``histogram`` (..., 2, bins), negatives first, cumulated from the highest scores down."""
        others = {kind: array for kind, array in counts.items() if kind != "histogram"}
        return {"cumulated": ranking.cumulated(counts["histogram"]), **others}

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """AUROC, AP and FPR95 of ``cumulated`` (..., 2, bins + 1), with the ``edges`` (bins - 1,) of the bins.

        With ``components`` (..., 3, 11) and ``overlaps`` (..., 3) also F1*, sIoU and PPV, at one threshold for all.

        For the bootstrap alone. A record's numbers are exact, from counts at every distinct score of an anomalous
        pixel (``ranking.RankingResult``): two forms, since the exact one would keep millions of levels for each image.
        """
        histograms, edges = counts["cumulated"], counts.get("edges")
        fits = edges is not None and len(edges) == histograms.shape[-1] - 2
        tied = ranking.tied_bins(edges) if edges is not None and fits else None
        found = ranking.cumulated_metrics(histograms, tied)._asdict()
        if {"components", "overlaps"} <= counts.keys():
            found |= component_metrics(counts["components"], counts["overlaps"])
        return found

    @classmethod
    def score(cls, evaluation: Evaluation, dataset: Dataset) -> Steps:
        """Score one target."""
        scratch = Path(tempfile.mkdtemp(prefix="predictions-", dir=evaluation.scratch))
        kept = _Kept(scratch, evaluation.density_score)
        try:
            first = Pass(dataset, _Collecting(kept), "predicting")
            yield [first]
            second = Pass(dataset, _Counting(kept, first.meter.finish()), "counting")
            yield [second]
            by_score: dict[str, dict[str, Any]] = {}
            found = Found({}, by_score=by_score)  # type: ignore[arg-type]
            thresholds: dict[str, float] = {}
            for name, counts in second.meter.scores.items():
                histogram = counts.histogram
                found.statistics[name] = {"histogram": histogram.counts, "edges": histogram.edges}
                found.statistics[OWN] = {IDS: np.array(counts.ids)}
                outcome = counts.result()
                found.metrics = {key: getattr(outcome, key) for key in ("prevalence", "positives", "negatives")}
                by_score[name] = {key: getattr(outcome, key) for key in ("auroc", "ap", "fpr95")}
                by_score[name]["best_f1_oracle"] = outcome.best_f1
                thresholds[name] = outcome.best_f1_strict_threshold
            if dataset.components is not None:
                third = Pass(dataset, _Matching(kept, thresholds, dataset.components), "matching components")
                yield [third]
                for name, meter in third.meter.scores.items():
                    found.statistics[name] |= meter.of_images(found.statistics[OWN][IDS].tolist())
                    matched = meter.result()
                    by_score[name] |= {
                        "f1_star_oracle": matched.f1_star, "siou_oracle": matched.siou_gt, "ppv_oracle": matched.ppv
                    }  # fmt: skip
            return found
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @classmethod
    def summarise(cls, metrics: Sequence[Values], results: Mapping[str, ProtocolResult]) -> Values:
        """The mIoU of the same checkpoint under the closed-set protocol, where it is known."""
        known = results.get("closed-set")
        return {} if known is None else {"closed_set_miou": known.summary.get("miou")}


class _Kept:
    """What the first pass leaves on disk for the others."""

    def __init__(self, folder: Path, density_score: str) -> None:
        self.folder, self.density_score = folder, density_score

    def keep(self, image: Image) -> ScoredPixels:
        """Keep the prediction of ``image``; the scores of its anomalous and of some other pixels."""
        return _keep(_path(self.folder, image.id), image.prediction, image.label, self.density_score)

    def recall(self, image: Image) -> ScoredPixels:
        """The scores of all valid pixels."""
        return _recall(_path(self.folder, image.id), image.label, self.density_score)


class _Scores:
    """A meter of every anomaly score, by name."""

    def __init__(self, kept: _Kept) -> None:
        self.kept = kept
        self.scores: dict[str, Any] = {}

    def merge(self, other: _Scores) -> None:
        """Add the images of another shard; a rank without an image brings no score."""
        for name, meter in other.scores.items():
            if name in self.scores:
                self.scores[name].merge(meter)
            else:
                self.scores[name] = meter


class _Collecting(_Scores):
    """The first pass: the scores of the anomalous pixels."""

    def update(self, image: Image) -> None:
        scores, labels = self.kept.keep(image)
        for name, values in scores.items():
            self.scores.setdefault(name, ranking.PositiveScores()).update(image.id, values, labels)

    def finish(self) -> dict[str, ranking.ScoreLevels]:
        return {name: meter.finish() for name, meter in self.scores.items()}


class _Counting(_Scores):
    """The second pass: how many other pixels lie between them."""

    def __init__(self, kept: _Kept, levels: Mapping[str, ranking.ScoreLevels]) -> None:
        super().__init__(kept)
        self.scores = {name: ranking.NegativeCounts(found) for name, found in levels.items()}

    def update(self, image: Image) -> None:
        scores, labels = self.kept.recall(image)
        for name, values in scores.items():
            self.scores[name].update(image.id, values, labels)


class _Matching(_Scores):
    """The third pass: connected components above the thresholds."""

    def __init__(self, kept: _Kept, thresholds: Mapping[str, float], sizes: ComponentSizes) -> None:
        super().__init__(kept)
        self.scores = {n: ComponentMeter(t, sizes.predicted, sizes.labelled) for n, t in thresholds.items()}

    def update(self, image: Image) -> None:
        scores, _ = self.kept.recall(image)
        valid = (image.label != IGNORE).numpy()
        for name, values in scores.items():
            score_map = np.zeros(valid.shape, values.dtype)
            score_map[valid] = values
            self.scores[name].update(image.id, score_map, image.label)


def _scores(prediction: ImagePrediction, label: Tensor, density_score: str) -> ScoredPixels:
    """The scores of the valid pixels of an image, and their labels."""
    from bench.model.predictor import score_maps

    valid = label != IGNORE
    device = prediction.maps.logits.device
    size = (label.shape[0], label.shape[1])
    scores = score_maps(prediction, size, valid.to(device), density_score)
    return {n: s.cpu().numpy() for n, s in scores.items()}, _labels(label)


def _labels(label: Tensor) -> np.ndarray:
    """Of the valid pixels."""
    return label[label != IGNORE].numpy().astype(np.uint8)


def _path(scratch: Path, image_id: str) -> Path:
    return scratch / f"{image_id.replace('/', '--')}.pt"


def _keep(path: Path, prediction: ImagePrediction, label: Tensor, density_score: str) -> ScoredPixels:
    """Write what the second pass needs to ``path``; the scores of the anomalous and of some other pixels."""
    import torch

    maps = prediction.maps
    # All pixels, as in the second pass: among fewer, a pixel's score would be rounded otherwise, and ties would part.
    scores, labels = _scores(prediction, label, density_score)
    if tuple(maps.logits.shape[-2:]) == prediction.size:
        _write(path, {"scores": {name: torch.from_numpy(values) for name, values in scores.items()}})
    else:
        state = {"logits": maps.logits, "log_density": maps.log_density, "anomaly": maps.anomaly}
        _write(path, {**state, "size": prediction.size})
    few = labels == 1
    few[::SAMPLED] = True
    return {name: values[few] for name, values in scores.items()}, labels[few]


def _write(path: Path, state: dict[str, Any]) -> None:
    from bench.common.tensors import serialised

    with files.naming(path):
        path.write_bytes(b"".join(files.sealed(serialised(state), ABOUT)))


def _recall(path: Path, label: Tensor, density_score: str) -> ScoredPixels:
    """The scores of all valid pixels, from what ``_keep`` wrote to ``path``."""
    import torch

    from bench.model.predictor import ImagePrediction
    from methods.base import Prediction

    try:
        content = files.read_sealed(path, ABOUT)
    except files.Damaged as error:
        raise UserError(f"{error}; repeat the command, which predicts that image again") from None
    state = torch.load(io.BytesIO(content), weights_only=True)
    if "scores" in state:
        return {name: values.numpy() for name, values in state["scores"].items()}, _labels(label)
    maps = Prediction(state["logits"], state["log_density"], state["anomaly"])
    return _scores(ImagePrediction(maps, tuple(state["size"])), label, density_score)
