"""Anomaly: are pixels of things that training never showed scored higher than the rest?"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.common import files
from bench.errors import RunFailed, UserError
from bench.inference import ImagePrediction, score_maps
from bench.metrics import ranking
from bench.metrics.components import ComponentMeter
from bench.metrics.images import NonFiniteScore
from bench.protocols.base import Evaluation, Protocol, gather_one, numbers
from bench.protocols.targets import anomaly
from bench.records import ProtocolResult, Scores
from bench.tensors import serialised
from datasets.base import IGNORE, Dataset
from methods.base import Prediction

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
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Anomaly segmentation"

    @classmethod
    def targets(cls, source: type[Dataset]) -> list[tuple[str, str]]:
        """The targets that the source data set names, and those that name it."""
        return [(t.dataset, t.split) for t in anomaly(source)]

    @classmethod
    def run(cls, evaluation: Evaluation, targets: list[tuple[str, str]]) -> ProtocolResult:
        """Score each target."""
        began = time.monotonic()
        result = ProtocolResult(version=cls.version)
        for name, split in targets:
            dataset = evaluation.open(name, split)
            scratch = Path(tempfile.mkdtemp(prefix="predictions-", dir=evaluation.scratch))
            try:
                result.targets[f"{name}/{split}"] = cls._score(evaluation, dataset, scratch)
            except NonFiniteScore as error:
                raise RunFailed(f"{error}") from None
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        if evaluation.closed_set is not None:
            result.summary = {"closed_set_miou": evaluation.closed_set.summary["miou"]}
        result.seconds = round(time.monotonic() - began, 2)
        return result

    @classmethod
    def _score(cls, evaluation: Evaluation, dataset: Dataset, scratch: Path) -> Scores:
        target = f"{dataset.name}/{dataset.split}"
        first: dict[str, ranking.PositiveScores] = {}
        for sample in evaluation.samples(dataset, f"anomaly on {target}, predicting"):
            prediction = evaluation.predictor(sample.image)
            scores, labels = _keep(_path(scratch, sample.id), prediction, sample.label, evaluation.density_score)
            for name, values in scores.items():
                first.setdefault(name, ranking.PositiveScores()).update(sample.id, values, labels)
        # A rank without an image has no score of its own, and takes part in the merge of all.
        names = dict.fromkeys(name for found in gather_one([*first]) for name in found)
        second = {
            name: ranking.NegativeCounts(evaluation.merge(first.get(name, ranking.PositiveScores())).finish())
            for name in names
        }
        for sample in evaluation.samples(dataset, f"anomaly on {target}, counting"):
            scores, labels = _recall(_path(scratch, sample.id), sample.label, evaluation.density_score)
            for name, values in scores.items():
                second[name].update(sample.id, values, labels)
        by_score: dict[str, dict[str, float | None]] = {}
        outcome: ranking.RankingResult | None = None
        thresholds: dict[str, float] = {}
        for name in second:
            counts = evaluation.merge(second[name])
            key = f"{cls.name}/{target}/{name}"
            evaluation.statistics[f"{key}/histogram"] = counts.histogram.counts
            evaluation.statistics[f"{key}/edges"] = counts.histogram.edges
            evaluation.statistics[f"{cls.name}/{target}/ids"] = np.array(counts.ids)
            try:
                outcome = counts.result()
            except ranking.UndefinedMetric as error:
                raise RunFailed(f"{target}: {error}") from None
            by_score[name] = numbers(
                {
                    "auroc": outcome.auroc,
                    "ap": outcome.ap,
                    "fpr95": outcome.fpr95,
                    "best_f1_oracle": outcome.best_f1,
                }
            )
            thresholds[name] = outcome.best_f1_strict_threshold
        assert outcome is not None
        for name, found in cls._components(evaluation, dataset, scratch, thresholds).items():
            by_score[name] |= found
        return Scores(
            dataset=evaluation.describe(dataset),
            metrics={
                "prevalence": outcome.prevalence,
                "positives": float(outcome.positives),
                "negatives": float(outcome.negatives),
            },
            by_score=by_score,
        )

    @classmethod
    def _components(
        cls, evaluation: Evaluation, dataset: Dataset, scratch: Path, thresholds: dict[str, float]
    ) -> dict[str, dict[str, float | None]]:
        """Component metrics of every score at its threshold, if the data set's benchmark has them."""
        sizes = dataset.components
        if sizes is None:
            return {}
        meters = {n: ComponentMeter(t, sizes.predicted, sizes.labelled) for n, t in thresholds.items()}
        for sample in evaluation.samples(dataset, f"anomaly on {dataset.name}/{dataset.split}, matching components"):
            scores, _ = _recall(_path(scratch, sample.id), sample.label, evaluation.density_score)
            valid = (sample.label != IGNORE).numpy()
            for name, values in scores.items():
                score_map = np.zeros(valid.shape, values.dtype)
                score_map[valid] = values
                meters[name].update(sample.id, score_map, sample.label)
        results = {name: evaluation.merge(meter).result() for name, meter in meters.items()}
        return {
            name: numbers({"f1_star_oracle": r.f1_star, "siou_oracle": r.siou_gt, "ppv_oracle": r.ppv})
            for name, r in results.items()
        }


def _thinned(label: Tensor) -> Tensor:
    """The label map with most in-distribution pixels void: the first pass wants the others, and these for bins."""
    flat = torch.full_like(label.flatten(), IGNORE)
    flat[::SAMPLED] = label.flatten()[::SAMPLED]
    return torch.where(label == 1, label, flat.view_as(label))


def _scores(prediction: ImagePrediction, label: Tensor, density_score: str) -> ScoredPixels:
    """The scores of the valid pixels of an image, and their labels."""
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
    maps = prediction.maps
    if tuple(maps.logits.shape[-2:]) != prediction.size:
        state = {"logits": maps.logits, "log_density": maps.log_density, "anomaly": maps.anomaly}
        _write(path, {**state, "size": prediction.size})
        return _scores(prediction, _thinned(label), density_score)
    scores, labels = _scores(prediction, label, density_score)
    _write(path, {"scores": {name: torch.from_numpy(values) for name, values in scores.items()}})
    few = (_thinned(label)[label != IGNORE] != IGNORE).numpy()
    return {name: values[few] for name, values in scores.items()}, labels[few]


def _write(path: Path, state: dict[str, Any]) -> None:
    with files.naming(path):
        path.write_bytes(b"".join(files.sealed(serialised(state), ABOUT)))


def _recall(path: Path, label: Tensor, density_score: str) -> ScoredPixels:
    """The scores of all valid pixels, from what ``_keep`` wrote to ``path``."""
    try:
        content = files.read_sealed(path, ABOUT)
    except files.Damaged as error:
        raise UserError(f"{error}; repeat the command, which predicts that image again") from None
    state = torch.load(io.BytesIO(content), weights_only=True)
    if "scores" in state:
        return {name: values.numpy() for name, values in state["scores"].items()}, _labels(label)
    maps = Prediction(state["logits"], state["log_density"], state["anomaly"])
    return _scores(ImagePrediction(maps, tuple(state["size"])), label, density_score)
