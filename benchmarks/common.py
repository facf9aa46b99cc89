"""What the benchmarks share: given features in place of a network, and time and peak memory of a call."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

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


def now(device: torch.device) -> float:
    """Seconds: elapsed on an accelerator once its queue is empty, processor time on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def in_turns(functions: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = now(device)
            function()
            times[name].append(now(device) - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_elsewhere(*call: str) -> int:
    """Bytes that this script prints when it is called again with ``--peak`` and the ``call`` to look at.

    The allocator of a fresh process holds nothing back from earlier calls.
    """
    command = [sys.executable, *sys.argv, "--peak", *call]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


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
