"""How sure a difference is if images and training runs could both have been others: a hierarchical bootstrap.

Runs are paired by seed, and all seeds of both methods are scored on the same images. A resample therefore draws seeds,
and for all of them the same images: drawing images for each seed by itself would pretend that every seed had a test
set to itself, and divide what the choice of images does by the number of seeds.

The two levels are put together by their standard errors. The mean over seeds, resampled over images, gives that of the
images. What resampling S seeds gives is known without drawing: a variance of (S - 1) / S times what it should be, which
the sample variance of the differences by seed corrects. Percentiles of drawn seeds cannot be used as they are: with
three seeds they cover 72 % of the cases instead of 95 % where seeds vary most. Student's t for each level's degrees of
freedom, the parts added as squares, covers at least the nominal share (tests simulate both).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bench.report.leaderboard.statistics import ALPHA, MIN_IMAGES, Floats, error_over_images

RESAMPLES = 10_000
"""Bootstrap samples of the images: a standard error of theirs is known to 0.7 %."""

MOST_SEEDS = 100
"""More would not be trained: a difference that needs them counts as one that seeds do not decide."""

SMALLEST_P = 1e-12


class Estimate(NamedTuple):
    """A difference, or a ratio, over seeds and images, and the standard error that each level of them gives it."""

    value: float
    seeds: int
    images: int
    """0 where nothing is known of single images."""
    error_seeds: float
    """0 for a single seed."""
    error_images: float
    """0 where nothing is known of single images."""

    @classmethod
    def of(cls, by_seed: Floats, samples: Floats | None = None, images: int = 0) -> Estimate:
        """From the value of each seed (S,), and of each resample of the ``images`` and seed (B, S)."""
        seeds = len(by_seed)
        error = float(np.std(by_seed, ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0
        value = float(np.mean(by_seed))
        over_images = None if samples is None else error_over_images(samples.mean(1), images)
        if over_images is None:
            return cls(value, seeds, 0, error, 0.0)
        return cls(value, seeds, images, error, over_images)

    @property
    def low(self) -> float:
        """The lower end of the interval at 1 - ``ALPHA``."""
        return self.value - self.half_width()

    @property
    def high(self) -> float:
        """The upper end."""
        return self.value + self.half_width()

    def half_width(self, alpha: float = ALPHA, seeds: int | None = None) -> float:
        """Half the interval at 1 - ``alpha``; with other ``seeds``, if the spread over them stays what it is."""
        return math.hypot(self.of_seeds(alpha, seeds), self.of_images(alpha))

    def of_seeds(self, alpha: float = ALPHA, seeds: int | None = None) -> float:
        """What the choice of training runs adds to half the interval."""
        seeds = seeds or self.seeds
        return _quantile(alpha, seeds) * self.error_seeds * math.sqrt(self.seeds / seeds)

    def of_images(self, alpha: float = ALPHA) -> float:
        """What the choice of images adds to half the interval."""
        return _quantile(alpha, self.images) * self.error_images

    def p(self, null: float = 0.0) -> float:
        """Two-sided: the level at which the interval ends at ``null``. At least ``SMALLEST_P``."""
        distance = abs(self.value - null)
        if not distance:
            return 1.0
        if self.half_width(SMALLEST_P) <= distance:
            return SMALLEST_P
        from scipy.optimize import brentq

        return float(brentq(lambda alpha: self.half_width(alpha) - distance, SMALLEST_P, 1.0))

    @property
    def covers_both(self) -> bool:
        """Whether the interval covers both, the choice of images and that of training runs."""
        return self.images >= MIN_IMAGES and self.seeds > 1

    def why_undecided(self, null: float = 0.0) -> str:
        """Why it cannot be told from ``null``, and what would do; empty where it can."""
        if not self.images:
            return "no counts of single images"
        if self.images < MIN_IMAGES:
            return f"only {self.images} image{'s' * (self.images > 1)}"
        if self.seeds < 2:
            return "one seed"
        if self.low <= null <= self.high:
            return self._needed(null)
        return ""

    def _needed(self, null: float) -> str:
        """How many seeds, or else images, would decide, if the difference and the spreads stay as they are."""
        distance = abs(self.value - null)
        for seeds in range(self.seeds + 1, MOST_SEEDS + 1):
            if self.half_width(seeds=seeds) < distance:
                return f"needs about {seeds} seeds"
        if (left := distance**2 - self.of_seeds() ** 2) > 0:
            return f"needs about {_rounded_up(self.images * self.of_images() ** 2 / left)} images"
        return f"needs over {MOST_SEEDS} seeds"


@lru_cache
def _quantile(alpha: float, number: int) -> float:
    """Of Student's t for so many seeds or images, two-sided; 0 where there are too few to tell."""
    if number < 2:
        return 0.0
    from scipy.special import stdtrit  # here: it takes as long to import as all tables to make

    return float(stdtrit(number - 1, 1 - alpha / 2))


def _rounded_up(number: float) -> int:
    """To two digits: an estimate is not known to more."""
    unit = 10.0 ** max(0, math.floor(math.log10(number)) - 1)
    return round(math.ceil(number / unit) * unit)
