"""One process works in a folder, whatever the file system says of locks, and whoever is gone is followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.common import claims
from bench.common.console import ProgressBar

HOLDING = """
import sys
from pathlib import Path
from bench.common.claims import claimed
with claimed(Path(sys.argv[1]), "run r"):
    print("working", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holding(tmp_path):
    """A process that works in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "working\n"
    yield process
    process.kill()
    process.communicate()


def elsewhere(folder: Path, age: float) -> None:
    """Let the claim be of another machine, heard of ``age`` seconds ago."""
    found = claims.find(folder)
    path = folder / f"{claims.PREFIX}{found.number}"
    path.write_text(json.dumps(asdict(replace(found.claim, machine="another", host="node7"))))
    os.utime(path, (time.time() - age,) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_process_is_told_and_the_first_leaves_nothing(holding, tmp_path):
    with pytest.raises(claims.Held, match=f"run r is being computed by another process \\({holding.pid} on "):
        claims.claimed(tmp_path, "run r").__enter__()
    holding.communicate("")
    with claims.claimed(tmp_path, "run r"):
        assert names(tmp_path) == [".claim-1"]
    assert names(tmp_path) == []


def test_a_killed_process_is_followed_at_once(holding, tmp_path):
    holding.kill()
    holding.wait()
    assert not claims.find(tmp_path).alive
    with claims.claimed(tmp_path, "run r"):
        assert claims.find(tmp_path).claim.process == os.getpid()
    assert names(tmp_path) == []


def test_a_process_that_was_killed_and_not_buried_is_gone_too(holding, tmp_path):
    os.kill(holding.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holding.pid, os.WEXITED | os.WNOWAIT)
    assert not claims.find(tmp_path).alive


def test_another_machine_is_believed_until_it_was_not_heard_of_for_long(holding, tmp_path):
    elsewhere(tmp_path, claims.STALE - 30)
    with pytest.raises(claims.Held, match="on node7"):
        claims.claimed(tmp_path, "run r").__enter__()
    elsewhere(tmp_path, claims.STALE + 30)
    with claims.claimed(tmp_path, "run r"):
        assert claims.find(tmp_path).number == 2


def test_of_many_that_follow_one_works(holding, tmp_path):
    elsewhere(tmp_path, claims.STALE + 30)
    began, working, held = threading.Barrier(16), [], []

    def follow() -> None:
        began.wait()
        try:
            with claims.claimed(tmp_path, "run r"):
                working.append(1)
                together.append(len(working))
                time.sleep(0.2)
                working.pop()
        except claims.Held:
            held.append(1)

    together: list[int] = []
    threads = [threading.Thread(target=follow) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1]
    assert len(held) == 15


def test_a_claim_that_is_empty_yet_counts(tmp_path):
    (tmp_path / ".claim-1").touch()
    with pytest.raises(claims.Held):
        claims.claimed(tmp_path, "run r").__enter__()


def test_a_claim_is_never_empty_where_files_can_be_linked(tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    working = claims.claimed(tmp_path, "run r")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        working.__enter__()
    assert claims.find(tmp_path).claim.process == os.getpid()


def test_without_links_one_of_two_works_too(tmp_path, monkeypatch):
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with claims.claimed(tmp_path, "run r"):
        assert names(tmp_path) == [".claim-1"]
        with pytest.raises(claims.Held):
            claims.claimed(tmp_path, "run s").__enter__()
    assert names(tmp_path) == []


def test_what_is_shown_is_told_with_every_beat(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    with claims.claimed(tmp_path, "run r"), ProgressBar("training", 10, 4) as bar:
        bar.advance("loss 0.5")
        until = time.monotonic() + 5
        while not (claim := claims.find(tmp_path).claim).task and time.monotonic() < until:
            time.sleep(0.02)
        assert (claim.task, claim.done, claim.total, claim.detail) == ("training", 5, 10, "loss 0.5")
        assert claim.seconds_left == pytest.approx(5 / claim.rate)
    assert names(tmp_path) == []


def test_a_process_that_was_followed_ends_and_leaves_the_claim_of_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    received = []
    monkeypatch.setattr(claims.os, "kill", lambda process, number: received.append((process, number)))
    with claims.claimed(tmp_path, "run r"):
        (tmp_path / ".claim-2").write_text((tmp_path / ".claim-1").read_text())
        elsewhere(tmp_path, 0)
        until = time.monotonic() + 5
        while not received and time.monotonic() < until:
            time.sleep(0.02)
    assert received == [(os.getpid(), signal.SIGTERM)]
    assert ".claim-2" in names(tmp_path)
