"""Two processes that see no lock of the other never make the same run twice, and its record is whole."""

from __future__ import annotations

import errno
import fcntl
import signal
from functools import partial

import pytest

from tests.faults.conftest import arguments, numbers
from tests.faults.injection import At, send, started


def refuses(*_: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


def lies(*_: object) -> None:
    """As where locks hold on one machine alone."""


@pytest.mark.parametrize("flock", [refuses, lies])
def test_two_processes_without_locks_make_a_run_once(forked, finished, data_root, tmp_path, monkeypatch, flock):
    monkeypatch.setattr(fcntl, "flock", flock)
    results = tmp_path / "results"
    command = arguments("softmax", data_root, results)
    killed = forked(command, at=At("bench.training.loop.schedule", 4), action=partial(send, signal.SIGKILL))
    assert killed.code == -signal.SIGKILL
    outcomes = [ended() for ended in [started(command, tmp_path / name) for name in ("one", "two")]]
    first, second = sorted(outcomes)
    assert (first.code, second.code) in [(0, 0), (0, 2)], outcomes
    said = [outcome.stderr for outcome in outcomes]
    assert sum("training" in text or "resuming" in text for text in said) == 1, said
    assert "being computed by another process" in second.stderr or "finished already" in "".join(said)
    assert numbers(results) == numbers(finished("softmax"))
    assert not [*results.rglob(".claim-*"), *results.rglob("*.part")]
