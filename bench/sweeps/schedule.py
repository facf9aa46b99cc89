"""From a plan to its records: what waits is started, what ended is looked at, and all of it is shown."""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.live import Live
from rich.table import Table

from bench.common import claims, interruption
from bench.common.console import console, note, styled
from bench.records.store import Store
from bench.runs.execute import fail
from bench.sweeps.launchers import Job, Launcher, NotStarted
from bench.sweeps.plan import Planned
from bench.sweeps.states import State, state

POLL = 0.5
"""Seconds between two looks."""
SHOWN = 20
"""Running runs in the table."""
PATIENCE = 60.0
"""Seconds that runs have to save their state at the end of an interrupted sweep."""


class Started(NamedTuple):
    """A run that was started here."""

    run: Planned
    job: Job


@dataclass
class Outcome:
    """What became of the runs, by id."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)


def work(runs: Sequence[Planned], store: Store, launcher: Launcher, protocols: Iterable[str] = ()) -> Outcome:
    """Make ``runs``. Those that other processes make are waited for, and taken over from one that is gone.

    When it is interrupted, what it started is asked to save its state.
    """
    asked, outcome = tuple(protocols), Outcome()
    waiting, started, room = deque(runs), dict[str, Started](), launcher.slots
    ahead = claims.ahead(store.root)

    def look(run: Planned) -> State:
        return state(store, run.run, asked, time.time() + ahead)

    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while waiting or started:
                for run_id, (run, job) in list(started.items()):
                    if (code := job.ended()) is not None:
                        del started[run_id]
                        room = launcher.slots
                        if not _settle(run, code, job.said, look(run), store, outcome):
                            waiting.append(run)
                for _ in range(len(waiting)):
                    if len(started) >= room:
                        break
                    run = waiting.popleft()
                    now = look(run).state
                    if now == "done":
                        outcome.done.append(run.run)
                    elif now == "running":  # elsewhere
                        waiting.append(run)
                    else:
                        try:
                            started[run.run] = Started(run, launcher.start(run.words, _log(store, run)))
                        except NotStarted as error:
                            if not started:
                                raise
                            note(f"{error}; {len(started)} are there, and the next is handed over when one has ended")
                            waiting.appendleft(run)
                            room = len(started)
                if console.is_terminal:
                    shown = [look(one.run) for one in list(started.values())[:SHOWN]]
                    live.update(board(shown, outcome, len(waiting), len(started)), refresh=True)
                interruption.check()
                time.sleep(POLL if waiting or started else 0)
        finally:
            for one in started.values():
                one.job.stop()
            until = time.monotonic() + PATIENCE
            while any(one.job.ended() is None for one in started.values()) and time.monotonic() < until:
                time.sleep(0.1)
    return outcome


def _log(store: Store, run: Planned) -> Path:
    return store.root / "sweeps" / "logs" / f"{run.run}.log"


STOPPED = {-1, -2, -9, -15, 130, 143}
"""Exit codes of a run that goes on when it is made again: SIGHUP, SIGINT, SIGKILL, SIGTERM; by others it crashed."""


def _settle(run: Planned, code: int, said: str, found: State, store: Store, outcome: Outcome) -> bool:
    """Enter what became of a run that ended; False if another process makes it."""
    if found.state == "running":
        return False
    if found.state == "done":
        outcome.done.append(run.run)
    elif code in STOPPED:
        why = said or "killed, by the system if memory ran out" * (code == -9)
        note(f"{run.run} was stopped{f' ({why})' * bool(why)}; the same command continues")
        outcome.interrupted.append(run.run)
    else:
        if found.state != "failed":
            fail(store, run.config, said or _last_words(_log(store, run), code))
        else:
            note(f"{run.run} failed: {found.reason}")
        outcome.failed.append(run.run)
    return True


def _last_words(log: Path, code: int) -> str:
    """Why a run ended, by its output."""
    if code < 0:
        return f"it crashed ({signal.strsignal(-code)}); its output is in {log}"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].removeprefix("error: ") if lines else f"it ended with exit code {code}"


def board(shown: Sequence[State], outcome: Outcome, waiting: int, started: int) -> Table:
    """The runs that are being made, and how many are not."""
    counts = {"running": started, "waiting": waiting, "done": len(outcome.done), "failed": len(outcome.failed)}
    return table(shown, ", ".join(f"{count} {name}" for name, count in counts.items()))


def table(shown: Iterable[State], caption: str) -> Table:
    """A row for each run."""
    made = Table(caption=caption)
    for heading in ("run", "state", "progress"):
        made.add_column(heading)
    for one in shown:
        made.add_row(styled(one.run), one.state, styled(one.progress or one.reason))
    return made


def counted(states: Iterable[State]) -> str:
    """How many runs are in which state."""
    counts = Counter(one.state for one in states)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


Chosen = Callable[[State], bool]
ONLY: dict[str | None, Chosen] = {
    None: lambda found: found.state != "done",
    "failed": lambda found: found.state == "failed",
    "missing": lambda found: found.state not in ("done", "failed"),
}
"""By the value of --only, which runs are made."""
