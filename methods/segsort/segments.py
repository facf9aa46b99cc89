"""Segments of a batch and their prototypes, the mean directions of their pixels.

Shapes: B images, N pixels in the batch, D dimensions, K clusters per image, C classes, S segments.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.segsort.clustering import NORM_EPS


class Segments(NamedTuple):
    """A partition of N pixels into S segments, none of which is empty."""

    ids: Tensor
    """(N,) int64, 0..S-1."""
    labels: Tensor
    """(S,) int64, the segment's class; segments are in the order of their class."""


def aligned_segments(images: Tensor, clusters: Tensor, labels: Tensor, shape: tuple[int, int, int]) -> Segments:
    """Split clusters by class, so that every segment is pure: one per (image, cluster, class) that occurs.

    ``images``, ``clusters`` and ``labels`` are (N,) int64; ``shape`` = (B, K, C). A table over all B * K * C triples
    is small, and compacting it needs no sort of the pixels.
    """
    num_images, num_clusters, num_classes = shape
    per_class = num_images * num_clusters
    triples = labels * per_class + images * num_clusters + clusters
    occurs = torch.zeros(num_classes * per_class, dtype=torch.bool, device=labels.device)
    occurs[triples] = True
    ids = (occurs.cumsum(dim=0) - 1)[triples]
    return Segments(ids, occurs.nonzero().squeeze(1) // per_class)


def mean_directions(pixels: Tensor, ids: Tensor, segments: int) -> Tensor:
    """Prototypes (S, D): the normalised means of the float32 ``pixels`` (N, D) of each segment, with gradient.

    Zero for a segment without pixels.
    """
    sums = pixels.new_zeros(segments, pixels.shape[1]).index_add(0, ids, pixels)
    return F.normalize(sums, dim=1, eps=NORM_EPS)
