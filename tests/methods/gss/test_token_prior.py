import math

import pytest
import torch
from torch.nn import functional as F

from methods.gss.token_prior import TokenPrior, fit_token_prior


def silently(items, description, total):
    return items


def lively(vocabulary, grid, seed=0, **options):
    """A prior with weights large enough that every dependence shows."""
    prior = TokenPrior(vocabulary, grid, **options).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in prior.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
    return prior


def test_a_token_depends_on_all_before_it_within_reach_and_on_nothing_else():
    prior = lively(7, (5, 6), width=12, layers=3)
    tokens = torch.randint(7, (1, 5, 6), generator=torch.Generator().manual_seed(1))
    before = prior(tokens)
    for cell in range(30):
        other = tokens.clone().flatten(1)
        other[0, cell] = (other[0, cell] + 1) % 7
        moved = (prior(other.view_as(tokens)) - before).abs().amax(1).flatten()
        assert not moved[: cell + 1].any(), "a cell must not see itself or what comes later"
        row, column = divmod(cell, 6)
        for later in range(cell + 1, 30):
            down, right = later // 6 - row, later % 6 - column
            if abs(right) <= 2 and down <= 2:
                assert moved[later] > 0, f"no blind spot: {later} must see {cell}"


def test_sampling_draws_from_the_distribution_that_is_fitted(monkeypatch):
    prior = lively(5, (7, 6), width=8, layers=2)
    asked = []
    draw = torch.multinomial

    def remember(chances, *args, **kwargs):
        asked.append(chances.clone())
        return draw(chances, *args, **kwargs)

    monkeypatch.setattr(torch, "multinomial", remember)
    tokens = prior.sample(3, torch.Generator().manual_seed(0), silently)
    expected = prior(tokens).softmax(1).flatten(2)
    torch.testing.assert_close(torch.stack(asked, 2), expected, atol=1e-5, rtol=1e-4)


def test_samples_follow_from_the_generator_alone():
    prior = lively(5, (4, 4), width=8, layers=2)
    first, second, other = (prior.sample(2, torch.Generator().manual_seed(s), silently) for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


STAY = 0.9
"""Chance that a token of ``columns_that_stay`` is the one above it."""


def columns_that_stay(count, seed):
    """Grids (count, 5, 4) of three tokens, uniform in the first row."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, (count, 5, 4), generator=generator)
    for row in range(1, 5):
        copied = torch.rand(count, 4, generator=generator) < (STAY - 1 / 3) / (2 / 3)
        tokens[:, row] = torch.where(copied, tokens[:, row - 1], tokens[:, row])
    return tokens


def test_fitting_reaches_the_entropy_of_a_known_process_and_samples_are_like_it():
    other = (1 - STAY) / 2
    entropy = (math.log(3) - 4 * (STAY * math.log(STAY) + 2 * other * math.log(other))) / 5
    prior = fit_token_prior(columns_that_stay(2000, 0), 3, 150, 32, seed=0, progress=silently, width=8)
    held_out = columns_that_stay(500, 1)
    assert F.cross_entropy(prior(held_out), held_out).item() == pytest.approx(entropy, abs=0.05)
    drawn = prior.sample(300, torch.Generator().manual_seed(1), silently)
    assert (drawn[:, 1:] == drawn[:, :-1]).float().mean().item() == pytest.approx(STAY, abs=0.05)


def test_fitting_follows_from_its_seed_alone():
    tokens = torch.randint(3, (8, 4, 4), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = fit_token_prior(tokens, 3, 3, 4, 0, silently, width=8)
    assert torch.equal(torch.rand(2), expected), "the global generator is left alone"
    second = fit_token_prior(tokens, 3, 3, 4, 0, silently, width=8)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
