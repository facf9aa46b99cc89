"""The prior's grids: cells stay where the network saw them, for every stride and odd sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.checks.method import TinyNetwork
from methods.base import Features, upsample
from methods.gss.prior import AggregationHead, LinearHead, Prior, resample

SIZE = (45, 61)


def aggregation(network, codec_stride: int = 4) -> AggregationHead:
    return AggregationHead(network, 3, codec_stride, hidden=8, depth=2, heads=2, window=4, dropout=0.1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.sampled_from([1, 2, 4, 8, 16, 32]), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_a_ramp_stays_where_it_is(length, stride, target):
    """Cell i of the ramp holds its centre's position; away from the edges the same must hold on the other grid."""
    cells, finer = -(-length // stride), -(-length // target)
    ramp = (torch.arange(cells).double() + 0.5) * stride
    resized = resample(ramp.expand(1, 1, cells, cells), stride, target, (finer, finer))
    assert resized.shape == (1, 1, finer, finer)
    centres = (torch.arange(finer).double() + 0.5) * target
    inner = (centres >= stride / 2) & (centres <= (cells - 0.5) * stride)
    if target > stride:
        inner &= torch.arange(1, finer + 1) * target <= cells * stride
    torch.testing.assert_close(resized[0, 0, 0][inner], centres[inner])


def test_enlarging_agrees_with_the_contracts_upsample():
    maps = torch.randn(2, 3, 12, 16)
    assert torch.equal(resample(maps, 4, 1, SIZE), upsample(maps, SIZE))


@pytest.mark.parametrize("codec_stride", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [SIZE, (64, 64), (5, 7)])
@pytest.mark.parametrize("make", [aggregation, lambda n, s: LinearHead(n, 3, s)])
def test_outputs_lie_on_the_codecs_grid(make, size, codec_stride):
    torch.manual_seed(0)
    network = TinyNetwork().eval()
    prior = Prior(make(network, codec_stride), 11, codec_stride).eval()
    with torch.no_grad():
        cells, classes = prior(network(torch.rand(2, 3, *size)), size)
        outputs = prior.outputs(cells, size)
    stride = prior.head.stride
    assert outputs.shape == (2, 11, -(-size[0] // codec_stride), -(-size[1] // codec_stride))
    assert classes.shape == (2, 3, -(-size[0] // stride), -(-size[1] // stride))
    # The last layer over enlarged cells is the enlarged last layer, so a loss may take them in either order.
    swapped = prior.classifier(prior.on_codec_grid(cells, size))
    torch.testing.assert_close(swapped, outputs, atol=1e-5, rtol=1e-5)


def test_four_levels_of_strides_four_to_thirty_two_and_the_dense_features_are_read():
    assert aggregation(TinyNetwork()).strides == (4, 8, 16, 32, 4)


def test_an_encoder_without_such_levels_leaves_the_dense_features():
    network = TinyNetwork()
    network.pyramid_strides = (2, 2, 2, 2, 2)
    head = aggregation(network)
    features = Features(dense=torch.randn(1, 16, 12, 16), pyramid=())
    assert head.strides == (4,)
    assert head(features, (48, 64)).tokens.shape == (1, 8, 12, 16)


def test_every_level_reaches_the_tokens_and_the_auxiliary_head():
    torch.manual_seed(0)
    network = TinyNetwork()
    features = network(torch.rand(2, 3, *SIZE))
    levels = [f.detach().requires_grad_() for f in features.pyramid]
    head = aggregation(network).eval()
    for output in head(Features(features.dense, tuple(levels)), SIZE):
        gradients = torch.autograd.grad(output.square().sum(), levels, allow_unused=True, retain_graph=True)
        assert gradients[0] is None  # stride 2
        assert all(g.abs().sum() > 0 for g in gradients[1:])
