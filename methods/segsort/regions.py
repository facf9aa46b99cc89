"""Regions of an image without labels, the segments of the unsupervised variant.

The paper takes contours from HED and regions from gPb-owt-ucm. Here contours are those of HED or the gradient of the
smoothed image, and regions come from scikit-image: watershed basins merged in the order of their common contour's mean
strength, which is what an ultrametric contour map cut at one level gives. Contours have no orientation in this.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.base import Batch, MethodError
from methods.segsort.contours import hed_contours, packaged_weights

SegmentProvider = Callable[[Batch], Tensor]
"""Regions of a training batch: (B, H, W) int64, each image with its own ids. Maps from elsewhere can replace it."""

SEED_DISTANCE = 1 / 48
"""Smallest distance of watershed seeds, as a share of the image's longer side."""
MIN_SEED_DISTANCE = 3
"""Smallest distance of watershed seeds in pixels: closer ones lie on one smoothed contour's flanks."""
SMOOTHING = 1.0
"""Standard deviation, in pixels, of the Gaussian before the gradient."""
FELZENSZWALB_SCALE = 200.0
"""Felzenszwalb's preference for larger regions."""
SMALLEST_SHARE = 0.001
"""Smallest Felzenszwalb region, as a share of the image."""


def make_provider(kind: str, contour_strength: float) -> SegmentProvider:
    """The provider that takes the batch's own regions, or computes them from each image: on the CPU, but for HED."""
    if kind == "files":
        return _own_regions
    if kind == "felzenszwalb":
        return partial(_each_image, felzenszwalb_regions)
    if kind == "hed":
        return partial(_hed_regions, contour_strength=contour_strength)
    return partial(_each_image, partial(watershed_regions, contour_strength=contour_strength))


def _own_regions(batch: Batch) -> Tensor:
    if batch.regions is None:
        raise MethodError(
            "segsort's method.regions=files needs region maps; name their folder with --set data.regions=FOLDER"
        )
    return batch.regions


@torch.no_grad()
def _hed_regions(batch: Batch, contour_strength: float) -> Tensor:
    contours = hed_contours(batch.images.float(), packaged_weights(batch.images.device)).cpu().numpy()
    maps = [torch.from_numpy(merged_basins(map_, contour_strength).astype(np.int64)) for map_ in contours]
    return torch.stack(maps).to(batch.labels.device)


def _each_image(function: Callable[[np.ndarray], np.ndarray], batch: Batch) -> Tensor:
    images = batch.images.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    maps = [torch.from_numpy(function(image).astype(np.int64)) for image in images]
    return torch.stack(maps).to(batch.labels.device)


def felzenszwalb_regions(image: np.ndarray) -> np.ndarray:
    """Regions (H, W) from 0 of ``image`` (H, W, 3) in [0, 1], by Felzenszwalb and Huttenlocher (IJCV 2004)."""
    from skimage.segmentation import felzenszwalb

    smallest = max(round(SMALLEST_SHARE * image.shape[0] * image.shape[1]), 1)
    found: np.ndarray = felzenszwalb(image, scale=FELZENSZWALB_SCALE, sigma=SMOOTHING, min_size=smallest)
    return found


def watershed_regions(image: np.ndarray, contour_strength: float) -> np.ndarray:
    """Regions (H, W) from 0 of ``image`` (H, W, 3) in [0, 1], bounded by gradients of at least ``contour_strength``."""
    from skimage.filters import gaussian, sobel

    if min(image.shape[:2]) < 2:  # the gradient of a line is not defined
        return np.zeros(image.shape[:2], dtype=np.int64)
    smooth = gaussian(image, sigma=SMOOTHING, channel_axis=2)
    contours = np.max([sobel(smooth[..., channel]) for channel in range(image.shape[2])], axis=0)
    return merged_basins(contours, contour_strength)


def merged_basins(contours: np.ndarray, contour_strength: float) -> np.ndarray:
    """Regions (H, W) from 0: basins of ``contours`` (H, W), those merged whose common contour is weaker."""
    from skimage.feature import peak_local_max
    from skimage.graph import merge_hierarchical, rag_boundary
    from skimage.segmentation import watershed

    height, width = contours.shape
    # Seeds are minima of the contours: a seed on a contour would leave a sliver along it that nothing merges.
    distance = max(round(SEED_DISTANCE * max(height, width)), MIN_SEED_DISTANCE)
    minima = peak_local_max(-contours, min_distance=distance, exclude_border=False)
    if len(minima) < 2:
        return np.zeros((height, width), dtype=np.int64)
    seeds = np.zeros((height, width), dtype=np.int64)
    seeds[tuple(minima.T)] = np.arange(1, len(minima) + 1)
    basins = watershed(contours, markers=seeds) - 1
    graph = rag_boundary(basins, contours)
    merged: np.ndarray = merge_hierarchical(
        basins,
        graph,
        thresh=contour_strength,
        rag_copy=False,
        in_place_merge=True,
        merge_func=_keep_regions,
        weight_func=_common_contour,
    )
    return merged


def _keep_regions(graph: Any, source: int, target: int) -> None:
    """Nodes carry nothing that a merge would change."""


def _common_contour(graph: Any, source: int, target: int, neighbour: int) -> dict[str, float]:
    """Contour between a merged region and its neighbour: the mean of what both parts had, weighted by length."""
    parts = [graph[part][neighbour] for part in (source, target) if graph.has_edge(part, neighbour)]
    length = sum(part["count"] for part in parts)
    return {"count": length, "weight": sum(part["count"] * part["weight"] for part in parts) / length}
