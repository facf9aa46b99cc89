"""Connected regions of a label map, which stand for the things a person would point at, stroke or outline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected

from datasets.base import IGNORE

AREA_SHARE = 1 / 2000
"""Regions below this share of the image are left out (86 pixels at 480x360): annotators leave such specks out."""
REFERENCE_SIDE = 375
"""The short side of PASCAL VOC's images, on which papers draw strokes 3 pixels wide. Elsewhere the width is in
proportion, so that a kind labels much the same share of small and large images."""


@dataclass(frozen=True)
class Region:
    """One 8-connected region of a class."""

    class_id: int
    box: tuple[slice, slice]
    """Rows and columns of the bounding box in the label map."""
    mask: np.ndarray
    """(h, w) bool within the box."""
    solid: np.ndarray
    """(h, w) bool: the mask with its specks filled, as a person sees it."""
    distance: np.ndarray
    """(h, w) float64: distance to the nearest pixel outside ``solid``, the image's edge counting as outside."""

    @property
    def reach(self) -> float:
        """Half the width of the region at its widest place, in pixels."""
        return float(self.distance[self.mask].max())

    @property
    def innermost(self) -> np.ndarray:
        """(h, w) bool: the pixels at the widest place."""
        innermost: np.ndarray = self.mask & (self.distance == self.reach)
        return innermost

    def distance_beyond(self, size: tuple[int, int]) -> np.ndarray:
        """(h, w) float64: as ``distance``, but as if the region went on outside an image of that (height, width)."""
        framed = np.pad(self.solid, 1)
        rows, columns = self.box
        for open_, frame, edge in (
            (rows.start == 0, np.s_[0, :], np.s_[1, :]),
            (rows.stop == size[0], np.s_[-1, :], np.s_[-2, :]),
            (columns.start == 0, np.s_[:, 0], np.s_[:, 1]),
            (columns.stop == size[1], np.s_[:, -1], np.s_[:, -2]),
        ):
            if open_:
                framed[frame] = framed[edge]
        if framed.all():
            return np.full(self.mask.shape, np.inf)
        return ndimage.distance_transform_edt(framed)[1:-1, 1:-1]


def minimum_area(size: tuple[int, int]) -> int:
    """The smallest area, in pixels, that is annotated for its own sake in an image of that (height, width)."""
    return max(4, round(AREA_SHARE * size[0] * size[1]))


def brush_width(size: tuple[int, int]) -> int:
    """Width of a drawn point or line in pixels: 3 on VOC's images and in proportion on others, odd, at least 1."""
    return 2 * int(3 * min(size) / REFERENCE_SIDE / 2) + 1


def regions(label: np.ndarray) -> Iterator[Region]:
    """The regions to annotate in a dense label map (H, W) uint8.

    All regions of the minimum area, and of every class that is present the largest one however small it is, so
    that the annotation always tells which classes an image contains.
    """
    numbered, count = connected(label.astype(np.int32) + 1, background=IGNORE + 1, connectivity=2, return_num=True)
    area = np.bincount(numbered.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(numbered)
    first = [np.argmax(numbered[box] == number) for number, box in enumerate(boxes, 1)]
    classes = [int(label[box].flat[index]) for box, index in zip(boxes, first)]
    largest: dict[int, int] = {}
    for number, class_id in enumerate(classes, 1):
        if class_id not in largest or area[number] > area[largest[class_id]]:
            largest[class_id] = number
    least = minimum_area((label.shape[0], label.shape[1]))
    for number, ((rows, columns), class_id) in enumerate(zip(boxes, classes), 1):
        if area[number] >= least or largest[class_id] == number:
            mask = numbered[rows, columns] == number
            solid = _filled(mask, least)
            distance = ndimage.distance_transform_edt(np.pad(solid, 1))[1:-1, 1:-1]
            yield Region(class_id, (rows, columns), mask, solid, distance)


def _filled(mask: np.ndarray, least: int) -> np.ndarray:
    """``mask`` without its holes of less than ``least`` pixels."""
    holes, count = ndimage.label(~np.pad(mask, 1))
    small = np.bincount(holes.ravel(), minlength=count + 1) < least
    small[[0, holes[0, 0]]] = False  # the region itself, and what surrounds it
    return mask | small[holes][1:-1, 1:-1]
