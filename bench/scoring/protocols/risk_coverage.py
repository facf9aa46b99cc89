"""Risk-coverage: if a method may abstain where it is unsure, how wrong is the rest?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bench.scoring.protocols.base import Counts, Metric, Protocol, Reading

LOWEST, HIGHEST, PER_OCTAVE = -48, 8, 32
"""Bins of the odds against the prediction, (1 - p) / p, from 2^-48 to 2^8: each doubling has 32."""
BINS = (HIGHEST - LOWEST) * PER_OCTAVE

RISK = 0.05
"""The share of wrong pixels that is put up with."""


class RiskCoverage(Protocol):
    """Selective prediction: the pixels of a split from the surest to the least sure, and how many of them are wrong.

    A pixel's confidence is the largest probability p of its posterior, enlarged bilinearly to the label's own
    resolution as for mIoU. At coverage k / N the k surest valid pixels are kept, and the risk is the share of them that
    is wrong. AURC is the mean of the risk over k = 1 ... N (Geifman et al. 2019); coverage at 5 % risk is the largest
    coverage with a risk of at most 5 %. Confidences are told apart by the odds (1 - p) / p, in steps of 2 %, and pixels
    in one step are kept in random order, of which AURC is the expectation.

    Scored where it is asked for (--protocol risk-coverage).
    """

    name: ClassVar[str] = "risk-coverage"
    title: ClassVar[str] = "Selective prediction"
    columns: ClassVar[tuple[Metric, ...]] = (
        Metric("aurc", "AURC", "lower"),
        Metric("coverage_at_5_risk", "Coverage at 5 % risk"),
    )
    kinds: ClassVar[tuple[str, ...]] = ("doubts",)

    @classmethod
    def count(cls, image: Reading) -> Counts:
        """Pixels and wrong ones, (BINS, 2), from the least doubt to the most."""
        import torch

        label, scores = image.label.to(image.scores.device), image.scores.float()
        valid = (label >= 0) & (label < len(scores))
        # Odds in logarithms: 1 - p in float32 is 0 where pixels still differ.
        top, predicted = scores.max(0, keepdim=True)
        odds = scores.scatter(0, predicted, -torch.inf).logsumexp(0) - top[0]
        steps = (odds[valid].double() / math.log(2) - LOWEST) * PER_OCTAVE
        places = steps.floor().clamp(0, BINS - 1).long().cpu().numpy()
        wrong = (predicted[0] != label)[valid].cpu().numpy()
        counts = [np.bincount(places, minlength=BINS), np.bincount(places[wrong], minlength=BINS)]
        return {"doubts": np.stack(counts, axis=-1).astype(np.int32)}

    @classmethod
    def metrics(cls, counts: Counts) -> Mapping[str, Any]:
        """Both numbers of ``doubts`` (..., BINS, 2)."""
        from scipy.special import digamma

        pixels, wrong = np.moveaxis(np.asarray(counts["doubts"], np.float64), -1, 0)
        covered, errors = pixels.cumsum(-1), wrong.cumsum(-1)
        before, errors_before = covered - pixels, errors - wrong
        total = covered[..., -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(pixels > 0, wrong / pixels, 0.0)
            # Pixel k of a bin is wrong with its rate, so the risk is (errors_before + k rate) / (before + k). Its sum
            # over k = 1 ... n is a difference of harmonic numbers.
            harmonic = digamma(covered + 1) - digamma(before + 1)
            area = (wrong + (errors_before - rate * before) * harmonic).sum(-1)
            # Along a bin the risk rises or falls throughout: it is within bounds at the end, or up to a place inside.
            inside = before + (RISK * before - errors_before) / (rate - RISK)
            kept = np.where(errors_before <= RISK * before, inside, 0.0)
            kept = np.where(errors <= RISK * covered, covered, kept)
            return {"aurc": area / total, "coverage_at_5_risk": kept.max(-1) / total}
