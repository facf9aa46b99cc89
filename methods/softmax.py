"""Softmax: the discriminative baseline, a 1x1 convolution trained with cross-entropy."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from methods.base import Batch, Classes, Losses, Method, Network, Prediction, pixel_cross_entropy


class Softmax(Method):
    """One linear classifier per class on the network's dense features; the posterior is their softmax."""

    name = "softmax"
    reference = "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015"

    def __init__(self, config: Any, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        self.classifier = nn.Conv2d(network.out_channels, len(classes), kernel_size=1)

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy at the labels' own resolution."""
        logits = self.classifier(self.network(batch.images).dense)
        return Losses({"cross_entropy": pixel_cross_entropy(logits, batch.labels, self.collectives)})

    def predict(self, images: Tensor) -> Prediction:
        """Logits (B, C, h, w) at the resolution of the dense features."""
        return Prediction(logits=self.classifier(self.network(images).dense).float())
