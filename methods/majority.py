"""Majority: every pixel gets the training set's class frequencies; the trivial row that every table needs.

It is also the smallest complete plugin: copy this file to start your own method.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from bench.common.grid import Grid
from methods.base import Classes, Context, Method, MethodConfig, Network, Prediction
from methods.capabilities import NotTrained


class MajorityConfig(MethodConfig):
    """Hyper-parameters of ``Majority``."""

    smoothing: float = Field(default=1e-6, ge=1e-30, lt=1)
    """Weight of the uniform distribution mixed into the frequencies, so that an absent class is finite.

    It equals Laplace smoothing with a pseudo-count proportional to the number of labelled pixels.
    """


class Majority(NotTrained, Method):
    """Predict log p(class), estimated from the training labels alone, whatever the image shows."""

    name = "majority"
    Config = MajorityConfig
    log_frequency: Tensor
    """(C,) smoothed log-frequencies; uniform until ``prepare``."""

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        self.register_buffer("log_frequency", torch.zeros(len(classes)).log_softmax(dim=0))

    def prepare(self, context: Context) -> None:
        """Count the labelled pixels of each class over the training label maps.

        Frequencies, unlike counts, do not change if several ranks have counted the same maps.
        """
        num_classes = len(self.classes)
        counts = torch.zeros(num_classes, dtype=torch.int64)
        for labels in context.progress(context.label_maps(), "counting classes", None):
            counts += torch.bincount(labels[labels < num_classes].flatten().cpu(), minlength=num_classes)
        counts = context.collectives.all_reduce_sum(counts.to(self.log_frequency.device)).cpu()
        frequency = counts.double() / counts.sum().clamp(min=1)
        if not counts.any():
            frequency.fill_(1 / num_classes)
        smoothing = self.config.smoothing
        frequency = (1 - smoothing) * frequency + smoothing / num_classes
        self.log_frequency.copy_(frequency.log())

    def predict(self, images: Tensor) -> Prediction:
        """The same logits at every cell of the network's grid, (B, C, h, w)."""
        grid = Grid((images.shape[-2], images.shape[-1]), self.network.stride)
        logits = self.log_frequency.view(1, -1, 1, 1).expand(images.shape[0], -1, *grid.cells)
        return Prediction(logits=logits)
