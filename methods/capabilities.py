"""What some methods can do besides their life cycle: abilities that a method declares by inheriting from them.

    class MyMethod(Explains, Method):

The harness asks ``isinstance(method, Explains)``, and of a class ``issubclass``; a method that lacks what its ability
promises is refused where it is defined. Abilities are called like ``predict``, in ``eval`` mode and without gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Batch, Context, Losses, Method, MethodConfig, Network


class Ability(ABC):  # noqa: B024 - what is abstract stands in the abilities
    """Base of all abilities: what one declares and does not define, a method that inherits from it must."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not issubclass(cls, Method):
            return
        abilities = [base for base in cls.__mro__ if issubclass(base, Ability) and not issubclass(base, Method)]
        for ability, name in ((a, n) for a in abilities for n in (*a.__annotations__, *vars(a)) if n[0] != "_"):
            found = getattr(cls, name, None)
            if found is None or getattr(found, "__isabstractmethod__", False):
                raise TypeError(f"{cls.__name__} inherits from {ability.__name__} and does not define {name}")


class LearnsWithoutLabels(Ability):
    """Can learn from images alone, which ``--supervision none`` asks for.

    ``prepare`` and every step then see only unlabelled pixels and void ones, the latter as the dense labels have them;
    ``finish`` sees the dense labels.
    """

    without_labels: ClassVar[Mapping[str, Any]]
    """The settings under which it does; they may be none."""


class NotTrained(Ability):
    """Takes no gradient step: the harness calls ``prepare`` and ``finish`` only."""

    def losses(self, batch: Batch) -> Losses:
        """Nothing to minimise."""
        return Losses({})


class ReadsPredictions(NotTrained):
    """Is fitted to what the method of a finished run predicts, its head included, and so needs ``--features RUN``.

    The dense features of its ``network`` are that method's logits. ``finish`` sees the images of the data set's
    ``selection_split``, which no run is trained or by default scored on.
    """


class BringsNetwork(Ability):
    """Runs on its own network in place of the shared encoder-decoder, which is then not even built."""

    own_network: ClassVar[tuple[str, str]]
    """Architecture and encoder as tables name them: ``("segformer", "mit_b0")``."""

    @classmethod
    @abstractmethod
    def build_network(cls, config: MethodConfig) -> Network:
        """The network, initialised from torch's global generator; ``encoder`` and ``decoder`` may be ``nn.Identity``.

        Of a network that makes no pyramid, ``pyramid_channels`` and ``pyramid_strides`` are empty.
        """


class TrainedElsewhere(NotTrained, BringsNetwork):
    """A checkpoint that was trained outside the suite, with the network that it needs.

    ``prepare`` loads it, from a file that its configuration names. Its training data need not be there: what it
    answers in are the classes of ``trained_on``, so it is scored on that data set and on whatever the suite scores
    models of that data set on; on any other data set that a class map leads to, in that one's classes.
    """

    trained_on: ClassVar[str]
    """The data set of the suite that it was trained on, in the classes of which it answers."""
    provenance: ClassVar[str]
    """Where its weights come from, as tables say it: ``"Cityscapes train, 160k steps (Xie et al. 2021)"``."""


class Relabels(Ability):
    """Keeps labelled examples, so that it can predict other classes without training."""

    relabelling: ClassVar[str]
    """What tables call it. The cross-domain protocol scores it where the target has other classes."""

    @abstractmethod
    def relabel(self, table: Sequence[int], num_classes: int) -> None:
        """Predict other classes from here on: class c of training counts as ``table[c]``.

        Entries outside 0..num_classes-1 take the class out of prediction; ``logits`` then has ``num_classes`` channels.
        The identity table undoes it.
        """


@dataclass
class Evidence:
    """What a method that predicts by retrieval may retrieve: P segments of its training images."""

    features: Tensor
    """(P, D) float32 unit vectors, compared by cosine."""
    labels: Tensor
    """(P,) int64 classes, as ``predict`` reads them."""
    images: Tensor
    """(P,) int64: the training image that each is from, in the order of ``Context.images``."""
    segments: Tensor
    """(P,) int64: which of the ``Explanation.segments`` of that image it is."""


@dataclass
class Explanation:
    """Which evidence the prediction of B images rests on, for S segments in each."""

    segments: Tensor
    """(B, h, w) int64, 0..S-1, at any resolution; ids without a cell are allowed."""
    rows: Tensor
    """(B, S, k) int64 rows of ``Evidence``, the most similar first; without meaning where an id has no cell."""
    cosines: Tensor
    """(B, S, k) float32 similarity of each to the segment."""


class Explains(Ability):
    """Predicts by retrieving segments of its training images, and can name them (``bench explain``)."""

    @abstractmethod
    def evidence(self) -> Evidence:
        """All that ``explain`` can name."""

    @abstractmethod
    def explain(self, images: Tensor) -> Explanation:
        """The evidence for the prediction of ``images`` (B, 3, H, W).

        Of a training image, whole and at inference scale, it gives the segments that ``evidence`` speaks of.
        """


@dataclass
class Diagnosis:
    """What a method's errors are made of, on images with known labels: the closed-set protocol adds it up."""

    readings: dict[str, Tensor] = field(default_factory=dict)
    """Class maps (B, H, W) int64, 0..C-1, that need the labels and are scored like a prediction: an upper bound, say.
    What needs none belongs to the readings of a ``Prediction``."""
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Hits and total of what is not counted in labelled pixels: right tokens, say."""


class Diagnoses(Ability):
    """Predicts through several stages, and can tell how much of its error each of them makes."""

    @abstractmethod
    def diagnose(self, images: Tensor, labels: Tensor) -> Diagnosis:
        """Take the predictions of ``images`` (B, 3, H, W) with ``labels`` (B, H, W) apart.

        Images are whole, at the size at which they enter the network, and the labels with them.
        """


class DrawsLabelMaps(Ability):
    """Has a distribution over whole label maps, from which ``bench sample`` draws."""

    @abstractmethod
    def sample(self, images: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` label maps (count, B, h, w) int64 of ``images`` (B, 3, H, W) from the joint posterior.

        ``generator`` is a CPU one.
        """

    @abstractmethod
    def generate(self, context: Context, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` label maps (count, H, W) int64 without an image, from what training label maps are like.

        May estimate what it needs from ``context.label_maps`` and keep it in ``context.cache``.
        """
