"""Segments cut out of their images, to be drawn in rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from bench.common.console import note, progress
from bench.data.fingerprint import describe
from bench.data.whole_images import whole_batch
from bench.model.predictor import Predictor
from bench.report.explanation.retrieval import segment_map
from bench.runs.plan import Opener
from bench.schema.record import Record
from datasets.base import DataError, Dataset
from methods.capabilities import Explains

ASPECT = 4 / 3
"""Width over height of a tile, wherever the image allows it."""
CONTEXT = 1.8
"""Side of a tile relative to its segment: a segment is recognised by what is around it."""
SMALLEST = 0.4
"""Height of a tile relative to its image at least, for the same reason."""

Key = tuple[int, int]
"""A training image and the id of a segment in it."""


class Tile(NamedTuple):
    """A piece of an image around a segment."""

    pixels: np.ndarray
    """(h, w, 3) uint8 RGB."""
    mask: np.ndarray
    """(h, w) bool: the segment."""


def cut(image: np.ndarray, mask: np.ndarray) -> Tile:
    """The piece of ``image`` (H, W, 3) around ``mask`` (H, W): shaped by ``ASPECT``, and inside the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    tall = max(CONTEXT * height, CONTEXT * width / ASPECT, SMALLEST * mask.shape[0])
    box = [_inside((rows[0] + rows[-1] + 1) / 2, round(tall), mask.shape[0])]
    box.append(_inside((columns[0] + columns[-1] + 1) / 2, round(tall * ASPECT), mask.shape[1]))
    return Tile(image[box[0], box[1]], mask[box[0], box[1]])


def _inside(centre: float, extent: int, size: int) -> slice:
    extent = min(extent, size)
    first = min(max(round(centre - extent / 2), 0), size - extent)
    return slice(first, first + extent)


class TrainingImages:
    """The images that the evidence is from, in its order; without the data there are none."""

    def __init__(self, dataset: Dataset | None, predictor: Predictor) -> None:
        self.dataset, self.predictor = dataset, predictor

    @classmethod
    def of(cls, record: Record, open_: Opener, predictor: Predictor) -> TrainingImages:
        """Those of a run. Data that is missing, damaged or not what it was is noted and left out."""
        assert record.data is not None
        try:
            dataset = open_(record.data.name, record.data.split)
            if describe(dataset).fingerprint == record.data.fingerprint:
                return cls(dataset, predictor)
            reason = f"{dataset.folder} is not the data that the run was trained on"
        except DataError as error:
            reason = str(error)
        note(f"training segments are shown without their pictures: {reason}")
        return cls(None, predictor)

    @property
    def ids(self) -> list[str] | None:
        """Sample ids, or None without data."""
        return None if self.dataset is None else [item.id for item in self.dataset.items]

    @torch.no_grad()
    def tiles(self, wanted: Iterable[Key]) -> dict[Key, Tile]:
        """Cut out the segments of the training images, each image segmented once; empty without data."""
        if self.dataset is None:
            return {}
        method = self.predictor.method
        assert isinstance(method, Explains)
        by_image: dict[int, set[int]] = {}
        for image, segment in wanted:
            by_image.setdefault(image, set()).add(segment)
        found = {}
        for index in progress(sorted(by_image), "segmenting training images", len(by_image)):
            sample = self.dataset[index]
            batch = whole_batch(sample, self.predictor)
            cells = method.explain(batch.images).segments
            height, width = sample.label.shape
            segments = segment_map(cells, (batch.images.shape[-2], batch.images.shape[-1]), (height, width)).numpy()
            pixels = sample.image.permute(1, 2, 0).numpy()
            for segment in by_image[index]:
                mask = segments == segment
                if mask.any():
                    found[index, segment] = cut(pixels, mask)
        return found
