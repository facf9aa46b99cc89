"""Neighbours: classes by the vote of the nearest labelled cells, on features that stay as they are."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Classes, Context, MethodConfig, Network, Prediction
from methods.readout import ReadOut, sample

PER_CLASS = 2048
"""Cells of each class that are kept."""
QUERIES = 2048
"""Cells that are compared with all kept ones at a time."""
LEAST_VOTE = 1e-6
"""Weight of the uniform distribution in the vote."""


class NeighboursConfig(MethodConfig):
    """Hyper-parameters of ``Neighbours``."""

    neighbours: int = Field(default=20, ge=1, le=1024)
    """k, the nearest cells by cosine that vote; the distance of the k-th is the anomaly score."""


class Neighbours(ReadOut):
    """k nearest neighbours by cosine. A kept cell votes for as many as its class had, so that frequencies count."""

    name = "neighbours"
    reference = (
        "Yiyou Sun, Yifei Ming, Xiaojin Zhu, Yixuan Li: Out-of-Distribution Detection with Deep Nearest Neighbors. "
        "ICML 2022"
    )
    Config = NeighboursConfig
    headline_score = "neighbours_distance"
    window_average = "probabilities"
    features: Tensor
    """(C * PER_CLASS, D) unit vectors; rows beyond those that were kept are zero."""
    labels: Tensor
    """(C * PER_CLASS,) int64; C where no cell was kept."""
    votes: Tensor
    """(C,) how many training cells a kept one stands for."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        rows = len(classes) * PER_CLASS
        self.register_buffer("features", torch.zeros(rows, network.out_channels))
        self.register_buffer("labels", torch.full((rows,), len(classes)))
        self.register_buffer("votes", torch.zeros(len(classes)))

    def finish(self, context: Context) -> None:
        """Draw the cells that are kept."""
        found = sample(self.labelled(context), len(self.classes), PER_CLASS, context.seed, context.collectives)
        kept = len(found.labels)
        if kept:
            self.features[:kept] = F.normalize(found.features, dim=1)
            self.labels[:kept] = found.labels
            self.votes.copy_(found.stands_for)

    def predict(self, images: Tensor) -> Prediction:
        """Logarithms of the vote (B, C, h, w), and the cosine distance of the k-th neighbour (B, h, w)."""
        cells = F.normalize(self.network(images).dense.float(), dim=1).movedim(1, -1)
        found = [self._of(part) for part in cells.flatten(0, -2).split(QUERIES)]
        vote, distance = (torch.cat(parts) for parts in zip(*found))
        logits = vote.log().view(*cells.shape[:-1], -1).movedim(-1, 1)
        return Prediction(logits, anomaly={"neighbours_distance": distance.view(cells.shape[:-1])})

    def _of(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The vote (n, C), which sums to one, and the k-th distance (n,) of unit ``queries`` (n, D)."""
        known = self.labels < len(self.classes)
        if not known.any():
            uniform = queries.new_full((len(queries), len(self.classes)), 1 / len(self.classes))
            return uniform, queries.new_zeros(len(queries))
        labels = self.labels[known]
        cosines, rows = (queries @ self.features[known].t()).topk(min(self.config.neighbours, len(labels)), dim=1)
        nearest = labels[rows]
        vote = queries.new_zeros(len(queries), len(self.classes)).scatter_add_(1, nearest, self.votes[nearest])
        share = (1 - LEAST_VOTE) * vote / vote.sum(1, keepdim=True) + LEAST_VOTE / len(self.classes)
        return share, 1 - cosines[:, -1]
