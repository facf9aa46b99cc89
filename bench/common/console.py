"""What the user sees while work is long: progress bars on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import ClassVar, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bench.common import interruption
from bench.common.text import visible
from bench.common.verbosity import is_quiet

T = TypeVar("T")

console = Console(stderr=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
"""Progress and notes go to standard error, so that tables on standard output can be piped; the first rank speaks."""


class Output(Console):
    """Standard output for tables."""

    def on_broken_pipe(self) -> None:
        """Leave what to do when a reader such as `head` has read enough to the command, as for all that it prints."""
        raise


QUIET_INTERVAL = 30.0
"""Seconds between lines where there is no terminal to draw a bar on."""


def note(text: str) -> None:
    """Print one line."""
    console.print(visible(text), soft_wrap=True, markup=False)


def remark(text: str) -> None:
    """``note`` of what is only good to know: ``-q`` silences it."""
    if not is_quiet():
        note(text)


def styled(text: str, style: str = "") -> Text:
    """``text`` for a table of rich, which would read square brackets in a string as markup."""
    return Text(visible(text), style)


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar, or with a line every half minute where output is not a terminal."""
    with ProgressBar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()


class ProgressBar:
    """A progress bar that also works where output is not a terminal, silent after ``-q``. Use as a context manager."""

    shown: ClassVar[list[ProgressBar]] = []
    """Those of this process, the innermost last."""

    def __init__(self, description: str, total: int | None, done: int = 0) -> None:
        self.description, self.total, self.done, self.detail = visible(description), total, done, ""
        self._bar: Progress | None = None
        self._first, self._began = done, time.monotonic()
        self._last = self._began

    @property
    def rate(self) -> float:
        """Items a second."""
        return (self.done - self._first) / max(time.monotonic() - self._began, 1e-9)

    def __enter__(self) -> ProgressBar:
        ProgressBar.shown.append(self)
        if console.is_terminal and not is_quiet():
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(self.description, total=self.total, completed=self.done, detail="")
            self._bar.start()
        return self

    def advance(self, detail: str = "") -> None:
        """One more item is done. Raises Interrupted if a signal asked for it."""
        interruption.check()
        self.done, self.detail = self.done + 1, detail
        if self._bar is not None:
            self._bar.update(self._task, advance=1, detail=visible(detail))
        elif time.monotonic() - self._last > QUIET_INTERVAL and not is_quiet():
            self._last = time.monotonic()
            of = f"/{self.total}" if self.total else ""
            note(f"{self.description}: {self.done}{of} {detail}".rstrip())

    def __exit__(self, *_: object) -> None:
        ProgressBar.shown.remove(self)
        if self._bar is not None:
            self._bar.stop()
