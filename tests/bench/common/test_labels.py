"""Label maps."""

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as hnp

from bench.common.labels import histogram


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_every_pixel_is_counted_once(labels):
    assert histogram(labels) == np.bincount(labels.ravel(), minlength=256).tolist()
    assert histogram(labels[::2, 1:]) == np.bincount(labels[::2, 1:].ravel(), minlength=256).tolist()
