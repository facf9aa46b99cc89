import math

import pytest
import torch
from torch.nn import functional as F

from methods.temperature import PER_CLASS, Temperature, best_temperature
from tests.methods.conftest import SeenNetwork, TinyClasses


def drawn(temperature, pixels=20000, classes=3, seed=0):
    """Logits, and labels drawn from their softmax at ``temperature``; the first class is the most frequent."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(pixels, classes, generator=generator) + torch.tensor([2.0, 0.0, -2.0])
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, labels = drawn(temperature)
    assert best_temperature(logits, labels, torch.ones(len(labels))) == pytest.approx(temperature, rel=0.04)


def test_at_the_best_temperature_the_labels_logits_are_what_the_posterior_expects():
    logits, labels = drawn(2.0, pixels=500)
    weights = torch.rand(500, generator=torch.Generator().manual_seed(1))
    found = best_temperature(logits, labels, weights)
    scores = logits.double()
    expected = ((scores / found).softmax(1) * scores).sum(1)  # the derivative of the loss is zero where these are equal
    surprise = weights.double() @ (expected - scores[torch.arange(500), labels])
    assert abs(surprise.item()) < 1e-3


def test_where_no_pixel_is_wrong_the_search_ends_at_its_bound():
    labels = torch.arange(30) % 3
    assert best_temperature(0.1 * F.one_hot(labels), labels, torch.ones(30)) == pytest.approx(0.01, rel=1e-3)


def test_a_sample_of_each_class_gives_the_temperature_of_all_pixels(fitted):
    logits, labels = drawn(2.0, pixels=5 * PER_CLASS)
    assert torch.bincount(labels)[0] > 2 * PER_CLASS
    everything = best_temperature(logits, labels, torch.ones(len(labels)))
    assert fitted(Temperature, logits, labels, 3).temperature.item() == pytest.approx(everything, rel=0.04)


def test_no_argmax_changes(fitted):
    logits, labels = drawn(3.0, pixels=1000)
    method = fitted(Temperature, logits, labels, 3)
    images = logits.t()[None, :, None]
    found = method.predict(images).logits
    assert found.shape == images.shape
    assert torch.equal(found.argmax(1), images.argmax(1))
    assert method.facts() == {"temperature": pytest.approx(3.0, rel=0.2)}
    torch.testing.assert_close(found, images / method.temperature)


def test_without_labelled_pixels_it_stays_one(make_context):
    method = Temperature(Temperature.Config(), SeenNetwork(), TinyClasses(3))
    method.finish(make_context())
    assert method.temperature.item() == math.exp(0)
