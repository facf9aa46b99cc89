"""The chunked loss is the plain one, and tokens count by how much of their cell has a class."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from methods.gss.losses import fill_with_classes, gaussian_nll, linear_cross_entropy, void_share


def problem(rows: int = 23, width: int = 5, vocabulary: int = 11, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return normal(rows, width), normal(vocabulary, width), normal(vocabulary), targets


@pytest.mark.parametrize("chunk", [1, 11, 40, 100, 1 << 20])
def test_chunks_give_the_loss_and_gradients_of_the_plain_form(chunk):
    *inputs, targets = problem()
    loss = linear_cross_entropy(*inputs, targets, chunk_elements=chunk)
    plain = F.cross_entropy(F.linear(*inputs), targets, reduction="sum")
    torch.testing.assert_close(loss, plain)
    for ours, theirs in zip(
        torch.autograd.grad(0.3 * loss, inputs), torch.autograd.grad(0.3 * plain, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_gradients_agree_with_finite_differences():
    *inputs, targets = problem(rows=4, width=3, vocabulary=5)
    assert torch.autograd.gradcheck(lambda *x: linear_cross_entropy(*x, targets, chunk_elements=10), inputs)


def test_extreme_logits_stay_finite_in_float32():
    rows, weight, bias, targets = problem(dtype=torch.float32)
    loss = linear_cross_entropy(1e4 * rows, weight, bias, targets)
    loss.backward()
    plain = F.cross_entropy(F.linear(1e4 * rows.double(), weight.double(), bias.double()), targets, reduction="sum")
    torch.testing.assert_close(loss.double(), plain, rtol=1e-4, atol=0)
    assert torch.isfinite(rows.grad).all()


def test_autocast_changes_the_products_and_not_the_sum():
    *inputs, targets = problem(rows=500, width=32, vocabulary=64, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(*inputs, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, linear_cross_entropy(*inputs, targets), rtol=5e-3, atol=0)
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(loss, inputs))


def test_no_rows_give_zero_with_a_graph():
    rows, weight, bias, targets = problem()
    loss = linear_cross_entropy(rows[:0], weight, bias, targets[:0])
    loss.backward()
    assert loss == 0
    assert not weight.grad.any()


def test_without_gradient_only_the_value_is_computed():
    *inputs, targets = problem()
    with torch.no_grad():
        loss = linear_cross_entropy(*inputs, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, F.cross_entropy(F.linear(*inputs), targets, reduction="sum").detach())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**31 - 1))
def test_void_share_counts_pixels_inside_the_image(height, width, stride, seed):
    void = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < 0.4
    shares = void_share(void, stride)
    assert shares.shape == (2, -(-height // stride), -(-width // stride))
    for row in range(shares.shape[1]):
        for column in range(shares.shape[2]):
            cell = void[:, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            torch.testing.assert_close(shares[:, row, column], cell.float().mean((1, 2)))


def test_only_void_pixels_are_filled_from_the_cell_they_lie_in():
    labels = torch.full((1, 3, 5), 7)
    void = torch.zeros(1, 3, 5, dtype=torch.bool)
    void[0, 0, 1] = void[0, 2, 4] = True
    classes = torch.arange(6).view(1, 2, 3)
    filled = fill_with_classes(labels, void, classes, stride=2)
    expected = labels.clone()
    expected[0, 0, 1], expected[0, 2, 4] = 0, 5
    assert torch.equal(filled, expected)


def test_gaussian_nll_is_the_density_up_to_its_constant():
    generator = torch.Generator().manual_seed(0)
    mean, target = (torch.rand(2, 3, 4, 5, generator=generator) for _ in range(2))
    variance = 0.1 + torch.rand(2, 3, 4, 5, generator=generator)
    density = torch.distributions.Normal(mean, variance.sqrt()).log_prob(target).sum(1)
    constant = 1.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(gaussian_nll(mean, variance, target), -density - constant)
