"""Who works in a folder, told by a file in it: on any file system, with locks that work or without.

A claim is a file ``.claim-N`` that was made where none was, which a file system does for one process alone. While it is
held it is rewritten every ``BEAT`` seconds, with how far the work is, by a rename. A killed process leaves it there:
the next one makes ``.claim-N+1``, again alone, once the process is known to be gone on this machine, or has not been
heard of for ``STALE`` seconds. A process that slept so long finds that its claim counts no more, and ends.

Claims are for work that a second process shall leave alone. What is made once for many runs (codecs, sparse labels,
Toyscapes' pictures, converted files) it shall wait for and take over: that is a FileLock, with which the system wakes
who waits. Where locks do not work that costs time, or a command to be repeated, and no result: all of it is written
whole and is the same whoever makes it, while two that trained one run would overwrite each other's state for hours.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import psutil

from bench.common import files, interruption
from bench.common.console import ProgressBar
from bench.common.errors import UserError

PREFIX = ".claim-"
BEAT = 10.0
"""Seconds between two signs of life."""
STALE = 120.0
"""Seconds without one after which a process of another machine counts as gone: file systems may show it late."""


@cache
def machine() -> str:
    """Which processes this one can see: those since the machine started, in the same container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return platform.node()


@dataclass(frozen=True)
class Claim:
    """Who works, and how far that is."""

    host: str = ""
    machine: str = ""
    process: int = 0
    born: float = 0.0
    """When the process began, by which it is told from a later one of its number."""
    task: str = ""
    done: int = 0
    total: int | None = None
    detail: str = ""
    """The loss, in training."""
    rate: float = 0.0
    """Items a second."""

    @classmethod
    def now(cls) -> Claim:
        """That of this process."""
        process = os.getpid()
        me = cls(platform.node(), machine(), process, _born(process) or 0.0)
        for bar in ProgressBar.shown[-1:]:
            return replace(
                me, task=bar.description, done=bar.done, total=bar.total, detail=bar.detail, rate=round(bar.rate, 3)
            )
        return me

    @property
    def of(self) -> tuple[str, int, float]:
        """The process that made it."""
        return self.machine, self.process, self.born

    @property
    def seconds_left(self) -> float | None:
        """Of the task, at its rate."""
        return (self.total - self.done) / self.rate if self.total is not None and self.rate else None


@dataclass(frozen=True)
class Found:
    """A claim in a folder."""

    number: int
    claim: Claim
    age: float
    """Seconds since its last sign of life."""

    @property
    def alive(self) -> bool:
        """Whether its process works."""
        if self.claim.machine != machine():
            return self.age < STALE
        return _born(self.claim.process) == self.claim.born


def _born(process: int) -> float | None:
    """When a process of this machine began, by a clock that is never set; None if it is gone."""
    try:
        state, *numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else float(numbers[18])
    except OSError:  # gone, or no Linux
        pass
    try:
        found = psutil.Process(process)
        return None if psutil.LINUX or found.status() == psutil.STATUS_ZOMBIE else found.create_time()
    except psutil.NoSuchProcess:
        return None


class Held(UserError):
    """Another process works in the folder."""


def find(folder: Path, now: float | None = None) -> Found | None:
    """The claim that counts in ``folder``, if there is one. ``now`` is the time of the file system, if it is known."""
    numbers = _numbers(folder)
    if not numbers:
        return None
    number = max(numbers)
    try:
        with (folder / f"{PREFIX}{number}").open() as file:
            age = (time.time() if now is None else now) - os.fstat(file.fileno()).st_mtime
            content = file.read()
    except FileNotFoundError:  # it was given up meanwhile
        return None
    try:
        return Found(number, Claim(**json.loads(content)), age)
    except (ValueError, TypeError):  # made a moment ago and empty yet, or of another version
        return Found(number, Claim(), age)


def ahead(folder: Path) -> float:
    """Seconds by which the clock of the file system of ``folder``, which is made, is ahead of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime - time.time()


def _numbers(folder: Path) -> list[int]:
    ends = (path.name.removeprefix(PREFIX) for path in folder.glob(f"{PREFIX}*"))
    return [int(end) for end in ends if end.isdigit()]


@contextmanager
def claimed(folder: Path, what: str) -> Iterator[None]:
    """Work in ``folder``, which is made, as the only process. ``what`` it works on is said to one that comes second.

    Raises Held if another is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = _take(folder, what)
    path, ended = folder / f"{PREFIX}{number}", threading.Event()
    beats = threading.Thread(target=_beat, args=(path, number, what, ended), daemon=True)
    beats.start()
    try:
        yield
    finally:
        ended.set()
        beats.join()
        found = find(folder)
        if found is not None and found.number == number and found.claim.of == Claim.now().of:
            for old in sorted(_numbers(folder)):
                (folder / f"{PREFIX}{old}").unlink(missing_ok=True)


def _take(folder: Path, what: str) -> int:
    mine = folder / f"{PREFIX}by-{files.writer()}"
    mine.write_text(json.dumps(asdict(Claim.now())))
    try:
        # Its age by the clock of the file system, which need not be ours.
        found = find(folder, mine.stat().st_mtime)
        if found is not None and found.alive:
            raise Held(_said(what, found))
        number = 1 if found is None else found.number + 1
        path = folder / f"{PREFIX}{number}"
        try:
            _make(path, mine)
        except FileExistsError:
            raise Held(_said(what, find(folder))) from None
        return number
    finally:
        mine.unlink(missing_ok=True)


def _make(path: Path, mine: Path) -> None:
    """The claim at ``path`` with the content of ``mine``. Raises FileExistsError where there is one.

    By a link it has its content at once: one that a killed process leaves empty holds for ``STALE`` seconds.
    """
    try:
        path.hardlink_to(mine)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        path.open("x").close()
        mine.replace(path)


def _said(what: str, found: Found | None) -> str:
    by = "" if found is None or not found.claim.host else f" ({found.claim.process} on {found.claim.host})"
    return f"{what} is being computed by another process{by}; wait for it, or choose another --results folder"


def _beat(path: Path, number: int, what: str, ended: threading.Event) -> None:
    """Rewrite the claim from time to time; end the process when it counts no more."""
    mine = path.with_name(f"{PREFIX}by-{files.writer()}")
    while not ended.wait(BEAT):
        try:
            claim, found = Claim.now(), find(path.parent)
            if found is None or found.number != number or found.claim.of != claim.of:
                interruption.explain(f"{what} is made by another process meanwhile, for this one was not heard of")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            mine.write_text(json.dumps(asdict(claim)))
            mine.replace(path)
        except OSError:  # a full disk, a file server that is away for a moment: others wait for many beats
            with contextlib.suppress(OSError):
                mine.unlink(missing_ok=True)
