"""How well a codec reconstructs label maps: an upper bound of the method, at the grid that is deployed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.common.contours import contour, within
from methods.base import ONE_RANK, Collectives
from methods.gss.codecs.base import Codec
from methods.gss.codecs.colour import ColourRegression
from methods.gss.label_maps import fill_void

TOLERANCE = 0.0075
"""Distance at which contours match, as a share of the image diagonal (Csurka et al. 2013)."""

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Quality:
    """What a codec keeps of label maps."""

    miou: float
    """Mean over the classes that occur in the labels, from one confusion matrix of all maps, in [0, 1]."""
    boundary_f: float
    """Mean over the same classes of the F-measure of contours, from counts of all maps, in [0, 1]; NaN without any."""
    iou: tuple[float, ...]
    """Per class, NaN where a class does not occur."""
    perplexity: float
    """exp of the entropy of the tokens' frequencies: how many are effectively used. NaN without tokens."""
    used_codes: float
    """Tokens that occur at all; NaN without tokens."""
    maps: int

    def as_dict(self) -> dict[str, float]:
        """The numbers that do not depend on a class."""
        return {
            "miou": self.miou,
            "boundary_f": self.boundary_f,
            "perplexity": self.perplexity,
            "used_codes": self.used_codes,
        }


@torch.no_grad()
def reconstruction_report(
    codec: Codec, label_maps: Iterable[Tensor], tolerance: float = TOLERANCE, collectives: Collectives = ONE_RANK
) -> Quality:
    """Encode and decode each of ``label_maps`` (H, W), and compare with it where it has a class.

    Void is filled with the nearest class for encoding and does not count. ``tolerance`` is a share of the diagonal,
    at least one pixel. Of several ranks each has its own maps, and all have the report on all of them.
    """
    classes = codec.num_classes
    device = next((t.device for t in codec.state_dict().values()), torch.device("cpu"))
    confusion, contours = np.zeros((classes, classes), np.int64), np.zeros((classes, 4), np.int64)
    tokens = torch.zeros(codec.vocabulary, dtype=torch.int64, device=device)
    maps = 0
    for labels in label_maps:
        maps += 1
        filled = fill_void(labels)[None].to(device)
        if isinstance(codec, ColourRegression):
            latents = codec.targets(filled)
        else:
            latents = codec.encode(filled)
            tokens += latents.flatten().bincount(minlength=codec.vocabulary)
        height, width = labels.shape
        decoded = codec.decode(latents)[0, :, :height, :width].argmax(dim=0).cpu().numpy()
        truth = labels.cpu().numpy()
        valid = truth < classes
        pairs = truth[valid] * classes + decoded[valid]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        contours += boundary_counts(decoded, truth, classes, max(1.0, tolerance * math.hypot(height, width)))
    confusion, contours = (collectives.all_reduce_sum(torch.from_numpy(n)).numpy() for n in (confusion, contours))
    tokens, maps = collectives.all_reduce_sum(tokens), int(collectives.all_reduce_sum(torch.tensor(maps)))
    present = confusion.sum(axis=1) > 0
    correct = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - correct
    iou = np.where(present, correct / np.maximum(union, 1), np.nan)
    matched_ours, ours, matched_truth, theirs = contours.T
    precision, recall = matched_ours / np.maximum(ours, 1), matched_truth / np.maximum(theirs, 1)
    f_measure = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    counted = present & (theirs > 0)
    share = tokens.double() / tokens.sum().clamp(min=1)
    entropy = -(share * share.clamp_min(1e-300).log()).sum()
    return Quality(
        miou=float(iou[present].mean()) if present.any() else float("nan"),
        boundary_f=float(f_measure[counted].mean()) if counted.any() else float("nan"),
        iou=tuple(float(value) for value in iou),
        perplexity=math.nan if codec.continuous else float(entropy.exp()),
        used_codes=math.nan if codec.continuous else float((tokens > 0).sum()),
        maps=maps,
    )


def boundary_counts(decoded: Int64s, truth: Int64s, classes: int, reach: float) -> Int64s:
    """Contour pixels (C, 4) of each class: decoded within ``reach`` of the truth's, decoded, and the converse.

    A contour pixel has one of its four neighbours in another class; void, in ``truth``, belongs to none and makes no
    contour. The class is a third coordinate, too far apart to match, so that one search serves all classes.
    """
    valid = (truth >= 0) & (truth < classes)
    ours, theirs = (_contour_points(ids, valid, 2 * reach) for ids in (decoded, truth))
    counts = np.zeros((classes, 4), np.int64)
    for column, (points, others) in enumerate(((ours, theirs), (theirs, ours))):
        of_class = np.rint(points[:, 2] / (2 * reach)).astype(np.int64)
        counts[:, 2 * column + 1] = np.bincount(of_class, minlength=classes)
        counts[:, 2 * column] = np.bincount(of_class[within(points, others, reach)], minlength=classes)
    return counts


def _contour_points(ids: Int64s, valid: NDArray[np.bool_], spacing: float) -> NDArray[np.float64]:
    """Rows (points, 3): row, column and class times ``spacing`` of the contour pixels of ``ids`` (H, W)."""
    found = contour(ids, valid)
    return np.column_stack([np.argwhere(found), spacing * ids[found]]).astype(np.float64)
