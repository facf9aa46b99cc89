"""SIGINT and SIGTERM, handled alike in every phase of every command: one line, exit code 130 or 143, nothing lost.

The first signal raises ``Interrupted`` wherever the program is, or at the end of what is ``held``: a step of training,
a write. Python swallows an exception that is raised while it forks, collects garbage or calls a weak reference back,
and so may a library; the signal is therefore remembered, raised again soon, and looked at by every progress bar.

Imported before anything heavy, so that start-up is a phase like any other.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from bench.common.text import visible

SIGNALS = (signal.SIGINT, signal.SIGTERM)

ONE_REQUEST = 0.3
"""Seconds within which a second signal is the first one delivered twice, as ``timeout`` and some schedulers do."""

RAISED_AGAIN = 0.05
"""Seconds after which a swallowed exception is raised again."""

SHOW_CURSOR = b"\x1b[?25h\n"
"""Progress bars hide it, and at a second signal nothing is left that would show it."""


class Interrupted(BaseException):
    """A signal asks the program to end. No ``Exception``, so that nothing takes it for an error and goes on."""


class _State:
    """Of this process. A forked child ignores the signals, which are its parent's to answer."""

    process = 0
    received: int | None = None
    at = 0.0
    held = 0
    swallowed = False
    explanation = ""


def received() -> int | None:
    """The signal that asked this process to end, if one did."""
    return _State.received


def receive(number: int) -> None:
    """Take a signal that another rank received as received here."""
    _State.received = _State.received or number


def explain(sentence: str) -> None:
    """What to say of an interruption that says nothing itself, whenever its signal comes."""
    _State.explanation = sentence


def check() -> None:
    """Raise Interrupted if a signal was received and nothing is held."""
    if _State.received is not None and not _State.held:
        _State.swallowed = False
        raise Interrupted


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let a signal that arrives inside take effect at the end; a second one ends the process all the same."""
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
    check()


def run(command: Callable[[], Any]) -> Any:
    """Call ``command`` with both signals handled. If one arrives, print one line and exit with 128 + its number."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook
    _State.process, _State.received, _State.held, _State.explanation = os.getpid(), None, 0, ""
    sys.unraisablehook = functools.partial(_raise_again, hook)
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # which a shell sets for what it runs in the background
            signal.signal(number, _handle)
    where = ""
    try:
        result = command()
        check()
        return result
    except BaseException as error:  # whatever a signal brought about on its way
        if _State.received is None:
            raise
        said = (isinstance(error, Interrupted) and str(error)) or _State.explanation
        where = f": {said}" if said else ""
    finally:
        if _State.received is None:
            _restore(before, hook)
    # Past the handler the traceback is gone, and with it what its frames kept open: progress bars, loading processes.
    code = 128 + _State.received
    if where or os.environ.get("RANK", "0") == "0":  # else as many lines as ranks
        with contextlib.suppress(OSError, ValueError):  # the listener may be gone
            print(visible(f"interrupted{where}; the same command continues"), file=sys.stderr, flush=True)
    _restore(before, hook)
    sys.exit(code)


def _restore(handlers: dict[int, Any], hook: Callable[[Any], Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
    sys.unraisablehook, _State.received = hook, None


def _handle(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _State.process:
        return
    if _State.received is None:
        _State.received, _State.at = number, time.monotonic()
        check()
    elif time.monotonic() - _State.at > ONE_REQUEST:
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
        os._exit(128 + number)


def _raise_again(hook: Callable[[Any], Any], unraisable: Any) -> None:
    """What ``sys.unraisablehook`` does: an Interrupted that was swallowed is no news, but its signal is still there."""
    if not isinstance(unraisable.exc_value, Interrupted):
        hook(unraisable)
        return
    _State.swallowed = True
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda number, frame: check() if _State.swallowed else None)
        signal.setitimer(signal.ITIMER_REAL, RAISED_AGAIN)
