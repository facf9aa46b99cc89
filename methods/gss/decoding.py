"""Distributions over latents, and how they become class scores: hard, soft, or by sampling.

An image's distribution gives latents that a codec decodes: tokens (B, h, w), token probabilities (B, V, h, w), or
colours (B, 3, h, w). Samples of all images of a batch are drawn with the same random numbers, so that an image is
decoded alike whatever is beside it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

MARGIN = 0.01
"""Nats by which ``put_first`` puts a class ahead."""

VARIANCE_FLOOR = (1 / 255) ** 2
"""Smallest predicted variance of a colour in [0, 1]: one step of 8 bits. Class colours are single points, so without a
floor the density of a pixel that is never in doubt grows without bound."""


class Latents(ABC):
    """The predicted distribution over an image's latents, independent from cell to cell."""

    @abstractmethod
    def hard(self) -> Tensor:
        """The most likely latents."""

    @abstractmethod
    def soft(self) -> Tensor:
        """The expectation that the decoder can take: token probabilities, or mean colours."""

    @abstractmethod
    def samples(self, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """``count`` draws. ``generator`` is a CPU one, for the same draws on every device."""

    @abstractmethod
    def uncertainty(self) -> Tensor:
        """How undecided each cell is, (B, h, w)."""


class TokenLatents(Latents):
    """A categorical distribution over V tokens per cell, from ``logits`` (B, V, h, w)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.float()

    @cached_property
    def rows(self) -> Tensor:
        """Probabilities (B, h, w, V), computed once: nothing else of an image is as large."""
        return self.logits.movedim(1, -1).softmax(dim=-1)

    def hard(self) -> Tensor:
        """Tokens (B, h, w)."""
        return self.logits.argmax(dim=1)

    def soft(self) -> Tensor:
        """Probabilities (B, V, h, w)."""
        return self.rows.movedim(-1, 1)

    def samples(self, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Tokens (B, h, w), by inversion of the distribution function."""
        images, vocabulary, height, width = self.logits.shape
        function = self.rows.flatten(0, 2).cumsum(dim=1)
        for _ in range(count):
            uniform = torch.rand(height * width, generator=generator).to(function.device).repeat(images)
            # Scaled by the last value, which rounding keeps from being exactly one.
            drawn = torch.searchsorted(function, (uniform * function[:, -1])[:, None], right=True)
            yield drawn.clamp_(max=vocabulary - 1).view(images, height, width)

    def uncertainty(self) -> Tensor:
        """Entropy over log V, in [0, 1]. Tokens that mean the same class make it larger than that of the classes."""
        surprise = self.rows.clamp_min(torch.finfo(self.rows.dtype).tiny).log()
        return -(self.rows * surprise).sum(dim=-1) / math.log(max(self.logits.shape[1], 2))


class ColourLatents(Latents):
    """An independent Gaussian per channel over colours in [0, 1], from ``outputs`` (B, 6, h, w)."""

    def __init__(self, outputs: Tensor) -> None:
        mean, spread = outputs.float().chunk(2, dim=1)
        self.mean = mean.sigmoid()
        self.variance = VARIANCE_FLOOR + F.softplus(spread)

    def hard(self) -> Tensor:
        """Mean colours (B, 3, h, w), which are the most likely ones."""
        return self.mean

    def soft(self) -> Tensor:
        """Mean colours (B, 3, h, w)."""
        return self.mean

    def samples(self, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Colours (B, 3, h, w), not confined to [0, 1]."""
        for _ in range(count):
            noise = torch.randn(self.mean.shape[1:], generator=generator).to(self.mean.device)
            yield self.mean + self.variance.sqrt() * noise

    def uncertainty(self) -> Tensor:
        """Mean log standard deviation of the channels, which is their mean differential entropy up to a constant."""
        return 0.5 * self.variance.log().mean(dim=1)


def put_first(log_probabilities: Tensor, classes: Tensor) -> Tensor:
    """``log_probabilities`` (B, C, h, w) changed as little as makes ``classes`` (B, h, w) the most likely ones.

    Where another class is ahead, the wanted one is raised ``MARGIN`` above it, and all are normalised again. A hard
    decode is one label map, with scores nearly one-hot however undecided the prior was; this way its classes
    come with the probabilities of the soft decode. They hold at the network's resolution: where labels are larger, what
    lies between two cells is interpolated, and a class that the soft decode prefers in both can come out ahead there.
    """
    best = log_probabilities.amax(dim=1, keepdim=True)
    wanted = classes.unsqueeze(1)
    own = log_probabilities.gather(1, wanted)
    ahead = log_probabilities.argmax(dim=1, keepdim=True) != wanted
    raised = log_probabilities.scatter(1, wanted, torch.where(ahead, best + MARGIN, own))
    return raised.log_softmax(dim=1)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy in nats (B, h, w) of ``log_probabilities`` (B, C, h, w)."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


def monte_carlo(
    latents: Latents, classify: Callable[[Tensor], Tensor], count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Class log-posterior by sampling, and how far the samples disagree.

    Args:
        latents: what is sampled.
        classify: latents to class log-probabilities (B, C, H, W).
        count: S, samples.
        generator: a CPU generator.

    Returns:
        The log of the samples' mean probabilities (B, C, H, W), and the mutual information in nats (B, H, W) between
        class and sample: the entropy of the mean less the mean of the entropies, 0 where all samples agree.
    """
    total: Tensor | None = None
    own: Tensor | float = 0.0
    for drawn in latents.samples(count, generator):
        scores = classify(drawn)
        own = own + entropy(scores) / count
        total = scores if total is None else torch.logaddexp(total, scores)
    assert total is not None, "at least one sample"
    mean = total - math.log(count)
    return mean, (entropy(mean) - own).clamp(min=0)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats (B, h, w) of two maps of log-probabilities (B, C, h, w); at most log 2."""
    mean = torch.logaddexp(first, second) - math.log(2)
    return (entropy(mean) - 0.5 * (entropy(first) + entropy(second))).clamp(min=0)
