"""The ways in which a checkpoint is read: the method's own prediction and others, and a meter for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Self, TypeVar
from typing import Protocol as Structural

from torch import Tensor

from bench.errors import RunFailed
from bench.inference import ImagePrediction

OWN = ""
"""The name of the method's own prediction."""


def class_scores(prediction: ImagePrediction, image_id: str, size: tuple[int, int]) -> dict[str, Tensor]:
    """Class scores (C, H, W) at ``size``, by reading. Raises RunFailed for NaN, of which no class is the largest."""
    scores = {OWN: prediction.logits(size), **prediction.readings(size)}
    for reading, logits in scores.items():
        if bool(logits.isnan().any()):
            named = f" ({reading})" if reading else ""
            raise RunFailed(f"image {image_id!r}: class scores{named} that are not numbers; look at what predicts them")
    return scores


class ImageMeter(Structural):
    """A streaming metric that knows its images apart."""

    def select(self, image_ids: Iterable[str]) -> Self:
        """A meter of some of the images."""

    def merge(self, other: Any) -> None:
        """Add the images of another shard."""


M = TypeVar("M", bound=ImageMeter)


class ReadingMeters(Generic[M]):
    """Meters by reading, which merge over ranks even if one rank saw no image.

    Args:
        empty: makes a meter without images; ranks exchange it, so no lambda.
    """

    def __init__(self, empty: Callable[[], M]) -> None:
        self._empty = empty
        self.meters: dict[str, M] = {OWN: empty()}

    def __getitem__(self, reading: str) -> M:
        """The meter of a reading, an empty one if it was not counted yet."""
        if reading not in self.meters:
            self.meters[reading] = self._empty()
        return self.meters[reading]

    @property
    def own(self) -> M:
        """The meter of the method's own prediction."""
        return self.meters[OWN]

    @property
    def others(self) -> dict[str, M]:
        """The meters of the other readings, by name."""
        return {name: meter for name, meter in self.meters.items() if name != OWN}

    def select(self, image_ids: Iterable[str]) -> Self:
        """The meters of some of the images; raises ``KeyError`` for one that was not counted."""
        wanted = list(image_ids)
        chosen = type(self)(self._empty)
        chosen.meters = {name: meter.select(wanted) for name, meter in self.meters.items()}
        return chosen

    def merge(self, other: Self) -> None:
        """Add the images of another shard."""
        for name, meter in other.meters.items():
            self[name].merge(meter)
