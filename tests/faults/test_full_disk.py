"""A full disk ends in one sentence that names the file that was being written, and loses nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.common import files
from bench.common.errors import UserError, describe_os_error, disk_is_full
from bench.model import weights as models
from bench.plugins import templates
from bench.records import store as records
from bench.report.leaderboard import FILES
from bench.scoring.protocols import anomaly
from bench.training import checkpoint as checkpoints
from bench.training.loss_log import LossLog
from datasets.base import DataError
from datasets.toyscapes.cache import ensure_split, write_picture
from tests.command_line import call

RUN = ("run", "--dataset", "toyscapes_mini", "--encoder", "resnet18", "--protocol", "closed-set", "--method")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
PLACES = ["write", "fsync", "replace"]


@pytest.fixture
def full(monkeypatch) -> Callable[[str, str], None]:
    """``full(place, target)``: from now on the disk is full when a file with ``target`` in its name gets there."""

    def begin(place: str, target: str) -> None:
        if place == "fsync":
            monkeypatch.setattr(files.os, "fsync", lambda handle: fail(os.readlink(f"/proc/self/fd/{handle}")))
        elif place == "replace":
            rename = Path.replace
            monkeypatch.setattr(Path, "replace", lambda path, to: (fail(str(to)), rename(path, to))[1])
        else:
            alone = files._alone

            @contextlib.contextmanager
            def half(path):
                with alone(path) as file:
                    yield Half(file, path)

            class Half:
                def __init__(self, file, path):
                    self.file, self.path = file, path

                def write(self, content):
                    self.file.write(content[: len(content) // 2])
                    fail(str(self.path))
                    return self.file.write(content[len(content) // 2 :])

                def __getattr__(self, name):
                    return getattr(self.file, name)

            monkeypatch.setattr(files, "_alone", half)

        def fail(name: str) -> None:
            if target in Path(name).name:
                raise FULL

    return begin


def leftovers(folder: Path) -> list[Path]:
    return [*folder.rglob(".*.part"), *folder.rglob("predictions-*"), *folder.rglob(".*.partial-*")]


def the_id(results: Path) -> str:
    (path,) = (results / "records").glob("*.json")
    return path.stem


TARGETS = {
    "majority": [models.MODEL, records.STATISTICS_SO_FAR, records.SO_FAR, "{id}.npz", "{id}.json"],
    "softmax": [checkpoints.CHECKPOINT],
}


@pytest.fixture(scope="module")
def finished(data_root, tmp_path_factory):
    """The id and the scores of a run of majority that nothing disturbed."""

    results = tmp_path_factory.mktemp("undisturbed") / "results"
    where = ["--results", str(results), "--data-root", str(data_root), "--device", "cpu"]
    assert call(*RUN, "majority", *where).exit_code == 0
    return records.Store(results).records()[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", TARGETS["majority"])
def test_a_run_names_the_file_and_continues_to_the_same_scores(
    bench, finished, full, tmp_path, monkeypatch, target, place
):
    target = target.format(id=finished.run_id)
    full(place, target)
    outcome = bench(*RUN, "majority")
    monkeypatch.undo()
    assert outcome.exit_code == 2, outcome.output
    sentence = outcome.stderr.strip().splitlines()[-1]
    assert "no space is left on the disk" in sentence
    assert f"/{target})" in sentence
    assert not leftovers(tmp_path)
    assert bench(*RUN, "majority").exit_code == 0
    (found,) = records.Store(tmp_path / "results").records()
    assert found.checkpoint_hash == finished.checkpoint_hash
    assert found.statistics_hash == finished.statistics_hash
    assert found.protocols["closed-set"].targets == finished.protocols["closed-set"].targets


@pytest.mark.parametrize("place", PLACES)
def test_a_checkpoint_that_does_not_fit_is_named(bench, full, tmp_path, place):
    full(place, checkpoints.CHECKPOINT)
    few = ("--set", "recipe.steps=2", "--set", "recipe.checkpoint_every=1", "--set", "recipe.batch_size=1")
    outcome = bench(*RUN, "softmax", *few)
    assert outcome.exit_code == 2, outcome.output
    assert f"/{checkpoints.CHECKPOINT})" in outcome.stderr.strip().splitlines()[-1]
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", [".sealed", "fraction.json"])
def test_sparse_labels_that_do_not_fit_are_named(bench, full, tmp_path, target, place):
    full(place, target)
    outcome = bench(*RUN, "majority", "--supervision", "points")
    assert outcome.exit_code == 2, outcome.output
    sentence = outcome.stderr.strip().splitlines()[-1]
    assert f"{target} (No space left on device)" in sentence
    assert str(tmp_path / "results" / "runs" / "cache") in sentence
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", FILES.values())
def test_tables_that_do_not_fit_are_named(bench, full, finished, tmp_path, target, place):
    store = records.Store(tmp_path / "results")
    store.write(finished)
    full(place, target)
    formats = [word for name in FILES for word in ("--format", name)]
    outcome = bench("leaderboard", str(store.root), *formats)
    assert outcome.exit_code == 2, outcome.output
    assert f"/{target} cannot be written (No space left on device)" in outcome.stderr
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("format", ["csv", "json"])
def test_an_export_that_does_not_fit_is_named(bench, full, finished, tmp_path, format, place):
    store = records.Store(tmp_path / "results")
    store.write(finished)
    full(place, "numbers")
    outcome = bench("export", str(store.root), "--format", format, "--out", str(tmp_path / "numbers"))
    assert outcome.exit_code == 2, outcome.output
    assert "no space is left on the disk" in outcome.stderr
    assert str(tmp_path / "numbers") in outcome.stderr
    assert not leftovers(tmp_path)


def full_device(path: Path) -> None:
    """Let ``path`` be a file on a device that is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/full")


