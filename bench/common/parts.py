"""The parts of a step by name, and a stopwatch that tells what each of them takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch.profiler import record_function

FIRST, REST = "data", "rest"
"""The part with which a step begins, and what is none."""


def now(device: torch.device) -> float:
    """Seconds, when ``device`` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def part(name: str) -> Iterator[None]:
    """What is done inside is the part ``name`` of a step, without the parts inside that have names themselves."""
    if Stopwatch.running is None:
        yield
    else:
        with Stopwatch.running.during(name), record_function(name):
            yield


class Stopwatch:
    """Times the parts of every step that is made while it runs; it waits for the device at the end of each."""

    running: ClassVar[Stopwatch | None] = None

    def __init__(self, device: torch.device, on_step: Callable[[], None] = lambda: None) -> None:
        self.device, self.on_step = device, on_step
        self.steps: list[dict[str, float]] = []
        """Seconds by part, ``REST`` included: the sum is the whole step's, to the beginning of the next."""
        self._within = [REST]
        self._since = 0.0

    def __enter__(self) -> Stopwatch:
        Stopwatch.running = self
        return self

    def __exit__(self, *_: object) -> None:
        Stopwatch.running = None

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Charge what is done inside to ``name``."""
        self._charge()
        if name == FIRST:
            self.on_step()
            self.steps.append(defaultdict(float))
        self._within.append(name)
        try:
            yield
        finally:
            self._charge()
            self._within.pop()

    def _charge(self) -> None:
        time_ = now(self.device)
        if self.steps:
            self.steps[-1][self._within[-1]] += time_ - self._since
        self._since = time_
