"""Processes that load data for another one."""

from __future__ import annotations

import signal

from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]


def follow_parent(worker: int) -> None:
    """What a loading process does first: leave signals to its parent, and end at once when that is killed.

    A terminal sends Ctrl-C to both, and a scheduler SIGTERM. Where a killed parent cannot be followed (it needs Linux),
    torch ends its loaders within seconds.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _prctl_pr_set_pdeathsig(signal.SIGKILL)
