"""The fifteen corruptions of ImageNet-C at their five strengths, made of the images of any data set as they are read.

Defined by Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions and
perturbations", and computed by the package imagecorruptions-imaug, which has them for images of any size.
"""

from __future__ import annotations

import hashlib
from itertools import chain, product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from bench.common.errors import UserError
from datasets.base import DataError, Dataset, Item, Sample

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(chain.from_iterable(GROUPS.values()))
STRENGTHS = (1, 2, 3, 4, 5)

LEAST_SIDE = 32
"""Pixels below which the corruptions are not defined."""

_DRAWING = Lock()
"""Held while NumPy's global generator is seeded for one image: several threads decode."""


def require_installed() -> Any:
    """The package that makes the corruptions. Raises UserError if it cannot be imported."""
    try:
        import cv2
        import imagecorruptions
    except ImportError as error:
        raise UserError(
            f"the corruptions need imagecorruptions, which cannot be imported ({error}); pip install "
            "'genseg-bench[corruptions]'"
        ) from None
    cv2.setNumThreads(0)  # its threads would not survive the fork into loading processes
    return imagecorruptions


def corrupt(pixels: np.ndarray, corruption: str, strength: int, seed: int) -> np.ndarray:
    """``pixels`` (H, W, 3) uint8, both sides of at least ``LEAST_SIDE``, under a corruption: (H, W, 3) uint8."""
    # These two draw from generators that they make themselves, the others from NumPy's global one.
    own = {"seed": seed} if corruption in ("impulse_noise", "glass_blur") else {}
    with _DRAWING:
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            made: np.ndarray = require_installed().corrupt(pixels, strength, corruption, **own)
        finally:
            np.random.set_state(state)
    return made


def seed_of(image_id: str, corruption: str, strength: int) -> int:
    """What an image is corrupted with: the same on every machine, of 32 bits."""
    digest = hashlib.blake2b(repr((image_id, corruption, strength)).encode(errors="surrogateescape"), digest_size=4)
    return int.from_bytes(digest.digest(), "big")


class Corrupted(Dataset):
    """The images of a data set under every corruption at every strength, with the labels that they have.

    One corruption after the other, each from the first strength to the last, and within each strength all images; ids
    are ``CORRUPTION-STRENGTH/ID``.
    """

    def __init__(self, clean: Dataset) -> None:
        for fact in Dataset.__annotations__:
            setattr(self, fact, getattr(clean, fact))
        self.clean, self.split, self.root = clean, clean.split, clean.root
        self.variants = [*product(CORRUPTIONS, STRENGTHS)]
        self.items = [
            item._replace(id=f"{corruption}-{strength}/{item.id}")
            for corruption, strength in self.variants
            for item in clean.items
        ]
        blank = np.zeros((LEAST_SIDE, LEAST_SIDE, 3), np.uint8)
        for strength in (1, 3):  # compiled here, for both types of its settings, and not in every loading process
            corrupt(blank, "glass_blur", strength, 0)

    @property
    def folder(self) -> Path:
        """That of the clean images."""
        return self.clean.folder

    def find(self) -> list[Item]:
        """The items of the clean data set, once for each corruption and strength."""
        return self.items

    def __getitem__(self, index: int) -> Sample:
        """Decode an image and corrupt it; raises DataError for one that is damaged or too small."""
        import torch

        variant, place = divmod(index, len(self.clean))
        corruption, strength = self.variants[variant]
        sample = self.clean[place]
        height, width = sample.image.shape[1:]
        if min(height, width) < LEAST_SIDE:
            raise DataError(
                f"{self.name}: image {sample.id} is {width}x{height}, but corruptions want at least {LEAST_SIDE} "
                "pixels a side; leave the protocol corruptions out"
            )
        pixels = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        made = corrupt(pixels, corruption, strength, seed_of(sample.id, corruption, strength))
        image = torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1)))
        return Sample(image, sample.label, self.items[index].id)
