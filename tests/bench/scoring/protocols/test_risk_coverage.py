"""Selective prediction against sorting every pixel in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.scoring.protocols.base import Reading
from bench.scoring.protocols.risk_coverage import BINS, RiskCoverage
from datasets.base import IGNORE


def reading(seed, sharpness, size=(40, 50), classes=4):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, size, generator=generator)
    scores = sharpness * torch.randn(classes, *size, generator=generator)
    scores[0] += 2 * sharpness * (label == 0)
    label[torch.rand(size, generator=generator) < 0.1] = IGNORE
    return Reading(f"i{seed}", scores, label)


def pooled(images):
    """Doubt, and whether it is wrong, of every valid pixel, in float64."""
    doubts, wrong = [], []
    for image in images:
        posterior = image.scores.double().softmax(0).sort(0).values
        valid = image.label < len(image.scores)
        doubts.append(posterior[:-1].sum(0)[valid].numpy())
        wrong.append((image.scores.argmax(0) != image.label)[valid].numpy())
    return np.concatenate(doubts), np.concatenate(wrong)


def brute_force(doubts, wrong):
    """AURC and coverage at 5 % risk: every pixel in its turn, those that are equally sure in random order."""
    _, place, sizes = np.unique(doubts, return_inverse=True, return_counts=True)
    rates = np.bincount(place, weights=wrong) / sizes
    risks = np.cumsum(np.repeat(rates, sizes)) / np.arange(1, len(doubts) + 1)
    within = np.flatnonzero(risks <= 0.05)
    return risks.mean(), (within[-1] + 1) / len(doubts) if len(within) else 0.0


def measured(images):
    total = {"doubts": sum(RiskCoverage.count(image)["doubts"].astype(np.int64) for image in images)}
    return RiskCoverage.metrics(total)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0, 8.0])
def test_both_numbers_are_those_of_all_pixels_sorted(sharpness):
    images = [reading(seed, sharpness) for seed in range(5)]
    area, coverage = brute_force(*pooled(images))
    found = measured(images)
    assert found["aurc"] == pytest.approx(area, abs=5e-4)
    assert found["coverage_at_5_risk"] == pytest.approx(coverage, abs=5e-3)


@pytest.mark.parametrize("seed", range(5))
def test_pixels_in_one_bin_are_kept_in_random_order(seed):
    rng = np.random.default_rng(seed)
    places = np.sort(rng.choice(BINS, 12, replace=False))
    doubts = rng.choice(places, 400)
    wrong = rng.random(400) < np.linspace(0.0, 0.2, BINS)[doubts]
    counts = np.stack([np.bincount(doubts, minlength=BINS), np.bincount(doubts[wrong], minlength=BINS)], -1)
    area, coverage = brute_force(doubts, wrong)
    found = RiskCoverage.metrics({"doubts": counts})
    assert found["aurc"] == pytest.approx(area, abs=1e-12)
    assert coverage <= found["coverage_at_5_risk"] + 1e-12
    assert found["coverage_at_5_risk"] == pytest.approx(coverage, abs=1 / 400)


def test_nothing_wrong_is_covered_whole_and_nothing_right_not_at_all():
    right = np.zeros((BINS, 2))
    right[3] = 10, 0
    assert {name: float(value) for name, value in RiskCoverage.metrics({"doubts": right}).items()} == {
        "aurc": 0, "coverage_at_5_risk": 1
    }  # fmt: skip
    right[3] = 10, 10
    assert {name: float(value) for name, value in RiskCoverage.metrics({"doubts": right}).items()} == {
        "aurc": pytest.approx(1), "coverage_at_5_risk": 0
    }  # fmt: skip


def test_a_method_that_knows_what_it_does_not_know_has_less_risk():
    images = [reading(seed, 1.0) for seed in range(3)]
    shuffled = []
    for image in images:
        order = torch.randperm(image.label.numel(), generator=torch.Generator().manual_seed(1))
        wrong = (image.predicted != image.label).flatten()[order].view_as(image.label)
        label = torch.where(wrong, (image.predicted + 1) % len(image.scores), image.predicted)
        shuffled.append(Reading(image.id, image.scores, torch.where(image.label == IGNORE, IGNORE, label)))
    assert measured(images)["aurc"] < 0.8 * measured(shuffled)["aurc"]
