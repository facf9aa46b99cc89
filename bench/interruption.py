"""Stopping between two steps of training."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from bench.console import note


class Interrupted(Exception):
    """Training was asked to stop and has saved its state."""


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a flag, so that a step is never cut in half; the second one kills."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for signal_number, handler in self._previous.items():
            signal.signal(signal_number, handler)
        note("stopping after this step; once more to stop at once")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
