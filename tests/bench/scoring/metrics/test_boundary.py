"""Boundary metrics against definitions written pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from bench.scoring.metrics.boundary import (
    BoundaryMeter,
    boundary_f1,
    boundary_f1_counts,
    boundary_iou,
    boundary_iou_counts,
)
from bench.scoring.metrics.images import DuplicateImage

CLASSES = 4


def random_maps(seed, shape=(24, 31)):
    """A blocky label map with void, and a prediction that is a shifted, noisy copy."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, CLASSES - 1, (6, 8)), np.ones((4, 4), np.int64))[: shape[0], : shape[1]]
    predictions = np.roll(labels, rng.integers(-2, 3, 2), (0, 1))
    noise = rng.random(shape) < 0.03
    predictions = np.where(noise, rng.integers(0, CLASSES - 1, shape), predictions)
    labels = labels.copy()
    labels[rng.random(shape) < 0.02] = 255
    labels[5:9, 5:12] = 254
    return predictions, labels


def slow_iou(predictions, labels, distance):
    """IoU of masks less their erosions by ``distance`` 3 x 3 steps, outside being background."""
    pixels = max(1, round(distance * math.hypot(*labels.shape)))
    void = labels >= CLASSES
    found = []
    for c in range(CLASSES):
        regions = []
        for mask in ((labels == c), (predictions == c) & ~void):
            eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=pixels, border_value=0)
            regions.append(mask & ~eroded)
        union = (regions[0] | regions[1]).sum()
        found.append((regions[0] & regions[1]).sum() / union if union else np.nan)
    return found


def slow_f1(predictions, labels, tolerance):
    height, width = labels.shape
    reach = max(1, tolerance * math.hypot(height, width))

    def contour(ids, c):
        points = []
        for y in range(height):
            for x in range(width):
                around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                around = [p for p in around if 0 <= p[0] < height and 0 <= p[1] < width and labels[p] < CLASSES]
                if labels[y, x] < CLASSES and ids[y, x] == c and any(ids[p] != c for p in around):
                    points.append((y, x))
        return points

    def share(ours, theirs):
        return np.mean([any(math.dist(a, b) <= reach for b in theirs) for a in ours]) if ours else 0

    found = []
    for c in range(CLASSES):
        ours, theirs = contour(predictions, c), contour(labels, c)
        p, r = share(ours, theirs), share(theirs, ours)
        found.append(2 * p * r / (p + r) if p + r else (0 if ours or theirs else np.nan))
    return found


@pytest.mark.parametrize("distance", [0.001, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_iou_is_that_of_eroded_masks(seed, distance):
    predictions, labels = random_maps(seed)
    found = boundary_iou(boundary_iou_counts(predictions, labels, CLASSES, distance))
    np.testing.assert_allclose(found, slow_iou(predictions, labels, distance), atol=1e-12)


@pytest.mark.parametrize("tolerance", [0.0, 0.04, 0.0578])
@pytest.mark.parametrize("seed", range(5))
def test_f1_is_that_of_contour_points(seed, tolerance):
    predictions, labels = random_maps(seed)
    found = boundary_f1(boundary_f1_counts(predictions, labels, CLASSES, tolerance))
    np.testing.assert_allclose(found, slow_f1(predictions, labels, tolerance), atol=1e-12)


def test_perfect_prediction():
    _, labels = random_maps(0)
    meter = BoundaryMeter(CLASSES)
    meter.update("image", torch.from_numpy(labels), torch.from_numpy(labels).to(torch.uint8))
    np.testing.assert_array_equal(meter.iou, [1, 1, 1, np.nan])
    np.testing.assert_array_equal(meter.f1, [1, 1, 1, np.nan])


def test_predicted_on_void_does_not_matter():
    predictions, labels = random_maps(1)
    changed = np.where(labels >= CLASSES, (predictions + 1) % CLASSES, predictions)
    for counts in (boundary_iou_counts, boundary_f1_counts):
        np.testing.assert_array_equal(counts(changed, labels, CLASSES), counts(predictions, labels, CLASSES))


def test_only_one_has_the_class():
    labels, predictions = np.zeros((20, 20), np.int64), np.zeros((20, 20), np.int64)
    predictions[5:9, 5:9] = 1
    meter = BoundaryMeter(3)
    meter.update("image", predictions, labels)
    assert meter.iou[1] == meter.f1[1] == 0
    assert np.isnan([meter.iou[2], meter.f1[2]]).all()


def test_prediction_of_no_class():
    labels, predictions = np.zeros((20, 20), np.int64), np.zeros((20, 20), np.int64)
    predictions[:, 10:] = 3
    labels[:, 10:] = 1
    counts = boundary_iou_counts(predictions, labels, 2, 0.05)
    assert counts[1].tolist() == [0, 56, 0]
    assert boundary_f1_counts(predictions, labels, 2)[1].tolist() == [0, 0, 0, 20]


def test_shards_add_up():
    images = {f"{i}": random_maps(i) for i in range(4)}
    whole, first, second = BoundaryMeter(CLASSES), BoundaryMeter(CLASSES), BoundaryMeter(CLASSES)
    for name, maps in images.items():
        whole.update(name, *maps)
        (first if int(name) % 2 else second).update(name, *maps)
    first.merge(second)
    assert first.ids == ["1", "3", "0", "2"]
    np.testing.assert_array_equal(first.iou, whole.iou)
    np.testing.assert_array_equal(first.f1, whole.f1)
    np.testing.assert_array_equal(first.per_image[[2, 0, 3, 1]], whole.per_image)
    total = whole.per_image.sum(0)
    np.testing.assert_array_equal(boundary_iou(total[:, :3]), whole.iou)
    with pytest.raises(DuplicateImage):
        whole.update("0", *images["0"])
    with pytest.raises(ValueError, match="cannot merge"):
        whole.merge(BoundaryMeter(CLASSES, distance=0.01))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        whole.update("new", images["0"][0][:3], images["0"][1])
    assert np.isnan(BoundaryMeter(2).iou).all()
