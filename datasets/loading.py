"""Processes that load data for another one."""

from __future__ import annotations

import signal
import sys
from types import TracebackType

from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]


def follow_parent(worker: int) -> None:
    """What a loading process does first: leave signals to its parent, and end at once when that is killed.

    A terminal sends Ctrl-C to both, and a scheduler SIGTERM. Where a killed parent cannot be followed (it needs Linux),
    torch ends its loaders within seconds.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _prctl_pr_set_pdeathsig(signal.SIGKILL)
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An exception of the thread that hands tensors over, but for a parent that was interrupted while it took one."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
