"""Samples follow their distribution, and the scores derived from them are what information theory says."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical

from methods.gss.decoding import ColourLatents, TokenLatents, divergence, entropy, monte_carlo, put_first


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sampled_tokens_follow_their_probabilities():
    latents = TokenLatents(torch.randn(2, 5, 2, 3, generator=generator()))
    drawn = torch.stack(list(latents.samples(4000, generator(1))))
    frequencies = torch.stack([(drawn == v).float().mean(0) for v in range(5)], dim=1)
    torch.testing.assert_close(frequencies, latents.soft(), atol=0.035, rtol=0)


def test_a_token_without_probability_is_never_drawn():
    logits = torch.full((1, 4, 8, 8), -torch.inf)
    logits[:, 1] = logits[:, 2] = 0.0
    drawn = torch.stack(list(TokenLatents(logits).samples(200, generator())))
    assert set(drawn.unique().tolist()) == {1, 2}


@pytest.mark.parametrize("kind", [TokenLatents, ColourLatents])
def test_samples_are_deterministic_and_do_not_depend_on_the_batch(kind):
    outputs = torch.randn(3, 6, 4, 5, generator=generator())
    together, again = (list(kind(outputs).samples(3, generator(7))) for _ in range(2))
    alone = list(kind(outputs[1:2]).samples(3, generator(7)))
    for a, b, c in zip(together, again, alone, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a[1:2], c)
    assert not torch.equal(together[0], together[1])


def test_token_uncertainty_is_the_entropy_in_units_of_log_v():
    logits = torch.randn(2, 7, 3, 4, generator=generator())
    expected = Categorical(logits=logits.permute(0, 2, 3, 1)).entropy() / math.log(7)
    torch.testing.assert_close(TokenLatents(logits).uncertainty(), expected)
    torch.testing.assert_close(TokenLatents(torch.zeros(1, 7, 1, 1)).uncertainty(), torch.ones(1, 1, 1))


def test_sampled_colours_have_the_predicted_moments():
    latents = ColourLatents(torch.randn(1, 6, 2, 2, generator=generator()))
    drawn = torch.stack(list(latents.samples(6000, generator(1))))
    torch.testing.assert_close(drawn.mean(0), latents.mean, atol=0.08, rtol=0)
    torch.testing.assert_close(drawn.var(0), latents.variance, atol=0, rtol=0.1)


def posterior(latents: torch.Tensor) -> torch.Tensor:
    """Token v means class v // 2 of three with certainty 0.8."""
    means = torch.nn.functional.one_hot(latents // 2, 3).permute(0, 3, 1, 2).float()
    return (0.1 + 0.7 * means).log()


def test_monte_carlo_averages_probabilities():
    latents = TokenLatents(torch.randn(2, 6, 3, 4, generator=generator()))
    scores, disagreement = monte_carlo(latents, posterior, 5, generator(3))
    drawn = torch.stack([posterior(t).exp() for t in latents.samples(5, generator(3))])
    torch.testing.assert_close(scores.exp(), drawn.mean(0))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(2, 3, 4))
    expected = Categorical(drawn.mean(0).movedim(1, -1)).entropy() - Categorical(drawn.movedim(2, -1)).entropy().mean(0)
    torch.testing.assert_close(disagreement, expected, atol=1e-6, rtol=1e-5)
    assert disagreement.max() > 0.05


def test_samples_of_one_class_do_not_disagree():
    logits = torch.full((1, 6, 2, 2), -torch.inf)
    logits[:, :2] = 0.0  # both mean class 0
    _, disagreement = monte_carlo(TokenLatents(logits), posterior, 8, generator())
    torch.testing.assert_close(disagreement, torch.zeros(1, 2, 2), atol=1e-6, rtol=0)


def test_putting_a_class_first_changes_no_more_than_that():
    generator = torch.Generator().manual_seed(0)
    soft = (4 * torch.randn(2, 5, 6, 7, generator=generator)).log_softmax(1)
    classes = torch.randint(5, (2, 6, 7), generator=generator)
    changed = put_first(soft, classes)
    assert torch.equal(changed.argmax(1), classes)
    torch.testing.assert_close(changed.exp().sum(1), torch.ones(2, 6, 7))
    agree = soft.argmax(1) == classes
    assert agree.any()
    torch.testing.assert_close(changed.permute(0, 2, 3, 1)[agree], soft.permute(0, 2, 3, 1)[agree])
    others = torch.ones_like(soft, dtype=torch.bool).scatter(1, classes[:, None], False)
    rest = torch.where(others, changed - soft, torch.nan)
    spread = rest.nan_to_num(-torch.inf).amax(1) - rest.nan_to_num(torch.inf).amin(1)
    assert spread.abs().max() < 1e-4, "the other classes keep their ratios"


def test_divergence_lies_between_zero_and_log_two():
    first, second = (torch.randn(2, 4, 3, 3, generator=generator(s)).log_softmax(1) for s in (0, 1))
    torch.testing.assert_close(divergence(first, first), torch.zeros(2, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(divergence(first, second), divergence(second, first))
    apart = torch.tensor([0.0, -80.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(divergence(apart, apart.flip(1)), torch.full((1, 1, 1), math.log(2)))


def test_entropy_is_that_of_torch():
    scores = torch.randn(2, 4, 3, 3, generator=generator()).log_softmax(1)
    torch.testing.assert_close(entropy(scores), Categorical(logits=scores.movedim(1, -1)).entropy())
