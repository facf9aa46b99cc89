"""The ways in which a checkpoint is read: the method's own prediction and others, and a confusion meter for each."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.errors import RunFailed
from bench.inference import ImagePrediction
from bench.metrics.confusion import ConfusionMeter

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


class ReadingMeters:
    """Confusion meters by reading, which merge over ranks even if one rank saw no image.

    Args:
        num_classes: C.
        num_predicted: P, see ``ConfusionMeter``.
    """

    def __init__(self, num_classes: int, num_predicted: int | None = None) -> None:
        self._shape = num_classes, num_predicted
        self.meters: dict[str, ConfusionMeter] = {OWN: ConfusionMeter(*self._shape)}

    def __getitem__(self, reading: str) -> ConfusionMeter:
        """The meter of a reading, an empty one if it was not counted yet."""
        return self.meters.setdefault(reading, ConfusionMeter(*self._shape))

    @property
    def own(self) -> ConfusionMeter:
        """The meter of the method's own prediction."""
        return self.meters[OWN]

    @property
    def others(self) -> dict[str, ConfusionMeter]:
        """The meters of the other readings, by name."""
        return {name: meter for name, meter in self.meters.items() if name != OWN}

    def select(self, image_ids: Sequence[str]) -> ReadingMeters:
        """The meters of some of the images; raises ``KeyError`` for one that was not counted."""
        chosen = ReadingMeters(*self._shape)
        chosen.meters = {name: meter.select(image_ids) for name, meter in self.meters.items()}
        return chosen

    def merge(self, other: ReadingMeters) -> None:
        """Add the images of another shard."""
        for name, meter in other.meters.items():
            self[name].merge(meter)
