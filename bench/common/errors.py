"""The errors a user can cause. Each is one sentence with the remedy, shown without a traceback, exit code 2."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's. Data sets and methods have types for theirs, which derive from it."""


class RunFailed(Exception):
    """A run that cannot go on (non-finite loss, say): its reason becomes a row, and the grid goes on."""


class OutOfMemory(RunFailed):
    """Memory ran out: on this rank, of which the others know nothing."""


class RankLost(Exception):
    """Another rank has gone, so that this one cannot go on; without a text where one more rank says so."""


MANY = 40
"""Names that a sentence does not list any more: those of all data sets would bury the hint before them."""


def near(name: str, known: Iterable[str]) -> str:
    """``"did you mean a, b?"`` plus what exists: the end of every sentence about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    if len(names) > MANY:
        return f"{hint}`bench list methods` and its like show all {len(names)} names"
    return f"{hint}there is {', '.join(names) if names else 'nothing'}"


def first_line(error: BaseException) -> str:
    """What ``error`` says before its first line break; its type where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def disk_is_full(error: BaseException | None) -> bool:
    """Whether ``error``, or what it was raised from, is that of a full disk: every other run would meet it too."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def describe_os_error(error: OSError) -> str:
    """One sentence for a disk that is full or a folder that cannot be written."""
    if disk_is_full(error):
        return f"no space is left on the disk ({error.filename or 'while writing'}); free some and repeat the command"
    return f"{error.strerror or error} ({error.filename or 'no file named'}); correct it and repeat the command"
