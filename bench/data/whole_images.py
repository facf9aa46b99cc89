"""Training images and label maps as prediction sees them: whole, not augmented, at the scale of inference."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.config.tables import InferenceConfig
from bench.data.reading import read_ahead
from bench.model.predictor import Predictor, resize, resize_labels
from datasets.base import Dataset, Sample
from methods.base import Batch, Method


def whole_label_maps(dataset: Dataset, inference: InferenceConfig) -> Iterator[Tensor]:
    """Training label maps (H, W) int64, whole and not augmented, at the scale of inference."""
    labels = (dataset.label(index).long() for index in range(len(dataset)))
    return (resize_labels(label[None], inference.network_size(*label.shape))[0] for label in labels)


def whole_batches(
    dataset: Dataset, inference: InferenceConfig, device: torch.device, method: Method, first: int = 0, every: int = 1
) -> Iterator[Batch]:
    """Training images with labels, whole and not augmented, one per batch, at the scale of inference.

    Of them each ``every``-th from ``first`` on.
    """
    predictor = Predictor(method, inference, device)
    for sample in read_ahead(dataset, range(first, len(dataset), every)):
        yield whole_batch(sample, predictor)


def whole_batch(sample: Sample, predictor: Predictor) -> Batch:
    """One image with its labels, whole and not augmented, at the scale and on the device of ``predictor``."""
    size = predictor.config.network_size(*sample.label.shape)
    image = sample.image.to(predictor.device).float().div_(255)[None]
    return Batch(resize(image, size), resize_labels(sample.label[None], size), (sample.id,)).to(predictor.device)
