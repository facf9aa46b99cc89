"""What methods and data sets show on standard error while work is long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.common.text import visible


def note(text: str) -> None:
    """Print one line unless BENCH_QUIET is 1."""
    Console(stderr=True, quiet=_is_quiet()).print(visible(text), soft_wrap=True, markup=False, highlight=False)


@contextmanager
def progress_bar(title: str, count: int) -> Iterator[Callable[[], None]]:
    """Yield what advances a progress bar, which is drawn on a terminal unless BENCH_QUIET is 1."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=_is_quiet() or not console.is_terminal) as progress:
        task = progress.add_task(visible(title), total=count)
        yield lambda: progress.advance(task)


def _is_quiet() -> bool:
    return os.environ.get("BENCH_QUIET") == "1"
