"""Sparse labels from dense ones: one pure function for each kind, of the label map and a generator.

Dense label maps are (H, W) uint8 training ids with ``IGNORE``. In what is returned, void stays void, a labelled
pixel carries its dense label, and every other pixel is ``UNLABELLED``.

The rules are this suite's own, since the published label sets come without theirs. A change of a rule changes
its number in ``VERSIONS``, which is part of what a record says about its labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from skimage.draw import polygon2mask
from skimage.measure import approximate_polygon, find_contours

from datasets.base import IGNORE, UNLABELLED
from datasets.supervision.kinds import Kind
from datasets.supervision.regions import Region, brush_width, regions
from datasets.supervision.strokes import paint, stroke

VERSIONS: Mapping[str, int] = {"points": 1, "scribbles": 1, "clicks": 1, "coarse": 1, "fraction": 1, "none": 1}
"""The rule's version for each family of kinds."""

INTERIOR = 0.5
"""A point lies at least this share of the region's reach away from its boundary."""
BAND_SHARE = 0.3
"""Coarse outlines keep this share of the region's reach away from its boundary, ..."""
BAND_LIMIT = 0.025
"""... but no more than this share of the image's short side."""
TOLERANCE = 0.5
"""Corners are cut from coarse outlines where they stray from them by less than this share of the band."""


def generator(seed: int, image_id: str, kind: Kind) -> np.random.Generator:
    """The generator of one image: a function of seed, image, kind and rule, not of order or process."""
    key = f"{seed}|{image_id}|{kind}|{VERSIONS[kind.family]}"
    digest = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def derive(kind: Kind, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The labels of ``kind`` for a dense label map (H, W) uint8."""
    if kind.family == "clicks":
        assert kind.amount is not None
        return clicks(label, int(kind.amount), rng)
    if kind.family == "fraction":
        assert kind.amount is not None
        return fraction(label, kind.amount, rng)
    if kind.family == "none":
        return unlabelled(label)
    return {"points": points, "scribbles": scribbles, "coarse": coarse}[kind.family](label, rng)


def unlabelled(label: np.ndarray) -> np.ndarray:
    """No labels at all, as unsupervised training sees them."""
    return np.where(label == IGNORE, IGNORE, UNLABELLED).astype(np.uint8)


def points(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One point in each region: a disc of the brush's width, anywhere but near the region's boundary."""
    sparse = unlabelled(label)
    width = brush_width((label.shape[0], label.shape[1]))
    for region in regions(label):
        interior = np.argwhere(region.mask & (region.distance >= INTERIOR * region.reach))
        centre = interior[rng.integers(len(interior))]
        _fill(sparse, region, paint(centre[None].astype(float), width, region.mask))
    return sparse


def scribbles(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One stroke along the medial axis of each region, of the brush's width."""
    sparse = unlabelled(label)
    width = brush_width((label.shape[0], label.shape[1]))
    for region in regions(label):
        _fill(sparse, region, paint(stroke(region, rng), width, region.mask))
    return sparse


def coarse(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Polygons with few corners within each region, away from its boundary; nothing random is in them."""
    sparse = unlabelled(label)
    size = (label.shape[0], label.shape[1])
    for region in regions(label):
        band = max(1.0, min(BAND_SHARE * region.reach, BAND_LIMIT * min(size)))
        drawn = _outlined(region.distance_beyond(size), band) & region.mask
        _fill(sparse, region, drawn if drawn.any() else region.innermost)
    return sparse


def _outlined(distance: np.ndarray, band: float) -> np.ndarray:
    """(h, w) bool: the polygons drawn ``band`` pixels within a region, of which ``distance`` is to the boundary."""
    drawn = np.zeros(distance.shape, dtype=bool)
    for contour in find_contours(np.pad(np.minimum(distance, 2 * band), 1), band):
        corners = approximate_polygon(contour - 1, TOLERANCE * band)
        if len(corners) > 3 and _encloses(corners):
            drawn |= polygon2mask(distance.shape, corners)
    # Cut corners must not reach the boundary, and holes are kept clear of, though less than the outside.
    return drawn & (distance > max(1.0, band / 2))


def _encloses(corners: np.ndarray) -> bool:
    """Whether a contour goes round high values and not round a hole among them, which it does the other way."""
    rows, columns = corners.T
    return float(np.sum(rows[:-1] * columns[1:] - rows[1:] * columns[:-1])) < 0


def clicks(label: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` single pixels of an image: one for each class, the others uniformly over the valid pixels.

    With more classes than clicks, classes are drawn without regard to their size; with fewer valid pixels than
    clicks, all are labelled.
    """
    flat = label.ravel()
    free = flat != IGNORE
    present = rng.permutation(np.flatnonzero(np.bincount(flat[free])))[:count]
    chosen = [rng.choice(np.flatnonzero(flat == class_id)) for class_id in present]
    free[chosen] = False
    others = np.flatnonzero(free)
    more = rng.choice(others, size=min(count - len(chosen), len(others)), replace=False)
    return _only(label, np.concatenate([np.array(chosen, dtype=np.int64), more]))


def fraction(label: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the valid pixels, drawn uniformly; at least one where there is any."""
    valid = np.flatnonzero(label.ravel() != IGNORE)
    count = min(max(1, round(share * len(valid))), len(valid))
    return _only(label, rng.choice(valid, size=count, replace=False))


def _only(label: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The labels of the ``chosen`` flat indices."""
    sparse = unlabelled(label)
    sparse.flat[chosen] = label.flat[chosen]
    return sparse


def _fill(sparse: np.ndarray, region: Region, mask: np.ndarray) -> None:
    sparse[region.box][mask] = region.class_id
