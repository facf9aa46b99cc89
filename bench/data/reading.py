"""Samples of a data set in order, decoded ahead of use.

Threads decode, since decoders leave Python's lock to others: a process would take nearly as long to hand a sample over
as to decode it. Training, which also augments, has processes (``bench.data.batches``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from datasets.base import Dataset, Sample

AHEAD = 4
"""Samples that are decoded, each by one thread, while another is in use: few, since each may be large."""


def evenly(things: Sized, count: int) -> list[int]:
    """``count`` indices spread over ``things``, or all."""
    indices: list[int] = np.unique(np.linspace(0, len(things) - 1, count).astype(int)).tolist()
    return indices


def read_ahead(dataset: Dataset, indices: Iterable[int] | None = None) -> Iterator[Sample]:
    """The samples ``indices``, by default all; raises DataError at one that is damaged, after those before it."""
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="reading") as pool:
        coming = iter(range(len(dataset)) if indices is None else indices)
        ahead = deque(pool.submit(dataset.__getitem__, index) for index in islice(coming, AHEAD))
        while ahead:
            sample = ahead.popleft().result()
            ahead.extend(pool.submit(dataset.__getitem__, index) for index in islice(coming, 1))
            yield sample
