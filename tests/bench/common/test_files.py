"""Files are whole or absent, and what is read is what was written."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.common import files

KILLED = """
import os, signal, sys
from pathlib import Path
from bench.common import files
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
files.write(Path(sys.argv[1]), b"x" * 100_000)
"""
HELD = """
import os, sys
from pathlib import Path
from bench.common import files
def hold(handle):
    print("writing", flush=True)
    sys.stdin.read()
os.fsync = hold
files.write(Path(sys.argv[1]), b"theirs")
"""
WAITING = """
import sys
from pathlib import Path
from bench.common import files, interruption
interruption.run(lambda: (print("waiting", flush=True), files.write(Path(sys.argv[1]), b"x")))
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(path)]
    home = Path(files.__file__).parents[2]
    return subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "file"
    files.write(path, b"one", memoryview(b"two"), "drei ü")
    assert path.read_text(encoding="utf-8") == "onetwodrei ü"
    files.write(path, b"")
    assert path.read_bytes() == b""
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written_whole(tmp_path, there):
    link, target = tmp_path / "link", tmp_path / "real" / "target"
    link.symlink_to("real/target")
    if there:
        files.write(target, b"old")
    files.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert (names(tmp_path), names(target.parent)) == (["link", "real"], ["target"])


def test_a_failed_write_through_a_link_leaves_the_old_target_and_names_the_link(tmp_path, monkeypatch):
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_bytes(b"old")
    link.symlink_to(target)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(link, b"new")
    assert caught.value.filename == str(link)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["link", "target"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe, link, read = tmp_path / "pipe", tmp_path / "link", list[bytes]()
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
        reader.start()
        files.write(path, b"one", "zwei")
        reader.join(10)
    assert read == [b"onezwei"] * 2
    assert pipe.is_fifo()
    assert names(tmp_path) == ["link", "pipe"]


def test_a_pipe_that_none_reads_is_given_up_at_a_signal(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    waiting = start(WAITING, tmp_path / "pipe")
    assert waiting.stdout.readline() == "waiting\n"
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(10) == 130


def test_an_open_pipe_is_written_to_by_its_name_among_the_devices(tmp_path):
    """As ``--out /dev/stdout`` is, before ``| head``: what the link leads to is no path."""
    reader, writer = os.pipe()
    link = tmp_path / "stdout"
    link.symlink_to(f"/proc/self/fd/{writer}")
    if not link.exists():
        pytest.skip("open files have no names here")
    files.write(link, b"text")
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"text"
    assert link.is_symlink()


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_names_it(tmp_path, monkeypatch, place):
    path = tmp_path / "file"
    files.write(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if place == "fsync" else Path, place, full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_taken_over_by_the_next_writer(tmp_path):
    path = tmp_path / "file"
    assert start(KILLED, path).wait() < 0
    assert names(tmp_path) == [".file.part"]
    files.write(path, b"short")
    assert path.read_bytes() == b"short"
    assert names(tmp_path) == ["file"]


def test_a_sweep_takes_what_killed_processes_left_and_nothing_that_is_being_written(tmp_path):
    assert start(KILLED, tmp_path / "killed").wait() < 0
    (tmp_path / ".model.x7_k2.part").write_bytes(b"of an older version")
    (tmp_path / ".lock").touch()
    live = start(HELD, tmp_path / "live")
    assert live.stdout.readline() == "writing\n"
    files.sweep(tmp_path)
    assert names(tmp_path) == [".live.part", ".lock"]
    live.communicate("")
    assert live.returncode == 0
    assert (tmp_path / "live").read_bytes() == b"theirs"
    assert names(tmp_path) == [".lock", "live"]
    files.sweep(tmp_path / "absent")


def test_a_second_writer_waits_for_the_first(tmp_path):
    path = tmp_path / "file"
    first = start(HELD, path)
    assert first.stdout.readline() == "writing\n"
    second = threading.Thread(target=files.write, args=(path, b"ours"))
    second.start()
    first.communicate("")
    second.join()
    assert path.read_bytes() == b"ours"
    assert names(tmp_path) == ["file"]


def test_writers_of_one_file_never_mix(tmp_path):
    path = tmp_path / "file"

    def write_often(letter: bytes) -> None:
        for _ in range(30):
            files.write(path, letter * 50_000)

    writers = [threading.Thread(target=write_often, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = path.read_bytes()
    assert len(content) == 50_000
    assert len({*content}) == 1
    assert names(tmp_path) == ["file"]


@pytest.fixture
def no_locks(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_writers_of_one_file_never_mix_without_locks(tmp_path):
    test_writers_of_one_file_never_mix(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_what_is_left_over_is_told_by_its_age(tmp_path):
    for name, age in (("old", files.LEFT_OVER + 60), ("new", 60)):
        path = tmp_path / f".{name}.host-1-1.part"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    files.sweep(tmp_path)
    assert names(tmp_path) == [".new.host-1-1.part"]


CONTENT = b"line\nanother\n\x00\xff" * 50


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "sealed"
    files.write_sealed(path, CONTENT, "numbers of a test")
    return path


def test_a_sealed_file_gives_back_its_content(sealed, tmp_path):
    assert files.read_sealed(sealed, "numbers of a test") == CONTENT
    files.write_sealed(tmp_path / "empty", b"", "nothing")
    assert files.read_sealed(tmp_path / "empty", "nothing") == b""


def test_no_flipped_bit_and_no_cut_of_a_sealed_file_is_read(sealed):
    whole = sealed.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :] for i in range(len(whole)) for bit in (1, 128)]
    cut = [whole[:i] for i in range(len(whole))]
    for content in [*flipped, *cut, whole + b"\n", b"\n" * 4, CONTENT]:
        sealed.write_bytes(content)
        with pytest.raises(files.Damaged, match=str(sealed)):
            files.read_sealed(sealed, "numbers of a test")


def test_a_sealed_file_is_read_only_as_what_it_is_about(sealed):
    with pytest.raises(files.Damaged, match="about numbers of a test, not other numbers"):
        files.read_sealed(sealed, "other numbers")


def test_a_sealed_file_of_a_later_format_says_so(sealed):
    sealed.write_bytes(sealed.read_bytes().replace(b"file 1\n", b"file 2\n", 1))
    with pytest.raises(files.Damaged, match="another format"):
        files.read_sealed(sealed, "numbers of a test")


def test_an_absent_file_is_not_a_damaged_one(tmp_path):
    for read in (files.read_sealed, files.read_checked):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "absent", "")


def test_a_checked_file_is_the_one_with_that_hash(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert files.file_digest(path) == files.digest(CONTENT) == digest
    assert files.read_checked(path, digest) == CONTENT
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(files.Damaged, match=rf"{path}.*{digest[:8]}"):
        files.read_checked(path, digest)
