"""How much a command tells beside its results: by environment variables, which the processes it starts inherit."""

import os

QUIET, VERBOSE = "BENCH_QUIET", "BENCH_VERBOSE"


def is_quiet() -> bool:
    """Whether progress, remarks and the command that comes next are left out (``-q``)."""
    return os.environ.get(QUIET) == "1"


def is_verbose() -> bool:
    """Whether plans and tracebacks are told (``-v``)."""
    return os.environ.get(VERBOSE) == "1"
