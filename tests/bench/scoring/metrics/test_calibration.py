"""Calibration against torchmetrics, scikit-learn and hand-made cases."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from bench.scoring.metrics.calibration import CalibrationMeter, calibration_sums, expected_calibration_error
from bench.scoring.metrics.images import DuplicateImage, NonFiniteScore

CLASSES = 5


def image(seed, shape=(20, 30)):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (2 * torch.randn(CLASSES, *shape, generator=generator)).softmax(0)
    labels = torch.randint(0, CLASSES + 1, shape, generator=generator)
    return probabilities, torch.where(labels == CLASSES, 255, labels)


def result_of(*images):
    meter = CalibrationMeter()
    for i, (probabilities, labels) in enumerate(images):
        meter.update(f"{i}", probabilities, labels)
    return meter.result()


def test_agrees_with_references():
    images = [image(0), image(1), image(2)]
    result = result_of(*images)
    p = torch.cat([p.flatten(1).T for p, _ in images])
    y = torch.cat([y.flatten() for _, y in images])
    p, y = p[y != 255], y[y != 255]
    assert result.pixels == len(y)
    reference = multiclass_calibration_error(p, y, CLASSES, n_bins=15, norm="l1")
    assert result.ece == pytest.approx(float(reference), abs=1e-6)
    assert result.nll == pytest.approx(log_loss(y, p.double() / p.double().sum(1, keepdim=True)), abs=1e-6)
    one_hot = torch.nn.functional.one_hot(y, CLASSES)
    assert result.brier == pytest.approx(float((p - one_hot).square().sum(1).double().mean()), abs=1e-6)


def test_some_images_of_a_meter_are_those_alone():
    images = {name: image(seed) for seed, name in enumerate("abcd")}
    whole = CalibrationMeter()
    for name, (probabilities, labels) in images.items():
        whole.update(name, probabilities, labels)
    chosen = whole.select(["d", "b"])
    assert chosen.ids == ["d", "b"]
    assert chosen.result() == result_of(images["d"], images["b"])
    with pytest.raises(KeyError):
        whole.select(["e"])


def test_confident_and_right_is_perfect():
    labels = torch.randint(0, 3, (4, 5))
    result = result_of((torch.nn.functional.one_hot(labels, 3).permute(2, 0, 1).float(), labels))
    assert (result.ece, result.nll, result.brier) == (0, 0, 0)


def test_confident_and_wrong_is_finite():
    labels = torch.zeros(2, 2, dtype=torch.uint8)
    result = result_of((torch.tensor([0.0, 1.0])[:, None, None].expand(2, 2, 2), labels))
    assert (result.ece, result.brier) == (1, 2)
    assert result.nll == pytest.approx(-math.log(torch.finfo(torch.float32).tiny))


def test_confidence_on_an_edge_is_in_the_lower_bin():
    probabilities = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)[:, None, None]
    sums, _ = calibration_sums(probabilities, torch.zeros(1, 1, dtype=torch.long), bins=4)
    assert sums.tolist() == [[0, 0, 0], [1, 1, 0.5], [0, 0, 0], [0, 0, 0]]


def test_void_content_does_not_matter():
    probabilities, labels = image(3)
    changed = torch.where(labels == 255, torch.nan, probabilities)
    assert result_of((changed, labels)) == result_of((probabilities, labels))
    changed = torch.where(labels == 255, -7.0, probabilities)
    assert result_of((changed, labels)) == result_of((probabilities, labels))


def test_shards_add_up():
    images = {f"{i}": image(i) for i in range(5)}
    whole, first, second = CalibrationMeter(), CalibrationMeter(), CalibrationMeter()
    for name, maps in images.items():
        whole.update(name, *maps)
        (first if name in "03" else second).update(name, *maps)
    first.merge(second)
    assert first.ids == ["0", "3", "1", "2", "4"]
    ours, expected = first.result(), whole.result()
    assert (ours.ece, ours.nll, ours.brier) == pytest.approx((expected.ece, expected.nll, expected.brier), abs=1e-14)
    assert expected_calibration_error(whole.bin_sums).shape == (5,)
    assert float(expected_calibration_error(whole.bin_sums.sum(0))) == expected.ece
    np.testing.assert_allclose(whole.losses.sum(0) / expected.pixels, (expected.nll, expected.brier))
    with pytest.raises(DuplicateImage):
        whole.update("0", *images["0"])
    with pytest.raises(ValueError, match="cannot merge"):
        whole.merge(CalibrationMeter(bins=10))


def test_nothing_counted_is_nan():
    result = CalibrationMeter().result()
    assert np.isnan([result.ece, result.nll, result.brier]).all()
    probabilities, labels = image(0)
    assert np.isnan(result_of((probabilities, torch.full_like(labels, 255))).ece)


def test_input_that_does_not_fit_is_an_error():
    probabilities, labels = image(0)
    meter = CalibrationMeter()
    with pytest.raises(TypeError, match="float16"):
        meter.update("frame", probabilities.half(), labels)
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        meter.update("frame", probabilities[:, :3], labels)
    with pytest.raises(ValueError, match="'frame': class probabilities"):
        meter.update("frame", 2 * probabilities, labels)
    with pytest.raises(ValueError, match="'frame': class probabilities"):
        meter.update("frame", torch.tensor([1.5, -0.5])[:, None, None], torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(NonFiniteScore, match="'frame': non-finite probability"):
        meter.update("frame", torch.where(labels == 0, torch.nan, probabilities), labels)
    assert meter.ids == []
