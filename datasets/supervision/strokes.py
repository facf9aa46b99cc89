"""Strokes that a person might draw into a region: along its medial axis, rounded, not quite in the middle.

All coordinates are (n, 2) float64 rows and columns within the region's box.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from skimage.morphology import skeletonize

from datasets.supervision.regions import Region

END_SHARE = 0.6
"""A stroke ends where the region is narrower than this share of its median width along the stroke: the
skeleton runs on into the corners, a person does not."""
LEAST_KEPT = 0.5
"""Share of the skeleton's path that is kept whatever the widths."""
WANDER = 0.35
"""The stroke strays from the middle by up to this share of the way to the boundary."""
ROUND = 0.5
"""A path shorter than this share of its region's extent says that the region is round rather than long."""


def stroke(region: Region, rng: np.random.Generator) -> np.ndarray:
    """A path of points through ``region``, about a pixel apart and all inside."""
    path = _trimmed(_medial_path(region), region)
    if np.linalg.norm(path[-1] - path[0]) < ROUND * max(region.mask.shape):
        across = _across(region, rng)
        if len(across) > len(path):
            path = across
    return _drawn_by_hand(path, region, rng)


def paint(path: np.ndarray, width: int, mask: np.ndarray) -> np.ndarray:
    """(h, w) bool: ``path`` drawn with a round brush, clipped to ``mask``."""
    drawn = np.zeros(mask.shape, dtype=bool)
    steps = np.linspace(0, len(path) - 1, 3 * len(path))
    without_gaps = [np.interp(steps, np.arange(len(path)), coordinate) for coordinate in path.T]
    rows, columns = np.rint(without_gaps).astype(int)
    drawn[rows, columns] = True
    painted: np.ndarray = ndimage.binary_dilation(drawn, brush(width)) & mask
    return painted


def brush(width: int) -> np.ndarray:
    """(width, width) bool: a filled disc."""
    offsets = np.arange(width) - width // 2
    return offsets[:, None] ** 2 + offsets[None, :] ** 2 <= (width / 2) ** 2


def _medial_path(region: Region) -> np.ndarray:
    """The longest of the shortest paths along the skeleton, found by two sweeps from its widest place."""
    skeleton = skeletonize(np.pad(region.solid, 1))[1:-1, 1:-1]
    nodes = np.argwhere(skeleton)
    if len(nodes) < 2:
        return np.argwhere(region.innermost)[:1].astype(float)
    graph = _neighbourhood(skeleton, len(nodes))
    start = int(np.argmax(region.distance[tuple(nodes.T)]))
    one, _ = _farthest(graph, start)
    other, predecessors = _farthest(graph, one)
    path = [other]
    while path[-1] != one:
        path.append(int(predecessors[path[-1]]))
    return nodes[path].astype(float)


def _neighbourhood(skeleton: np.ndarray, count: int) -> sparse.csr_array:
    """(count, count) lengths between 8-neighbours of a skeleton."""
    number = np.full(np.add(skeleton.shape, 2), -1)
    inner = number[1:-1, 1:-1]
    inner[skeleton] = np.arange(count)
    height, width = skeleton.shape
    ends, lengths = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = number[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        both = (inner >= 0) & (there >= 0)
        ends.append(np.stack([inner[both], there[both]]))
        lengths.append(np.full(ends[-1].shape[1], np.hypot(down, right)))
    one, other = np.concatenate(ends, axis=1)
    return sparse.csr_array((np.concatenate(lengths), (one, other)), shape=(count, count))


def _farthest(graph: sparse.csr_array, start: int) -> tuple[int, np.ndarray]:
    """The node that is farthest from ``start``, and each node's predecessor on the way to it."""
    distances, predecessors = sparse.csgraph.dijkstra(graph, directed=False, indices=[start], return_predecessors=True)
    return int(np.argmax(np.where(np.isfinite(distances), distances, -1))), predecessors[0]


def _trimmed(path: np.ndarray, region: Region) -> np.ndarray:
    """Without the ends that run into corners."""
    widths = region.distance[tuple(path.astype(int).T)]
    wide = np.flatnonzero(widths >= END_SHARE * np.median(widths))
    spare = int((1 - LEAST_KEPT) / 2 * len(path))
    return path[min(wide[0], spare) : max(wide[-1] + 1, len(path) - spare)]


def _across(region: Region, rng: np.random.Generator) -> np.ndarray:
    """A straight line through the widest place, roughly along the region's principal axis."""
    centre = np.argwhere(region.innermost)[0].astype(float)
    offsets = np.argwhere(region.solid) - centre
    _, axes = np.linalg.eigh(offsets.T @ offsets)
    angle = np.arctan2(axes[0, -1], axes[1, -1]) + rng.uniform(-0.4, 0.4)
    direction = np.array([np.sin(angle), np.cos(angle)])
    arms = []
    for sign in (-1, 1):
        steps = centre + sign * direction * np.arange(int(np.hypot(*region.mask.shape)) + 1)[:, None]
        inside = _depth(steps, region) >= max(1.0, 0.3 * region.reach)
        arms.append(steps[: len(steps) if inside.all() else int(np.argmin(inside))])
    return np.concatenate([arms[0][:0:-1], arms[1]])


def _drawn_by_hand(path: np.ndarray, region: Region, rng: np.random.Generator) -> np.ndarray:
    """Rounded and straying from the middle as far as that stays inside."""
    if len(path) < 5:
        return path
    widths = region.distance[tuple(np.rint(path).astype(int).T)]
    noise = ndimage.gaussian_filter1d(rng.standard_normal(len(path)), len(path) / 8, mode="nearest")
    noise *= rng.uniform(0.5, 1.0) * WANDER / np.abs(noise).max()
    breadth = ndimage.gaussian_filter1d(widths, len(path) / 8, mode="nearest")
    roundness = min(2 + 2 * np.median(widths), len(path) / 6)
    for share in (1.0, 0.7, 0.5, 0.3, 0.2, 0.1):
        smooth = ndimage.gaussian_filter1d(path, share * roundness, axis=0, mode="nearest")
        tangent = np.gradient(smooth, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        curve = smooth + normal * (share * noise * breadth)[:, None]
        if (_depth(curve, region) >= np.minimum(widths, 1.5)).all():
            return curve
    return path


def _depth(points: np.ndarray, region: Region) -> np.ndarray:
    """(n,) distance to the boundary at the pixels of ``points``; 0 outside the box."""
    rows, columns = np.rint(points).astype(int).T
    height, width = region.mask.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    depth = np.zeros(len(points))
    depth[inside] = region.distance[rows[inside], columns[inside]]
    return depth
