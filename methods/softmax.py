"""Softmax: the discriminative baseline, a 1x1 convolution trained with cross-entropy."""

from __future__ import annotations

from torch import Tensor, nn

from methods.base import (
    Batch,
    Classes,
    Losses,
    Method,
    MethodConfig,
    Network,
    Prediction,
    added,
    pixel_cross_entropy,
    projection,
)


class SoftmaxConfig(MethodConfig):
    """Hyper-parameters of ``Softmax``."""

    projection: int = added(0, ge=0, le=4096)
    """Channels of a 1x1 convolution with batch norm and ReLU before the classifier; 0 does without, GMMSeg has 64."""


class Softmax(Method):
    """One linear classifier per class on the network's dense features; the posterior is their softmax."""

    name = "softmax"
    reference = (
        "Jonathan Long, Evan Shelhamer, Trevor Darrell: Fully Convolutional Networks for Semantic Segmentation. CVPR "
        "2015"
    )
    Config = SoftmaxConfig

    def __init__(self, config: SoftmaxConfig, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        channels = config.projection or network.out_channels
        self.projection = projection(network.out_channels, channels) if config.projection else nn.Identity()
        self.classifier = nn.Conv2d(channels, len(classes), kernel_size=1)

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy at the labels' own resolution."""
        logits = self._logits(batch.images)
        return Losses({"cross_entropy": pixel_cross_entropy(logits, batch.labels, self.collectives)})

    def predict(self, images: Tensor) -> Prediction:
        """Logits (B, C, h, w) at the resolution of the dense features."""
        return Prediction(logits=self._logits(images).float())

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.projection(self.network(images).dense))
        return logits
