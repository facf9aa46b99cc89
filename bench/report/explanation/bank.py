"""The layout of the evidence: a balanced sample of it, its t-SNE projection, and its hierarchical grouping.

Shapes: P pieces of evidence, M of them in the sample, D dimensions, C classes, G groups.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.common.errors import UserError
from methods.capabilities import Evidence

SAMPLE = 2000
"""Pieces of evidence that are projected and grouped at most: t-SNE of more takes minutes and prints as a blot."""
PERPLEXITY = 30.0
"""Effective neighbours in t-SNE, the usual choice (van der Maaten and Hinton, JMLR 2008)."""
LEAST = 5
"""Fewer pieces of evidence have no layout worth a picture."""


def require_sklearn() -> None:
    """Raises UserError if scikit-learn, which only this command needs, is not installed."""
    try:
        importlib.import_module("sklearn.manifold")
    except ImportError:
        raise UserError(
            "bench explain needs scikit-learn, which is not installed; pip install 'genseg-bench[explain]'"
        ) from None


def balanced_sample(labels: np.ndarray, limit: int) -> np.ndarray:
    """Sorted indices (M,) of about ``limit`` of ``labels`` (P,): as many of each class as the smallest classes allow.

    Every class gives the same number, or all that it has; within a class they are evenly spaced, so that all training
    images contribute. Nothing is drawn at random. Every class gives one at least, even if ``limit`` is smaller.
    """
    counts = np.bincount(labels)
    totals = np.minimum(counts[:, None], np.arange(limit + 1)).sum(0)
    quota = max(int(np.flatnonzero(totals <= limit)[-1]), 1)
    take = np.minimum(counts, quota)[labels]
    of_class = counts[labels]
    rank = np.empty_like(labels)
    rank[np.argsort(labels, kind="stable")] = np.arange(len(labels)) - np.repeat(counts.cumsum() - counts, counts)
    return np.flatnonzero((rank + 1) * take // of_class > rank * take // of_class)


def project(features: np.ndarray) -> np.ndarray:
    """t-SNE of unit ``features`` (M, D), M at least ``LEAST``: (M, 2), the same for the same features.

    The squared distance of unit vectors is 2 - 2 * cosine, so neighbours are those that retrieval finds.
    """
    from sklearn.manifold import TSNE

    spread = float(features.std(axis=0).max()) > 1e-6  # PCA of equal vectors has no scale to start from
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca" if spread else "random", random_state=0)
    projected: np.ndarray = tsne.fit_transform(features)
    return projected


@dataclass
class Group:
    """A branch of the hierarchy."""

    members: np.ndarray
    """Rows of the evidence."""
    representatives: np.ndarray
    """Those of them that are nearest to the group's mean direction, one of each training image at most."""


@dataclass
class Layout:
    """The evidence as it is drawn."""

    sample: np.ndarray
    """(M,) rows of the evidence."""
    points: np.ndarray
    """(M, 2) their t-SNE projection."""
    groups: list[Group]
    """A partition of the sample, in the order of the dendrogram's leaves."""
    dendrogram: Mapping[str, Any]
    """What ``scipy.cluster.hierarchy.dendrogram`` says of its lines; each leaf is a group."""


def lay_out(evidence: Evidence, groups: int, representatives: int) -> Layout | None:
    """Project and group a sample of ``evidence``; None if there is too little of it."""
    sample = balanced_sample(evidence.labels.cpu().numpy(), SAMPLE)
    if len(sample) < LEAST:
        return None
    features = evidence.features.float().cpu().numpy()[sample]
    images = evidence.images.cpu().numpy()[sample]
    branches, drawn = hierarchy(features, groups)
    return Layout(
        sample=sample,
        points=project(features),
        groups=[Group(sample[b], sample[central(features, images, b, representatives)]) for b in branches],
        dendrogram=drawn,
    )


def hierarchy(features: np.ndarray, count: int) -> tuple[list[np.ndarray], Mapping[str, Any]]:
    """At most ``count`` groups of unit ``features`` (M, D) by Ward's method, and the dendrogram above them.

    The groups are index arrays in the order of the dendrogram's leaves.
    """
    from scipy.cluster.hierarchy import dendrogram, linkage, to_tree

    merges = linkage(features, method="ward")
    drawn = dendrogram(merges, truncate_mode="lastp", p=min(count, len(features)), no_plot=True)
    _, nodes = to_tree(merges, rd=True)
    return [np.array(nodes[leaf].pre_order()) for leaf in drawn["leaves"] or []], drawn


def central(features: np.ndarray, images: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` of ``group`` (indices of unit ``features``) nearest to its mean direction, the nearest first.

    At most one of each of the ``images`` (M,) is taken: neighbouring segments of one image look alike.
    """
    mean = features[group].mean(axis=0)
    ranked = group[np.argsort(-features[group] @ mean, kind="stable")]
    _, first = np.unique(images[ranked], return_index=True)
    return ranked[np.sort(first)[:count]]
