"""The command line in a process that receives a signal at a chosen call, and not at a chosen time.

A forked child has imported everything already. ``python tests/faults/injection.py`` does the same in a process that
has imported nothing, for what only such a one can show.
"""

from __future__ import annotations

import importlib
import importlib.abc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple


class At(NamedTuple):
    """The ``nth`` call of what is called ``name``, before it does anything."""

    name: str
    nth: int = 1


def send(number: int, group: bool = False) -> None:
    """A signal to this process, or as a terminal does to its whole group."""
    os.killpg(os.getpgrp(), number) if group else os.kill(os.getpid(), number)


def strike(at: At, action: Callable[[], None]) -> None:
    """Do ``action`` at a call in this process, and in no process that it forks."""
    owner, attribute = _owner(at.name)
    original, process, calls = getattr(owner, attribute), os.getpid(), 0

    def struck(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += os.getpid() == process
        if os.getpid() == process and calls == at.nth:
            action()
        return original(*arguments, **named)

    setattr(owner, attribute, struck)


def _owner(name: str) -> tuple[Any, str]:
    """``module.Class`` and ``method`` of ``module.Class.method``."""
    *path, attribute = name.split(".")
    owner: Any = importlib.import_module(path[0])
    for depth, part in enumerate(path[1:], start=2):
        owner = getattr(owner, part, None) or importlib.import_module(".".join(path[:depth]))
    return owner, attribute


def strike_call(number: int, action: Callable[[], None]) -> None:
    """Do ``action`` at the ``number``-th call of any function in this thread."""
    remaining = number

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal remaining
        remaining -= event == "call"
        if remaining == 0:
            sys.setprofile(None)
            action()

    sys.setprofile(count)


class Outcome(NamedTuple):
    """How a child ended: its exit code, that of a killed one negative, and what it wrote to standard error."""

    code: int
    stderr: str


def forked(
    arguments: Iterable[str], log: Path, at: At | int | None = None, action: Callable[[], None] = lambda: None
) -> Outcome:
    """``bench`` in a forked child that leads a process group, with ``action`` done at ``at``, a number of any calls."""
    return started(arguments, log, at, action)()


def started(
    arguments: Iterable[str], log: Path, at: At | int | None = None, action: Callable[[], None] = lambda: None
) -> Callable[[], Outcome]:
    """``forked`` that does not wait for the child, but returns what does."""

    def child() -> None:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["bench", *arguments]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from bench.__main__ import main

        if isinstance(at, int):
            strike_call(at, action)
        elif at is not None:
            strike(at, action)
        main()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()

    def ended() -> Outcome:
        process.join()
        assert process.exitcode is not None
        return Outcome(process.exitcode, log.read_text())

    return ended


class _AtImport(importlib.abc.MetaPathFinder):
    """Finds nothing, and does ``action`` when ``name`` is imported first."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self.action = name, action

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == self.name:
            self.name = ""
            self.action()


if __name__ == "__main__":
    # SIGNAL import MODULE | SIGNAL call NAME NTH RANK | SIGNAL launcher NAME NTH RANK, then -- and bench's arguments.
    # With 0 for a signal the call raises an error.
    import time

    from bench.common import interruption

    split = sys.argv.index("--")
    number, kind, name, *rest = sys.argv[1:split]
    sys.argv = ["bench", *sys.argv[split + 1 :]]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests without it

    def strike_now() -> None:
        if int(number) == 0:
            raise ValueError("struck")
        os.kill(os.getppid() if kind == "launcher" else os.getpid(), int(number))
        while kind == "launcher" and interruption.received() is None:  # it is passed on
            time.sleep(0.01)

    if kind == "import":
        sys.meta_path.insert(0, _AtImport(name, strike_now))
    elif os.environ["RANK"] == rest[1]:
        strike(At(name, int(rest[0])), strike_now)
    from bench.__main__ import main

    main()
