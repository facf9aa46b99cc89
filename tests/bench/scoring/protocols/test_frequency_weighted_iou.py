"""Frequency-weighted IoU against its definition, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.scoring.protocols.base import Reading
from bench.scoring.protocols.frequency_weighted_iou import FrequencyWeightedIou
from datasets.base import IGNORE


def test_it_is_the_mean_over_labelled_pixels_of_the_iou_of_their_class():
    generator = torch.Generator().manual_seed(0)
    images = []
    for i in range(4):
        label = torch.randint(0, 4, (9, 11), generator=generator)
        label[label == 3] = IGNORE  # class 3 is never labelled, but predicted
        images.append(Reading(f"i{i}", torch.randn(4, 9, 11, generator=generator), label))
    label = torch.cat([image.label.flatten() for image in images]).numpy()
    predicted = torch.cat([image.scores.argmax(0).flatten() for image in images]).numpy()
    predicted, label = predicted[label != IGNORE], label[label != IGNORE]
    iou = [((label == c) & (predicted == c)).sum() / ((label == c) | (predicted == c)).sum() for c in range(4)]
    expected = np.mean([iou[c] for c in label])
    total = {"confusion": sum(FrequencyWeightedIou.count(image)["confusion"] for image in images)}
    assert FrequencyWeightedIou.metrics(total)["fw_iou"] == pytest.approx(expected, abs=1e-12)
