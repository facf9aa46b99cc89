"""The cache: whole or absent, whatever is killed, and the same bytes however many processes render it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from datasets.base import DataError
from datasets.toyscapes.cache import MANIFEST, ensure_split
from datasets.toyscapes.cache import damage as damage_of
from datasets.toyscapes.render import render_scene
from tests.faults.injection import At, strike

SIZE = (32, 64)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if "partial" in path.name]


def test_files_hold_the_rendered_pixels(tmp_path: Path):
    ensure_split(tmp_path / "fog", "fog", 2, SIZE)
    image, label = render_scene(1, "fog", SIZE)
    with Image.open(tmp_path / "fog/images/0001.png") as stored:
        assert np.array_equal(np.asarray(stored), image)
    with Image.open(tmp_path / "fog/labels/0001.png") as stored:
        assert stored.mode == "L"
        assert np.array_equal(np.asarray(stored), label)


def test_workers_do_not_change_a_byte(tmp_path: Path):
    ensure_split(tmp_path / "one/val", "val", 5, SIZE, workers=1)
    ensure_split(tmp_path / "two/val", "val", 5, SIZE, workers=2)
    assert contents(tmp_path / "one/val") == contents(tmp_path / "two/val")
    assert len(contents(tmp_path / "one/val")) == 10


def test_a_complete_cache_is_left_alone(tmp_path: Path):
    folder = tmp_path / "val"
    ensure_split(folder, "val", 2, SIZE)
    before = (folder / "images/0000.png").stat().st_mtime_ns
    ensure_split(folder, "val", 2, SIZE)
    assert (folder / "images/0000.png").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "missing", "no manifest", "bad manifest", "other count", "older"]
)
def test_a_damaged_cache_is_rendered_again(tmp_path: Path, damage: str):
    folder = tmp_path / "val"
    ensure_split(folder, "val", 2, SIZE)
    whole = contents(folder)
    if damage == "truncated":
        (folder / "images/0001.png").write_bytes(b"\x89PNG")
    elif damage == "flipped":
        pixels = bytearray(whole["labels/0001.png"])
        pixels[len(pixels) // 2] ^= 1
        (folder / "labels/0001.png").write_bytes(pixels)
    elif damage == "missing":
        (folder / "labels/0000.png").unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    elif damage == "bad manifest":
        (folder / MANIFEST).write_text("[1, 2")
    elif damage == "older":
        sizes = {name: len(content) for name, content in whole.items()}
        (folder / MANIFEST).write_text(json.dumps({"count": 2, "size": [32, 64], "bytes": sizes}))
    else:
        (folder / MANIFEST).write_text(json.dumps({"count": 1, "size": [32, 64], "bytes": {}}))
    assert damage_of(folder, 2, SIZE) is not None
    ensure_split(folder, "val", 2, SIZE)
    assert contents(folder) == whole
    assert not leftovers(folder)


def while_rendering(folder: Path, count: int, act: Callable[[], object]) -> BaseProcess:
    """Another process that does ``act`` before its second picture; forked, which costs no imports."""

    def render() -> None:
        strike(At("datasets.toyscapes.cache.write_picture", 2), act)
        ensure_split(folder, "val", count, SIZE, 1)

    process = multiprocessing.get_context("fork").Process(target=render)
    process.start()
    return process


def test_a_killed_process_leaves_nothing_that_counts(tmp_path: Path):
    folder = tmp_path / "val"
    process = while_rendering(folder, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not folder.exists()
    assert leftovers(folder)

    ensure_split(folder, "val", 3, SIZE)
    assert damage_of(folder, 3, SIZE) is None
    assert not leftovers(folder)


def test_a_second_process_waits_for_the_first_and_renders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    context = multiprocessing.get_context("fork")
    rendering, asked = context.Event(), context.Event()

    class Asking(FileLock):
        """Says that it is asked for, and then waits."""

        def acquire(self, *arguments, **named):
            asked.set()
            return super().acquire(*arguments, **named)

    process = while_rendering(tmp_path / "val", 12, lambda: (rendering.set(), asked.wait()))
    rendering.wait()
    monkeypatch.setattr("datasets.toyscapes.cache.write_picture", lambda *_: pytest.fail("rendered twice"))
    monkeypatch.setattr("datasets.toyscapes.cache.FileLock", Asking)
    ensure_split(tmp_path / "val", "val", 12, SIZE)
    process.join()
    assert process.exitcode == 0
    assert damage_of(tmp_path / "val", 12, SIZE) is None
    assert not leftovers(tmp_path / "val")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="--data-root"):
        ensure_split(tmp_path / "file" / "val", "val", 1, SIZE)


def test_a_failing_worker_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(DataError, match="rendering process failed"):
        ensure_split(tmp_path / "val", "val", 4, SIZE, workers=2)
    assert not leftovers(tmp_path / "val")
    assert not (tmp_path / "val").exists()


def test_where_nothing_is_yet_one_line_says_where_it_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("BENCH_QUIET", raising=False)
    new = tmp_path / "mistyped" / "toyscapes" / "v1"
    for split in ("train", "val", "train"):
        ensure_split(new / split, split, 1, SIZE)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(new) in line
    monkeypatch.setenv("BENCH_QUIET", "1")
    ensure_split(tmp_path / "other" / "train", "train", 1, SIZE)
    assert not capsys.readouterr().err
