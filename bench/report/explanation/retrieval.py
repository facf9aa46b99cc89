"""What a method retrieved for the segments of an image, as arrays, and which of it is shown.

Shapes: S segments that have pixels, k retrieved training segments each, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data.whole_images import whole_batch
from bench.model.predictor import Predictor, enlarge_ids
from bench.report.explanation.query import Query
from datasets.base import ClassSet
from methods.capabilities import Evidence, Explains

RULE = (
    "Half of the segments shown are the largest of the classes predicted in the image, the classes in the order of "
    "their area, in as many rounds as it takes; the other half are the largest that were predicted wrongly. "
    "Where labels are absent or errors are too few, the first kind takes the places."
)
"""How ``choose`` chooses, for captions."""


@dataclass
class Retrieved:
    """The segments of an image, those that are largest first."""

    segments: np.ndarray
    """(H, W) index of each pixel's segment, 0..S-1."""
    ids: np.ndarray
    """(S,) what the method calls them."""
    shares: np.ndarray
    """(S,) share of the image's pixels."""
    predicted: np.ndarray
    """(S,) majority of the predicted classes."""
    truth: np.ndarray
    """(S,) majority of the labelled pixels' classes; -1 without any."""
    truth_shares: np.ndarray
    """(S,) share of that class among the labelled pixels; 0 without any."""
    rows: np.ndarray
    """(S, k) rows of the evidence, the most similar first."""
    cosines: np.ndarray
    """(S, k) similarity."""
    classes: np.ndarray
    """(S, k) classes of what was retrieved."""

    def right(self) -> np.ndarray:
        """(S, k) whether what was retrieved has the segment's true class; False where that is unknown."""
        right: np.ndarray = self.classes == self.truth[:, None]
        return right

    def precision(self) -> float | None:
        """Share of right ones among all retrieved, every segment with a true class counting alike; None without any."""
        known = self.truth >= 0
        return round(float(self.right()[known].mean()), 4) if known.any() else None


@torch.no_grad()
def retrieve(query: Query, evidence: Evidence, predictor: Predictor) -> Retrieved:
    """Ask the method about ``query``, whole and in one view, as its evidence was gathered."""
    method, sample = predictor.method, query.sample
    assert isinstance(method, Explains)
    batch = whole_batch(sample, predictor)
    explanation = method.explain(batch.images)
    cells = explanation.segments
    logits = method.predict(batch.images).logits
    if logits.shape[-2:] != cells.shape[-2:]:
        logits = F.interpolate(logits, size=cells.shape[-2:], mode="bilinear", align_corners=False)
    votes = _joint_counts(cells.flatten(), logits.argmax(1).flatten(), explanation.rows.shape[1], logits.shape[1])

    height, width = sample.label.shape
    pixels = segment_map(cells, (batch.images.shape[-2], batch.images.shape[-1]), (height, width))
    sizes = torch.bincount(pixels.flatten(), minlength=len(votes))
    order = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())]
    index = torch.empty_like(sizes).index_copy_(0, order, torch.arange(len(order)))
    labelled = sample.label < logits.shape[1]
    truth = _joint_counts(pixels[labelled], sample.label[labelled], len(votes), logits.shape[1])[order]
    known = truth.sum(1) > 0
    rows = explanation.rows[0].cpu()[order]
    return Retrieved(
        segments=index[pixels].numpy(),
        ids=order.numpy(),
        shares=(sizes[order] / sizes.sum()).numpy(),
        predicted=votes[order].argmax(1).numpy(),
        truth=torch.where(known, truth.argmax(1), -1).numpy(),
        truth_shares=(truth.amax(1) / truth.sum(1).clamp(min=1)).numpy(),
        rows=rows.numpy(),
        cosines=explanation.cosines[0].float().cpu()[order].numpy(),
        classes=evidence.labels.cpu()[rows].numpy(),
    )


def segment_map(cells: Tensor, network_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Segment of every pixel (H, W) at ``size``, from the segments (1, h, w) of an image of ``network_size``."""
    return enlarge_ids(cells[0].cpu(), network_size, size)


def _joint_counts(first: Tensor, second: Tensor, firsts: int, seconds: int) -> Tensor:
    """How often each pair of values occurs: (firsts, seconds), on the CPU."""
    return torch.bincount(first * seconds + second, minlength=firsts * seconds).view(firsts, seconds).cpu()


def choose(found: Retrieved, count: int) -> list[int]:
    """At most ``count`` segments by ``RULE``, each kind the largest first, those that are wrong last."""
    labels = found.predicted  # segments are in the order of their size
    areas = np.bincount(labels, weights=found.shares)
    rounds = np.empty(len(labels), np.int64)
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    rounds[by_class] = np.arange(len(labels)) - np.repeat(sizes.cumsum() - sizes, sizes)
    spread: list[int] = np.lexsort((-areas[labels], rounds)).tolist()
    wrong = np.flatnonzero((found.truth >= 0) & (found.truth != labels)).tolist()
    first = spread[: -(-count // 2)]
    errors = [s for s in wrong if s not in first][: count - len(first)]
    first += [s for s in spread[len(first) :] if s not in errors][: count - len(first) - len(errors)]
    return first + errors


def segments_json(
    found: Retrieved, evidence: Evidence, shown: Sequence[int], classes: ClassSet, ids: Sequence[str] | None
) -> list[dict[str, Any]]:
    """The retrieval of every segment, the largest first, with columns of equal length for what each retrieved.

    ``shown`` are numbered from 1 as in the figures; ``ids`` are those of the training images, if known.
    """
    names = classes.names
    numbers = {segment: number for number, segment in enumerate(shown, 1)}
    images, segments = evidence.images.cpu().numpy()[found.rows], evidence.segments.cpu().numpy()[found.rows]
    right = found.right()
    return [
        {
            "number": numbers.get(s),
            "segment": int(found.ids[s]),
            "share_of_image": round(float(found.shares[s]), 6),
            "predicted": names[found.predicted[s]],
            "truth": names[found.truth[s]] if found.truth[s] >= 0 else None,
            "truth_share": round(float(found.truth_shares[s]), 4),
            "retrieved": {
                "prototypes": found.rows[s].tolist(),
                "classes": [names[c] for c in found.classes[s]],
                "cosines": found.cosines[s].astype(float).round(5).tolist(),
                "right": right[s].tolist() if found.truth[s] >= 0 else None,
                "image_indices": images[s].tolist(),
                "images": None if ids is None else [ids[i] for i in images[s]],
                "segments": segments[s].tolist(),
            },
        }
        for s in range(len(found.ids))
    ]
