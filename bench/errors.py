"""The errors a user can cause. Each is one sentence with the remedy, shown without a traceback, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from datasets.base import DataError
from methods.base import MethodError


class UserError(Exception):
    """A mistake of the user's that the harness found."""


USER_ERRORS = (UserError, DataError, MethodError)
"""All of them: the contracts have their own types, since methods and datasets do not import the harness."""


class RunFailed(Exception):
    """A run that cannot go on (non-finite loss, say): its reason becomes a row, and the grid goes on."""


def near(name: str, known: Iterable[str]) -> str:
    """``"did you mean a, b?"`` plus what exists: the end of every sentence about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}there is {', '.join(names) if names else 'nothing'}"
