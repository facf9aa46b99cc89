import numpy as np
import pytest
import torch

from methods.base import Batch
from methods.segsort.regions import felzenszwalb_regions, make_provider, watershed_regions


def mosaic(size=(48, 64)):
    """Four flat quadrants of different colours with a little noise."""
    rows, columns = np.arange(size[0]) * 2 // size[0], np.arange(size[1]) * 2 // size[1]
    quadrant = rows[:, None] * 2 + columns
    colours = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.9]])
    noise = np.random.default_rng(0).normal(scale=0.01, size=(*size, 3))
    return (colours[quadrant] + noise).clip(0, 1).astype(np.float32), quadrant


@pytest.mark.parametrize("function", [lambda i: watershed_regions(i, 0.08), felzenszwalb_regions])
def test_regions_follow_contours(function):
    image, quadrant = mosaic()
    regions = function(image)
    assert regions.shape == image.shape[:2]
    inner = np.ones_like(quadrant, dtype=bool)
    inner[22:26] = inner[:, 30:34] = False  # smoothing blurs the contours themselves
    for region in np.unique(regions[inner]):
        assert len(np.unique(quadrant[inner & (regions == region)])) == 1
    assert len(np.unique(regions[inner])) == 4


def test_stronger_contours_leave_fewer_regions():
    image = np.random.default_rng(0).random((40, 40, 3)).astype(np.float32)
    counts = [len(np.unique(watershed_regions(image, strength))) for strength in (0.01, 0.1, 1.0)]
    assert counts[0] >= counts[1] >= counts[2] == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 20), (20, 1), (2, 2), (3, 50)])
@pytest.mark.parametrize("kind", ["watershed", "felzenszwalb"])
def test_images_of_any_size_have_regions(kind, size):
    batch = Batch(torch.rand(2, 3, *size), torch.zeros(2, *size, dtype=torch.int64))
    regions = make_provider(kind, 0.08)(batch)
    assert regions.shape == (2, *size)
    assert regions.dtype == torch.int64
    assert regions.min() >= 0
