"""Windowed attention equals attention written out cell by cell, whatever the size of the grid."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from methods.gss import attention
from methods.gss.attention import WindowBlock


def make_block(window: int = 4, shifted: bool = False, channels: int = 6, heads: int = 2) -> WindowBlock:
    torch.manual_seed(0)
    block = WindowBlock(channels, heads, window, hidden=9, shifted=shifted).double()
    with torch.no_grad():
        block.position_bias.normal_()
    return block


def written_out(block: WindowBlock, maps: torch.Tensor) -> torch.Tensor:
    """The block, one query cell after the other: its keys are the cells of the same window of the shifted grid."""
    images, channels, height, width = maps.shape
    window, size = block.window, channels // block.heads
    shift = [window // 2 if block.shifted and n > window else 0 for n in (height, width)]
    cells = maps.permute(0, 2, 3, 1)
    q, k, v = block.qkv(block.attention_norm(cells)).chunk(3, dim=3)
    grid = list(itertools.product(range(height), range(width)))
    result = torch.empty_like(cells)
    for b, (row, column) in itertools.product(range(images), grid):
        home = [(row + shift[0]) // window, (column + shift[1]) // window]
        keys = [c for c in grid if [(c[0] + shift[0]) // window, (c[1] + shift[1]) // window] == home]
        heads = []
        for head in range(block.heads):
            part = slice(head * size, (head + 1) * size)
            scores = [
                q[b, row, column, part] @ k[b, y, x, part] / math.sqrt(size)
                + block.position_bias[(row - y + window - 1) * (2 * window - 1) + column - x + window - 1, head]
                for y, x in keys
            ]
            weights = torch.stack(scores).softmax(0)
            heads.append(sum(w * v[b, y, x, part] for w, (y, x) in zip(weights, keys, strict=True)))
        result[b, row, column] = block.projection(torch.cat(heads))
    cells = cells + result
    return (cells + block.perceptron(cells)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (5, 9), (3, 4), (1, 7)])
def test_equals_attention_written_out_cell_by_cell(size, shifted):
    block = make_block(shifted=shifted)
    maps = torch.randn(2, 6, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block(maps), written_out(block, maps))


@pytest.mark.parametrize("shifted", [False, True])
def test_odd_windows_are_exact_too(shifted):
    block = make_block(window=3, shifted=shifted)
    maps = torch.randn(1, 6, 7, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block(maps), written_out(block, maps))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("height", [3, 4, 13, 14, 16])
def test_bands_of_windows_change_nothing(monkeypatch, height, shifted):
    block = make_block(shifted=shifted)
    maps = torch.randn(2, 6, height, 9, dtype=torch.float64, requires_grad=True)
    whole = block(maps)
    (gradient,) = torch.autograd.grad(whole.square().sum(), maps)
    monkeypatch.setattr(attention, "CACHED_BAND_CELLS", 1)
    torch.testing.assert_close(block(maps), whole)
    torch.testing.assert_close(torch.autograd.grad(block(maps).square().sum(), maps)[0], gradient)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("window", "size"), [(4, (256, 512)), (7, (700, 500)), (2, (63, 3001))])
def test_no_band_has_more_heads_than_a_kernel_of_a_gpu_has_blocks(monkeypatch, window, size, shifted):
    block = make_block(window=window, shifted=shifted, channels=16, heads=16).to("meta")
    seen = []

    def attend(query, key, value, attn_mask):
        seen.append(query.shape[1])
        return torch.empty_like(query)

    monkeypatch.setattr(F, "scaled_dot_product_attention", attend)
    maps = torch.empty(2, 16, *size, dtype=torch.float64, device="meta")
    assert block(maps).shape == maps.shape
    windows = math.prod(-(-extent // window) for extent in size)
    assert sum(seen) >= windows * block.heads > 1 << 16
    assert max(seen) < 1 << 16


@pytest.mark.parametrize("shifted", [False, True])
def test_an_image_does_not_depend_on_the_others_of_its_batch(shifted):
    block = make_block(shifted=shifted)
    maps = torch.randn(3, 6, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block(maps)[1:2], block(maps[1:2]))


def test_what_lies_in_another_window_has_no_influence():
    block = make_block()
    maps = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    changed = maps.clone()
    changed[..., 4:, :] += 1
    with torch.no_grad():
        torch.testing.assert_close(block(maps)[..., :4, :], block(changed)[..., :4, :])


def test_a_shifted_block_connects_neighbouring_windows():
    block = make_block(shifted=True)
    maps = torch.randn(1, 6, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(maps)[0, :, 3, 3].sum(), maps)
    reached = gradient[0].abs().sum(0) > 0
    expected = F.pad(torch.ones(4, 4, dtype=torch.bool), (2, 2, 2, 2))
    assert torch.equal(reached, expected)


@pytest.mark.parametrize("shifted", [False, True])
def test_gradients_stay_finite_where_windows_reach_over_the_edge(shifted):
    block = make_block(shifted=shifted)
    maps = torch.randn(1, 6, 5, 6, dtype=torch.float64, requires_grad=True)
    block(maps).square().mean().backward()
    assert torch.isfinite(maps.grad).all()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in block.parameters())


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="4 heads do not divide 6 channels"):
        make_block(heads=4)
