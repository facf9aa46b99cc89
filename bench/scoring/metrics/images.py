"""What the streaming metrics share: image ids that are counted once, host arrays, ratios of counts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

VOID = 255
"""Label of a pixel that no metric may look at."""


class DuplicateImage(ValueError):
    """An image was counted twice, e.g. by a distributed sampler that pads the last batch."""


class NonFiniteScore(ValueError):
    """A score map holds NaN or infinity; the message names the image."""

    def __init__(self, image_id: str, what: str = "score") -> None:
        super().__init__(f"image {image_id!r}: non-finite {what}; every valid pixel needs a finite one")
        self.image_id = image_id


class ImageIds:
    """The ids of the images counted so far, in the order of counting, each at most once."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, image_id: str) -> None:
        """Note one image; raises ``DuplicateImage`` if it was there before."""
        if image_id in self._ids:
            raise DuplicateImage(f"image {image_id!r} is counted twice")
        self._ids[image_id] = None

    def extend(self, image_ids: Iterable[str]) -> None:
        """Note the images of another shard; raises ``DuplicateImage``, and then notes none of them."""
        new = list(image_ids)
        for image_id in new:
            if image_id in self._ids:
                raise DuplicateImage(f"image {image_id!r} is counted by both sides of a merge")
        self._ids.update(dict.fromkeys(new))

    def places(self, image_ids: Iterable[str]) -> list[tuple[str, int]]:
        """Some of the images and where they stand; raises ``KeyError`` for one that was not counted."""
        place = {image_id: i for i, image_id in enumerate(self._ids)}
        return [(image_id, place[image_id]) for image_id in image_ids]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._ids


def as_numpy(values: Tensor | ArrayLike) -> NDArray[Any]:
    """The values on the host, without a copy where they are there already."""
    torch = sys.modules.get("torch")  # without it loaded, nothing is a tensor
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """The quotient in float64, NaN without a warning where the denominator is zero; both of one shape."""
    below = np.asarray(denominator)
    quotient = np.full_like(below, np.nan, dtype=np.float64)  # in the order of memory
    np.divide(np.asarray(numerator), below, out=quotient, where=below != 0)
    return quotient
