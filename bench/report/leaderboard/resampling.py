"""The metrics of bootstrap samples of a target's images: the same samples for every run, in tables and comparisons."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.report.leaderboard import statistics as stats
from bench.report.leaderboard.statistics import Floats
from bench.schema.side_file import Arrays
from bench.scoring.protocols.base import Protocol


class Images(NamedTuple):
    """What was counted of the images of a target as one run predicts them."""

    ids: tuple[str, ...]
    counts: Arrays
    """Condensed counts by kind, (n, ...), in the order of ``ids``."""
    shared: Arrays
    """What all images share."""


def in_order(ids: NDArray[np.str_], counts: Arrays, shared: Arrays, protocol: type[Protocol]) -> Images:
    """The counts of a side file, ``condensed`` for the bootstrap, in the order of the image ids."""
    places = np.argsort(ids, kind="stable")
    condensed = protocol.condensed({kind: array[places] for kind, array in counts.items()})
    return Images(tuple(ids[places].tolist()), condensed, shared)


def resampled(protocol: type[Protocol], images: Images, resamples: int) -> dict[str, Floats]:
    """The metrics (1 + B,) of the data themselves and of every bootstrap sample of the images."""
    sums = stats.resampled(images.counts, _weights(images.ids, resamples))
    return stats.in_parts(protocol.metrics, sums, images.shared)


@lru_cache(maxsize=16)
def _weights(ids: tuple[str, ...], resamples: int) -> Floats:
    return np.concatenate([np.ones((1, len(ids))), stats.resampling_weights(ids, resamples)])
