"""The metrics of bootstrap samples, from the side files of runs: made when they are asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.common.errors import UserError
from bench.report.comparing.bootstrap import RESAMPLES
from bench.report.leaderboard import resampling
from bench.report.leaderboard.comparison import Statistics
from bench.report.leaderboard.statistics import Floats
from bench.schema import side_file
from bench.scoring.described import shown
from bench.scoring.metrics.confusion import harmonic_mean


def _mean(values: Floats) -> Floats:
    return np.asarray(values.mean(0))


SUMMARY_OF = {"miou": "harmonic_mean", "drop": "mean_drop"}
"""What protocols call the mean over targets of a metric, where they have one."""
_ON_EACH_TARGET = {summary: name for name, summary in SUMMARY_OF.items()}


def mean_over_targets(name: str) -> Callable[[Floats], Floats]:
    """How the metric ``name`` is made of those on each target, (targets, ...)."""
    return harmonic_mean if name == "harmonic_mean" else _mean


class Drawn(NamedTuple):
    """A metric of every bootstrap sample (B,), and the number of images that were drawn from."""

    values: Floats
    images: int


class Samples:
    """Bootstrap samples of runs, made when they are asked for and kept."""

    def __init__(self, numbers: pd.DataFrame, statistics: Statistics) -> None:
        self.numbers = numbers
        self._arrays = cache(lambda run, protocol: statistics(run, side_file.under(protocol)))
        self._metrics = cache(self._draw)

    def of(self, run: str, protocol: str, targets: tuple[str, ...], name: str, reading: str) -> Drawn | None:
        """A metric on a target, or its mean over several; None where side files do not give it."""
        on_each = _ON_EACH_TARGET.get(name, name)
        found = [self._on_target(run, protocol, target, on_each, reading) for target in targets]
        drawn = [one for one in found if one is not None]
        if len(drawn) < len(targets):
            return None
        values = np.stack([one.values for one in drawn])
        return Drawn(mean_over_targets(name)(values), min(one.images for one in drawn))

    def _on_target(self, run: str, protocol: str, target: str, name: str, reading: str) -> Drawn | None:
        if name == "drop":
            here = self._on_target(run, protocol, target, "miou", reading)
            home = self._at_home(run, protocol, target, reading)
            return None if here is None or home is None else here._replace(values=home.values - here.values)
        found, images = self._metrics(run, protocol, target, reading)
        return Drawn(found[name], images) if name in found else None

    def _at_home(self, run: str, protocol: str, target: str, reading: str) -> Drawn | None:
        """mIoU on the source, if it is the closed-set score: under a class map it is another number."""
        own = self.numbers[(self.numbers["run"] == run) & (self.numbers["reading"] == reading)]
        own = own[own["part"] == ""]
        source = own[(own["protocol"] == protocol) & (own["target"] == target) & (own["metric"] == "source_miou")]
        home = own[(own["protocol"] == "closed-set") & (own["metric"] == "miou")]
        same = home[home["value"].isin(source["value"])]
        return None if same.empty else self._on_target(run, "closed-set", same["target"].iloc[0], "miou", reading)

    def _draw(self, run: str, protocol: str, target: str, reading: str) -> tuple[dict[str, Floats], int]:
        """All metrics of every sample, and the number of images. Raises UserError for a plugin that cannot do it."""
        described, arrays = shown(protocol), self._arrays(run, protocol)
        counts = described.kept(arrays, target, reading)
        ids = side_file.of(arrays, [side_file.IDS], protocol, target).get(side_file.IDS)
        if ids is None or not counts:
            return {}, 0
        shared = side_file.of(arrays, described.constants, protocol, target, reading)
        try:
            images = resampling.in_order(ids, counts, shared, described)
            drawn = resampling.resampled(described, images, RESAMPLES)
            return {name: values[1:] for name, values in drawn.items()}, len(ids)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            raise UserError(
                f"protocol {protocol} cannot be resampled ({type(error).__name__}: {error}); correct its `condensed` "
                "and `metrics`, or leave it out with --protocol"
            ) from None
