"""Random draws with the same values on every machine and under every NumPy version.

Only the raw 64-bit stream of PCG64 and SeedSequence are used, because NumPy guarantees those two; the
distributions of ``numpy.random.Generator`` may change between versions and may round differently where a
compiler fuses multiplication and addition. What is built on the stream here uses single IEEE operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Colour = tuple[float, float, float]
Floats = NDArray[Any]
"""float32 throughout; the stubs cannot follow that through arithmetic with Python floats."""
Mask = NDArray[np.bool_]

_BLOCK = 256


class Draw:
    """A stream of draws that depends on ``entropy`` alone."""

    def __init__(self, *entropy: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(entropy)))
        self._block: list[int] = []

    def unit(self) -> float:
        """A float in [0, 1) with 53 random bits."""
        if not self._block:
            self._block = self._bits.random_raw(_BLOCK).tolist()
        return (self._block.pop() >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.unit() < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of ``options``, each equally likely."""
        return options[int(self.unit() * len(options))]

    def side(self) -> float:
        """-1.0 or 1.0."""
        return -1.0 if self.chance(0.5) else 1.0

    def colour(self, options: Sequence[Colour], spread: float = 0.06) -> Colour:
        """One of ``options``, its brightness moved by up to 2.5 ``spread`` and each channel by up to one."""
        red, green, blue = self.choice(options)
        brightness = 1.0 + self.between(-2.5, 2.5) * spread
        return (
            red * brightness + self.between(-spread, spread),
            green * brightness + self.between(-spread, spread),
            blue * brightness + self.between(-spread, spread),
        )

    def uniform_field(self, height: int, width: int) -> Floats:
        """(height, width) independent values in [0, 1)."""
        raw = self._bits.random_raw(height * width).reshape(height, width)
        return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)

    def bell_field(self, height: int, width: int, channels: int) -> Floats:
        """(height, width, channels) independent values of mean 0 and variance 1, bell-shaped within +-2.5.

        Each is the scaled sum of two 8-bit uniforms, cheap and exact; a sensor's noise needs no longer tails.
        """
        count = height * width * channels
        raw = self._bits.random_raw((count + 3) // 4).astype("<u8").view("<u2")[:count]
        total = (raw & 255).astype(np.float32) + (raw >> 8).astype(np.float32)
        return ((total - 255.0) * np.float32(1.0 / 104.5)).reshape(height, width, channels)
