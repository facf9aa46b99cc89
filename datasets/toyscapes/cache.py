"""Rendering a split once into a folder, safely.

A split is rendered into a folder beside its place, a manifest with the hash of every file is written last, and
one rename puts the whole into its place. So a split that exists is complete, whatever was killed and whenever; a
lock keeps two processes from rendering the same split; and a split of which a file is lost or another one since
is rendered again: all are read and compared whenever a split is opened.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from bench.common import files
from bench.common.console import ProgressBar, remark
from datasets.base import DataError
from datasets.toyscapes.render import render_scene

MANIFEST = "complete.json"
_PIXELS_PER_WORKER = 96 * 128 * 256
"""Below this many pixels each, starting another worker costs more than it saves."""


def image_name(index: int) -> str:
    """File name of picture ``index``, the same in ``images`` and ``labels``."""
    return f"{index:04d}.png"


def ensure_split(folder: Path, split: str, count: int, size: tuple[int, int], workers: int | None = None) -> None:
    """Make sure that ``folder`` holds ``count`` rendered pictures of ``split``.

    ``workers`` defaults to what the machine and the amount of work suggest; it does not change a byte.
    Raises DataError where nothing can be written.
    """
    if damage(folder, count, size) is None:
        return
    try:
        # A data root that was mistyped looks like one that has no pictures yet.
        new = not folder.parent.exists()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            found = damage(folder, count, size)
            if found is not None:
                if new:
                    remark(f"there is no toyscapes in {folder.parent}: rendering it there")
                elif folder.exists():
                    remark(f"{found}: rendering toyscapes {split} again")
                _render_split(folder, split, count, size, workers)
    except OSError as error:
        raise DataError(
            f"toyscapes cannot be rendered into {error.filename or folder} ({error.strerror or error}); pass "
            "--data-root or set BENCH_DATA to a folder that can be written and has 60 MB free"
        ) from error


def damage(folder: Path, count: int, size: tuple[int, int]) -> str | None:
    """What is wrong with a rendered split, in a few words that name the file; None if every file is as it was rendered.

    Reads them all, which takes 0.1 ms for each.
    """
    manifest = folder / MANIFEST
    try:
        told = json.loads(manifest.read_text())
        if (told["count"], told["size"], {*told["sha256"]}) != (count, list(size), {*_names(count)}):
            return f"{manifest} is of another request"
        lost = next((n for n, digest in told["sha256"].items() if files.file_digest(folder / n) != digest), None)
    except OSError as error:
        return f"{error.filename or manifest} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{manifest} is damaged, or of an older version"
    return None if lost is None else f"{folder / lost} is not what {manifest} says"


def write_manifest(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write down what makes ``folder`` complete."""
    digests = {name: files.file_digest(folder / name) for name in _names(count)}
    files.write(folder / MANIFEST, json.dumps({"count": count, "size": list(size), "sha256": digests}))


def _names(count: int) -> list[str]:
    return [f"{kind}/{image_name(index)}" for kind in ("images", "labels") for index in range(count)]


def write_picture(folder: Path, split: str, index: int, size: tuple[int, int]) -> None:
    """Render one picture into ``folder/images`` and ``folder/labels``."""
    image, label = render_scene(index, split, size)
    for kind, pixels in (("images", image), ("labels", label)):
        path = folder / kind / image_name(index)
        with files.naming(path):
            Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=4)


def _render_split(folder: Path, split: str, count: int, size: tuple[int, int], workers: int | None) -> None:
    # whoever left these behind was killed: the lock is ours
    for stale in folder.parent.glob(f".{folder.name}.partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        for kind in ("images", "labels"):
            (partial / kind).mkdir()
        if workers is None:
            workers = min(os.cpu_count() or 1, 8, count * size[0] * size[1] // _PIXELS_PER_WORKER)
        with ProgressBar(f"rendering toyscapes {split}", count) as bar:
            if workers > 1 and sys.executable:
                _render_in_workers(partial, split, count, size, workers, bar)
            else:
                for index in range(count):
                    write_picture(partial, split, index, size)
                    bar.advance()
        write_manifest(partial, count, size)
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _render_in_workers(
    partial: Path, split: str, count: int, size: tuple[int, int], workers: int, bar: ProgressBar
) -> None:
    """Share the pictures out among processes of ``datasets.toyscapes.worker``.

    They are plain sub-processes, as children of ``multiprocessing`` run the caller's main module
    again: a script without a main guard would come back here and wait for its own parent's lock.
    """
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-P", "-m", "datasets.toyscapes.worker", str(partial), split]
    command += [str(size[0]), str(size[1]), str(count), str(workers)]
    receiver, sender = os.pipe()
    processes = [
        subprocess.Popen([*command, str(number)], stdout=sender, stderr=subprocess.PIPE, env=environment)
        for number in range(workers)
    ]
    os.close(sender)
    try:
        # one line per picture from whichever worker, and the end when the last has closed its side
        with open(receiver, "rb") as lines:
            for _ in lines:
                bar.advance()
        for process in processes:
            assert process.stderr is not None
            message = process.stderr.read().decode(errors="replace").strip()
            if process.wait() != 0:
                raise OSError(f"a rendering process failed: {message.splitlines()[-1] if message else 'killed'}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
