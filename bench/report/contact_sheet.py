"""Images of a data set beside their labels, for a person to see whether colours, order and alignment are right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from bench.common.console import progress
from bench.data.reading import evenly
from bench.report.pictures import WIDTH, coloured, grid, legend, overlay, panel
from datasets.base import ClassSet, Dataset
from datasets.class_sets import ANOMALY


def draw(splits: Sequence[Dataset], count: int) -> Image.Image:
    """A sheet with ``count`` images of each split, evenly spaced: image, labels, both, and the colours' names."""
    chosen = [(dataset, index) for dataset in splits for index in evenly(dataset, count)]
    rows = [[_row(dataset, index)] for dataset, index in progress(chosen, "drawing", len(chosen))]
    for classes in dict.fromkeys(map(_classes, splits)):
        rows.append([legend(classes, rows[0][0].width)])
    return grid(rows)


def _classes(dataset: Dataset) -> ClassSet:
    return ANOMALY if dataset.task == "anomaly" else dataset.classes


def _row(dataset: Dataset, index: int) -> Image.Image:
    sample, classes = dataset[index], _classes(dataset)
    height, width = sample.label.shape
    size = [max(round(height * WIDTH / width), 1), WIDTH]  # shrunk before it is coloured: labels shall not mix
    image: Tensor = TF.resize(sample.image, size, InterpolationMode.BILINEAR, antialias=True)
    label: Tensor = TF.resize(sample.label[None], size, InterpolationMode.NEAREST_EXACT)[0]
    pixels, both = image.permute(1, 2, 0).numpy(), overlay(image, label, classes)
    if dataset.task == "anomaly":  # what is as usual keeps its look
        both[label == 0] = pixels[label == 0]
    ids = ", ".join(map(str, torch.unique(sample.label).tolist()[:12]))
    return panel(
        [
            (f"{dataset.split}: {sample.id[-40:]}", pixels),
            (f"labels {ids} (void black)", coloured(label, classes)),
            ("both", both),
        ]
    )
