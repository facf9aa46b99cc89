"""Toyscapes at a size for tests: 64x128 and a handful of pictures per split, rendered in about two seconds.

It builds on another data set: it is toyscapes, with fewer and smaller pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from datasets.base import Split, Target
from datasets.toyscapes import DOMAINS, Toyscapes, splits_of

__all__ = ["ToyscapesMini"]


class ToyscapesMini(Toyscapes):
    """The same scenes, small and few."""

    name = "toyscapes_mini"
    title = "Toyscapes mini (for tests)"
    splits: ClassVar[Mapping[str, Split]] = splits_of(
        {"train": 12, **dict.fromkeys(("val", "test", *DOMAINS, "anomaly"), 6)}
    )
    cross_domain: ClassVar[Sequence[Target]] = tuple(Target("toyscapes_mini", domain) for domain in DOMAINS)
    anomaly: ClassVar[Sequence[Target]] = (Target("toyscapes_mini", "anomaly"),)
    image_size: ClassVar[tuple[int, int]] = (64, 128)
