"""The prior's grids: cells stay where the network saw them, for every stride and odd sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bench.checks.method import TinyNetwork
from methods.base import Features, upsample
from methods.gss.prior import AggregationHead, LinearHead, Prior, resample

SIZE = (45, 61)


def aggregation(network, codec_stride: int = 4, **settings) -> AggregationHead:
    return AggregationHead(network, 3, codec_stride, hidden=8, depth=2, heads=2, window=4, dropout=0.1, **settings)


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


def released_layer(maps, state, name, training):
    """The released code's 1x1 convolution without bias, batch norm and ReLU, of what ``state`` holds of ``name``."""
    maps = torch.einsum("bchw,dc->bdhw", maps, state[f"{name}.0.weight"][:, :, 0, 0])
    mean, variance = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
    if training:
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
    shaped = (t[:, None, None] for t in (mean, variance, state[f"{name}.1.weight"], state[f"{name}.1.bias"]))
    mean, variance, scale, shift = shaped
    return ((maps - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)


def released_fusion(levels, state, projections, fusion, training):
    """``feature_aggregation`` of the released code, which brings every level to the size of the finest."""
    projected = [released_layer(m, state, f"{projections}.{i}", training) for i, m in enumerate(levels)]
    size = levels[0].shape[2:]
    brought = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in projected]
    return released_layer(torch.cat(brought, dim=1), state, fusion, training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("auxiliary_fusion", ["shared", "separate"])
def test_normalised_fusions_are_those_of_the_released_code(auxiliary_fusion, training):
    torch.manual_seed(0)
    network = TinyNetwork()
    head = aggregation(network, fusion="normalised", auxiliary_fusion=auxiliary_fusion)
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_var, module.weight, module.bias):
                torch.nn.init.uniform_(values, 0.5, 1.5)
    features = network(torch.rand(2, 3, 64, 96))
    levels = [*(features.pyramid[i] for i in head.levels), features.dense]
    state = {name: value.clone() for name, value in head.state_dict().items()}
    of_classes = ("auxiliary_levels.projections", "auxiliary_levels.fusion")
    if auxiliary_fusion == "shared":
        of_classes = ("projections", "fusion")
    head.train(training)
    fused = released_fusion(levels, state, "projections", "fusion", training)
    torch.testing.assert_close(head.fused(features, (64, 96)), fused, atol=1e-5, rtol=1e-4)
    expected = F.conv2d(released_fusion(levels, state, *of_classes, training), *head.auxiliary.parameters())
    torch.testing.assert_close(head(features, (64, 96)).classes, expected, atol=1e-5, rtol=1e-4)


def test_a_separate_fusion_keeps_the_auxiliary_heads_gradient_off_that_of_the_tokens():
    torch.manual_seed(0)
    network = TinyNetwork()
    features = network(torch.rand(2, 3, *SIZE))
    for auxiliary_fusion, reaches in (("shared", True), ("separate", False)):
        head = aggregation(network, auxiliary_fusion=auxiliary_fusion)
        loss = head(features, SIZE).classes.square().sum()
        (gradient,) = torch.autograd.grad(loss, [head.fusion.weight], allow_unused=True, retain_graph=True)
        assert (gradient is not None) == reaches
