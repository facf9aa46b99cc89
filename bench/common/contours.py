"""The contours of a map of ids, and which points lie near others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def contour(ids: NDArray[np.integer[Any]], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ``valid`` pixels (H, W) of ``ids`` with a valid pixel of another id above, below, left or right."""
    found = np.zeros(ids.shape, np.bool_)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        edge = (ids[here] != ids[there]) & valid[here] & valid[there]
        found[here] |= edge
        found[there] |= edge
    return found


def within(points: NDArray[Any], others: NDArray[Any], reach: float) -> NDArray[np.bool_]:
    """Which of the ``points`` (n, d) have one of the ``others`` (m, d) within ``reach``."""
    if not len(points) or not len(others):
        return np.zeros(len(points), np.bool_)
    from scipy.spatial import cKDTree

    # The bound is exclusive, and the squared distances of pixels are whole numbers.
    distances, _ = cKDTree(others).query(points, distance_upper_bound=reach + 1e-6)
    return np.isfinite(distances)
