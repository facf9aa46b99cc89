"""Rendering a split once into a folder, safely.

A split is rendered into a folder beside its place, a manifest of all file sizes is written last, and one
rename puts the whole into its place. So a split that exists is complete, whatever was killed and whenever; a
lock keeps two processes from rendering the same split; and a split that has lost or truncated files since is
rendered again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
    if is_complete(folder, count, size):
        return
    try:
        # A data root that was mistyped looks like one that has no pictures yet.
        new = not folder.parent.exists()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not is_complete(folder, count, size):
                if new:
                    _note(f"there is no toyscapes in {folder.parent}: rendering it there")
                _render_split(folder, split, count, size, workers)
    except OSError as error:
        raise DataError(
            f"toyscapes cannot be rendered into {folder} ({error.strerror or error}); pass --data-root or "
            f"set BENCH_DATA to a folder that can be written and has 60 MB free"
        ) from error


def is_complete(folder: Path, count: int, size: tuple[int, int]) -> bool:
    """Whether the manifest is there, is about this request, and every file has the size that it states."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files: dict[str, int] = manifest["bytes"]
        return (
            manifest["count"] == count
            and manifest["size"] == list(size)
            and len(files) == 2 * count
            and all((folder / name).stat().st_size == length for name, length in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_picture(folder: Path, split: str, index: int, size: tuple[int, int]) -> None:
    """Render one picture into ``folder/images`` and ``folder/labels``."""
    image, label = render_scene(index, split, size)
    for kind, pixels in (("images", image), ("labels", label)):
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / kind / image_name(index), compress_level=4)


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
        with _progress(f"rendering toyscapes {split}", count) as advance:
            if workers > 1 and sys.executable:
                _render_in_workers(partial, split, count, size, workers, advance)
            else:
                for index in range(count):
                    write_picture(partial, split, index, size)
                    advance()
        files = {
            f"{kind}/{image_name(index)}": (partial / kind / image_name(index)).stat().st_size
            for kind in ("images", "labels")
            for index in range(count)
        }
        manifest = {"split": split, "count": count, "size": list(size), "bytes": files}
        (partial / MANIFEST).write_text(json.dumps(manifest))
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _render_in_workers(
    partial: Path, split: str, count: int, size: tuple[int, int], workers: int, advance: Callable[[], None]
) -> None:
    """Share the pictures out among processes of ``datasets.toyscapes.worker``.

    They are plain sub-processes and not ``multiprocessing``, whose children run the caller's main module
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
                advance()
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


def _note(text: str) -> None:
    """One line on stderr unless BENCH_QUIET is 1."""
    Console(stderr=True, quiet=_is_quiet()).print(text, soft_wrap=True, markup=False, highlight=False)


def _is_quiet() -> bool:
    return os.environ.get("BENCH_QUIET") == "1"


@contextmanager
def _progress(title: str, count: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr where that is a terminal and BENCH_QUIET is not 1."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = _is_quiet() or not console.is_terminal
    with Progress(*columns, console=console, disable=quiet) as progress:
        task = progress.add_task(title, total=count)
        yield lambda: progress.advance(task)
