"""What the benchmarks share: given features in place of a network, and peak memory of a call."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from methods.base import Features, Network

STRIDE = 4
"""Label pixels per feature cell."""


class GivenFeatures(Network):
    """Hands the images on as features, ``STRIDE`` times coarser than the labels."""

    stride = STRIDE

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, images: Tensor) -> Features:
        return Features(dense=images, pyramid=())


class Classes:
    """So many nameless classes."""

    def __init__(self, size: int) -> None:
        self.names = tuple(str(index) for index in range(size))
        self.colours = tuple((index, index, index) for index in range(size))

    def __len__(self) -> int:
        return len(self.names)


def peak_above(function: Callable[[], object], device: torch.device) -> int:
    """Bytes held at the peak beyond what was held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    peak = max(peak, process.memory_info().rss)
    done.set()
    watcher.join()
    return peak - before
