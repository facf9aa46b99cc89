"""Region maps that were computed elsewhere: one over-segmentation per image, such as SegSort's gPb-owt-ucm maps.

A folder holds ``<image id>.png`` (8 or 16 bit, ids as grey levels or palette indices) or ``<image id>.npy``
(integers, H x W) for every image; where image ids contain a slash, in subfolders. The ids of the regions mean nothing
beyond their image.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasets.base import DataError, Dataset, Sample
from datasets.integrity import DECODING_ERRORS, reason

SUFFIXES = (".png", ".npy")
MAX_ID = 2**24 - 1
"""Ids beyond this would not survive a resize in float32."""
SAMPLED = 16
"""Files that enter the fingerprint with their bytes."""


class RegionMaps:
    """The region maps of a data set's images in ``folder``.

    Raises DataError if the folder, or the map of an image, is missing.
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        if not self.folder.is_dir():
            raise DataError(f"there is no folder of region maps {self.folder}; correct data.regions")
        self.paths = [self._find(item.id) for item in dataset.items]

    def _find(self, image_id: str) -> Path:
        for suffix in SUFFIXES:
            path = self.folder / f"{image_id}{suffix}"
            if path.is_file():
                return path
        raise DataError(
            f"{self.dataset.name}: image {image_id} of split {self.dataset.split!r} has no region map "
            f"{self.folder / image_id}.png or .npy; compute the missing ones, or correct data.regions"
        )

    def of(self, index: int, sample: Sample) -> Tensor:
        """Regions (H, W) int32 of the ``sample`` that is image ``index`` of the data set.

        Raises DataError naming a file that is damaged, holds something else, or is of another size than the image.
        """
        path = self.paths[index]
        try:
            regions = self._decode(path)
        except DECODING_ERRORS as error:
            raise DataError(f"region map {path} cannot be read ({reason(error)}); compute it again") from error
        if regions.ndim != 2 or not np.issubdtype(regions.dtype, np.integer):
            raise DataError(
                f"region map {path} is {regions.dtype} of shape {regions.shape}, not integers of one channel; write it "
                "as a PNG of one channel with 8 or 16 bits, or as an integer .npy of (height, width)"
            )
        if regions.size and not 0 <= regions.min() <= regions.max() <= MAX_ID:
            raise DataError(f"region map {path} has ids outside 0..{MAX_ID}; number the regions of an image from 0")
        if regions.shape != tuple(sample.label.shape):
            (height, width), (image_height, image_width) = regions.shape, sample.label.shape
            raise DataError(
                f"region map {path} is {width}x{height} but its image is {image_width}x{image_height}; compute it at "
                "the image's own size"
            )
        return torch.from_numpy(regions.astype(np.int32))

    @staticmethod
    def _decode(path: Path) -> np.ndarray:
        if path.suffix == ".npy":
            loaded: np.ndarray = np.load(path, allow_pickle=False)
            return loaded
        with Image.open(path) as image:
            return np.asarray(image)


def fingerprint(folder: Path) -> str:
    """SHA-256 over all names in ``folder`` and the bytes of evenly spaced files; raises DataError if there is none."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES)
    if not paths:
        raise DataError(f"there are no region maps (.png or .npy) in {folder}; correct data.regions")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(folder).as_posix().encode(errors="surrogateescape") + b"\0")
    for index in np.unique(np.linspace(0, len(paths) - 1, SAMPLED).astype(int)):
        digest.update(paths[index].read_bytes())
    return digest.hexdigest()
