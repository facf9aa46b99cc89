"""Temperature: one factor on a finished run's logits, fitted to images that it was neither trained nor is scored on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from methods.base import Classes, Context, Method, Network, Prediction, upsample
from methods.capabilities import ReadsPredictions
from methods.readout import sample

PER_CLASS = 4096
"""Pixels of each class that the temperature is fitted to; each counts as often as the class is."""
BOUNDS = math.log(1e-2), math.log(1e2)
"""Of the temperature's logarithm: where no pixel is wrong the best one would be 0."""


class Temperature(ReadsPredictions, Method):
    """The logits of a finished run over the temperature that makes them most likely; their argmax stays."""

    name = "temperature"
    reference = (
        "Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger: On Calibration of Modern Neural Networks. ICML 2017"
    )
    temperature: Tensor
    """() float32."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        self.register_buffer("temperature", torch.ones(()))

    def finish(self, context: Context) -> None:
        """Draw pixels of each class and fit; without any the temperature stays 1."""
        found = sample(self._labelled(context), len(self.classes), PER_CLASS, context.seed, context.collectives)
        if len(found.labels):
            self.temperature.fill_(best_temperature(found.features, found.labels, found.stands_for[found.labels]))

    def _labelled(self, context: Context) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (n, C) float32 and classes (n,) int64 of each image's labelled pixels, enlarged as they are scored."""
        for _, batch in context.progress(context.share(), f"fitting {self.name}", None):
            labels = batch.labels
            logits = upsample(self.network(batch.images).dense, (labels.shape[-2], labels.shape[-1]))
            known = labels < len(self.classes)
            yield logits.movedim(1, -1)[known].cpu(), labels[known].cpu()

    def predict(self, images: Tensor) -> Prediction:
        """The run's logits (B, C, h, w) over the temperature."""
        return Prediction(self.network(images).dense / self.temperature)

    def facts(self) -> dict[str, float | str | None]:
        """The temperature: above 1 the run was too sure."""
        return {"temperature": float(self.temperature)}


def best_temperature(logits: Tensor, labels: Tensor, weights: Tensor) -> float:
    """The temperature that minimises the weighted mean cross-entropy of ``logits`` (n, C) over it, in float64.

    ``labels`` (n,) int64 are classes, ``weights`` (n,) in any unit. The loss is convex in the temperature's inverse, so
    that a bounded search finds the only minimum.
    """
    scores, share = logits.double(), weights.double() / weights.double().sum()

    def loss(log_temperature: float) -> float:
        losses = F.cross_entropy(scores / math.exp(log_temperature), labels, reduction="none")
        return torch.dot(share, losses).item()

    found = minimize_scalar(loss, bounds=BOUNDS, method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)