def log_to(path: Path) -> LossLog:
    log = LossLog(path.parent / "elsewhere", "csv", 1)  # what continues a log reads it, and this device has no end
    log.path = path
    return log


APPENDED = {
    "losses.csv": lambda path: log_to(path).flush(1, 0.1),
    "image.pt": lambda path: anomaly._write(path, {"scores": {"msp": torch.ones(9)}}),
    "images/0001.png": lambda path: write_picture(path.parents[1], "val", 1, (32, 64)),
    "labels/0001.png": lambda path: (
        (path.parents[1] / "images").mkdir(),
        write_picture(path.parents[1], "val", 1, (32, 64)),
    ),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("name", APPENDED)
def test_what_is_not_replaced_at_once_is_named_too(tmp_path, name):
    path = tmp_path / name
    full_device(path)
    with pytest.raises(OSError, match="No space left") as caught:
        APPENDED[name](path)
    assert disk_is_full(caught.value)
    assert str(path) in describe_os_error(caught.value)


@pytest.mark.parametrize("place", PLACES)
def test_a_template_that_does_not_fit_is_named(full, tmp_path, place):
    full(place, "mine.py")
    with pytest.raises(OSError, match=str(tmp_path / "mine.py")):
        templates.new("method", "mine", tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("place", PLACES)
def test_a_rendering_that_does_not_fit_is_named_and_leaves_nothing(full, tmp_path, place):
    full(place, "complete.json")
    with pytest.raises(DataError, match=r"complete\.json \(No space left on device\)") as caught:
        ensure_split(tmp_path / "val", "val", 2, (32, 64))
    assert disk_is_full(caught.value)
    assert not leftovers(tmp_path)
    assert not (tmp_path / "val").exists()


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk(size)``: a folder on a disk of that many KiB."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(kib: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "genseg", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True)


def test_a_disk_that_is_really_full_is_named(small_disk):
    disk = small_disk(64)
    files.write(disk / "file", b"old")
    with pytest.raises(OSError, match=str(disk / "file")) as caught:
        files.write(disk / "file", bytes(100_000))
    assert disk_is_full(caught.value)
    assert (disk / "file").read_bytes() == b"old"
    assert [path.name for path in disk.iterdir()] == ["file"]
    with pytest.raises(DataError, match=r"\.png|partial"):
        ensure_split(disk / "val", "val", 12, (64, 128), workers=1)
    assert [path.name for path in disk.iterdir() if not path.name.endswith(".lock")] == ["file"]


@pytest.mark.long
@pytest.mark.parametrize("kib", [8, 16, 64, 1_000, 20_000, 44_000, 48_000, 60_000, 90_000, 100_000, 130_000])
def test_a_run_on_a_disk_that_fills_names_a_file_of_it(bench, small_disk, tmp_path, kib):
    disk = small_disk(kib)
    few = ("--set", "recipe.steps=2", "--set", "recipe.checkpoint_every=1", "--set", "recipe.batch_size=1")
    outcome = bench(*RUN, "softmax", *few, results=disk / "results")
    if outcome.exit_code == 0:
        return
    assert outcome.exit_code == 2, outcome.output
    sentence = outcome.stderr.strip().splitlines()[-1]
    assert "no space is left on the disk" in sentence or "cannot be written" in sentence
    assert str(disk) in sentence
    assert not leftovers(disk)
    subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
    assert bench(*RUN, "softmax", *few, results=disk / "results").exit_code == 0


def test_errors_of_other_kinds_name_the_file_too(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises((UserError, OSError)) as caught:
            files.write(target, b"")
        assert str(tmp_path) in describe_os_error(caught.value)
