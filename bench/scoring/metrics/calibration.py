"""Calibration of class posteriors per pixel: expected calibration error, log-likelihood, Brier score.

With p the posterior of a pixel, y its label and q = max p its confidence:

- ECE: mean over pixels of ``|accuracy - confidence|`` of the pixel's bin, of 15 equal-width bins of
  confidence, each open below and closed above (Guo et al. 2017, eq. 3).
- NLL: mean of ``-log p_y``, in nats; a p_y below the smallest normal float32 counts as that, 87.3 nats.
- Brier: mean of ``sum_c (p_c - [c = y])^2``, in [0, 2].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.scoring.metrics.images import ImageIds, NonFiniteScore, ratio

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15
"""Bins of confidence, as in Guo et al. 2017."""

Float64s = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationResult:
    """Calibration of a split, means over its pixels; NaN without pixels. NLL is in nats."""

    ece: float
    nll: float
    brier: float
    pixels: int


def calibration_sums(
    probabilities: Tensor, labels: Tensor, bins: int = BINS, image_id: str = ""
) -> tuple[Float64s, Float64s]:
    """Sums over the pixels of one image.

    Args:
        probabilities: (C, H, W) float32 or float64, on any device, summing to one over C.
        labels: (H, W) integer; pixels outside 0..C-1 are not counted.
        bins: number of bins of confidence.
        image_id: names the image in errors.

    Returns:
        (bins, 3) float64: pixels of each bin, how many of them are right, and the sum of their confidences;
        and (2,) float64: sums of the NLL and of the Brier score.

    Raises:
        TypeError: probabilities of another type: half precision loses the tail of the NLL.
        NonFiniteScore: NaN or infinity at a valid pixel.
        ValueError: shapes that do not fit, or probabilities that do not sum to one within 0.001.
    """
    import torch

    if probabilities.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"probabilities must be float32 or float64, not {probabilities.dtype}")
    if probabilities.ndim != 3 or probabilities.shape[1:] != labels.shape:
        raise ValueError(
            f"probabilities {tuple(probabilities.shape)} and labels {tuple(labels.shape)} must be (C, H, W) and (H, W)"
        )
    valid = (labels >= 0) & (labels < len(probabilities))
    label = torch.where(valid, labels, 0).long()
    confidence, prediction = probabilities.max(0)
    of_label = probabilities.gather(0, label[None])[0]
    squares = torch.einsum("chw,chw->hw", probabilities, probabilities)
    total = probabilities.sum(0)[valid]
    if not torch.isfinite(total).all():
        raise NonFiniteScore(image_id, "probability")
    if ((total - 1).abs() > 1e-3).any() or (probabilities.amin(0)[valid] < 0).any():
        raise ValueError(f"image {image_id!r}: class probabilities must be non-negative and sum to one")

    confidence = confidence[valid].double().cpu()
    right = (prediction == label)[valid].cpu().numpy()
    of_label, squares = of_label[valid].double().cpu(), squares[valid].double().cpu()
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    place = torch.bucketize(confidence, edges).numpy()
    columns = [
        np.bincount(place, minlength=bins),
        np.bincount(place, weights=right, minlength=bins),
        np.bincount(place, weights=confidence.numpy(), minlength=bins),
    ]
    floor = torch.finfo(torch.float32).tiny
    nll = -of_label.clamp(min=floor).log().sum()
    brier = (squares - 2 * of_label + 1).sum()
    return np.stack(columns, axis=-1).astype(np.float64), np.array([float(nll), float(brier)])


def expected_calibration_error(sums: ArrayLike) -> Float64s:
    """ECE from (..., bins, 3) sums, as ``calibration_sums`` gives: (...) float64, NaN without pixels."""
    pixels, right, confidence = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    return ratio(np.abs(right - confidence).sum(-1), pixels.sum(-1))


class CalibrationMeter:
    """Calibration sums of single images, from which the split's metrics follow."""

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins
        self._ids = ImageIds()
        self._bin_sums: list[Float64s] = []
        self._losses: list[Float64s] = []

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of the per-image sums."""
        return list(self._ids)

    @property
    def bin_sums(self) -> Float64s:
        """(n, bins, 3) float64: pixels, right ones and summed confidences of each image and bin."""
        return np.array(self._bin_sums, np.float64).reshape(-1, self.bins, 3)

    @property
    def losses(self) -> Float64s:
        """(n, 2) float64: the NLL and the Brier score of each image, summed over its pixels."""
        return np.array(self._losses, np.float64).reshape(-1, 2)

    def update(self, image_id: str, probabilities: Tensor, labels: Tensor) -> None:
        """Add one image, as ``calibration_sums`` does; raises ``DuplicateImage`` the second time."""
        sums, losses = calibration_sums(probabilities, labels, self.bins, image_id)
        self._ids.add(image_id)
        self._bin_sums.append(sums)
        self._losses.append(losses)

    def select(self, image_ids: Iterable[str]) -> CalibrationMeter:
        """A meter of some of the images; raises ``KeyError`` for one that was not counted."""
        chosen = CalibrationMeter(self.bins)
        for image_id, place in self._ids.places(image_ids):
            chosen._ids.add(image_id)
            chosen._bin_sums.append(self._bin_sums[place])
            chosen._losses.append(self._losses[place])
        return chosen

    def merge(self, other: CalibrationMeter) -> None:
        """Add another shard; raises ``ValueError`` where the bins differ or images repeat."""
        if other.bins != self.bins:
            raise ValueError(f"cannot merge {other.bins} calibration bins into {self.bins}")
        self._ids.extend(other._ids)
        self._bin_sums += other._bin_sums
        self._losses += other._losses

    def result(self) -> CalibrationResult:
        """The metrics over all images so far."""
        sums = self.bin_sums.sum(0)
        pixels = sums[:, 0].sum()
        nll, brier = self.losses.sum(0) / pixels if pixels else (np.nan, np.nan)
        ece = expected_calibration_error(sums)
        return CalibrationResult(float(ece), float(nll), float(brier), int(pixels))
