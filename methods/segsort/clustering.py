"""Pixel sorting: spherical k-means, which is hard-assignment EM of von Mises-Fisher components of one concentration.

Shapes: B images, N pixels each, E dimensions, K clusters. No concentration appears: with hard assignment it drops out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.segsort.location import coordinates, seed_cells

NORM_EPS = 1e-6
"""Vectors shorter than this have no direction and are divided by it instead of their length."""


SHUT_OUT = -4.0
"""What empty centres add to their cosines: more than cosines differ, so it acts as minus infinity without its NaN."""


class Clusters(NamedTuple):
    """What k-means found in each of B images."""

    assignment: Tensor
    """(B, N) int64, 0..K-1; invalid pixels too are assigned, without influence on others."""
    centres: Tensor
    """(B, K, E) unit vectors; zero for clusters that never had a pixel."""
    counts: Tensor
    """(B, K) valid pixels of each cluster."""


@torch.no_grad()
def spherical_kmeans(vectors: Tensor, valid: Tensor, assignment: Tensor, clusters: int, iterations: int) -> Clusters:
    """Cluster unit ``vectors`` (B, N, E) of each image by cosine, from the initial ``assignment`` (B, N).

    ``iterations`` times: centres become the mean directions of their ``valid`` (B, N) pixels, then every pixel joins
    the closest centre. A centre without pixels stays where it was and attracts none. Images do not interact. While
    iterating, a pixel exactly as close to two centres counts for both; in the result it is in the first.
    """
    images, _, dim = vectors.shape
    # A further channel tells which pixels exist: the same products then yield counts and shut out empty centres.
    # Pixels are the last dimension, along which reductions over clusters are fast, and the two large tensors are
    # reused, since memory fresh from the system costs as much as the arithmetic.
    weight = valid.unsqueeze(1).to(vectors.dtype)
    points = torch.cat([vectors.transpose(1, 2) * weight, weight], dim=1)
    centres = vectors.new_zeros(images, clusters, dim)
    members = _one_hot(assignment, clusters, vectors.dtype)
    similarity = torch.empty_like(members)
    for iteration in range(iterations):
        if iteration:
            torch.eq(similarity, similarity.amax(dim=1, keepdim=True), out=members)
        sums = torch.bmm(members, points.transpose(1, 2))
        empty = sums[..., dim:] == 0
        centres = torch.where(empty, centres, F.normalize(sums[..., :dim], dim=2, eps=NORM_EPS))
        offset = empty.to(vectors.dtype) * SHUT_OUT
        torch.bmm(torch.cat([centres, offset], dim=2), points, out=similarity)
    if iterations:
        assignment = similarity.max(dim=1).indices  # argmax over this dimension is several times slower
    counts = vectors.new_zeros(images, clusters).scatter_add_(1, assignment, valid.to(vectors.dtype))
    return Clusters(assignment, centres, counts)


def _one_hot(assignment: Tensor, clusters: int, dtype: torch.dtype) -> Tensor:
    """Memberships (B, K, N) of ``assignment`` (B, N)."""
    images, pixels = assignment.shape
    members = torch.zeros(images, clusters, pixels, dtype=dtype, device=assignment.device)
    return members.scatter_(1, assignment.unsqueeze(1), 1)


@torch.no_grad()
def cluster_images(embeddings: Tensor, valid: Tensor, clusters: int, iterations: int, location_weight: float) -> Tensor:
    """Over-segment images by their unit ``embeddings`` (B, D, h, w) and location: (B, h, w) int64, 0..K-1.

    Training, bank and prediction all call this. Features are normalise([v; w_loc * l]) with l from ``coordinates``;
    seeds are a regular grid on the bounding box of the ``valid`` (B, h, w) cells.
    """
    images, _, height, width = embeddings.shape
    position = coordinates(valid)
    seeds = seed_cells(position, clusters).flatten(1)
    located = torch.cat([embeddings, location_weight * position.permute(0, 3, 1, 2)], dim=1)
    vectors = F.normalize(located, dim=1, eps=NORM_EPS).flatten(2).transpose(1, 2).contiguous()
    found = spherical_kmeans(vectors, valid.flatten(1), seeds, clusters, iterations)
    return found.assignment.view(images, height, width)
