"""Image files as RGB."""

import sys
import warnings
from multiprocessing.pool import ThreadPool

import pytest
from PIL import Image

from datasets.images import read_rgb


@pytest.fixture
def hasty():
    """Threads that take turns wherever they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_read_leave_warnings_as_they_were(tmp_path, hasty):
    path, before = tmp_path / "grey.png", [*warnings.filters]
    Image.new("L", (8, 8), 7).save(path)
    with ThreadPool(4) as pool:
        read = pool.map(read_rgb, [path] * 400)
    assert all((pixels == 7).all() for pixels in read)
    assert warnings.filters == before
