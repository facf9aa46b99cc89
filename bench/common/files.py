"""Files that numbers depend on: written whole or not at all, and read with the hash that they were written with.

A file is written beside its place as ``.NAME.part`` and renamed. The name is fixed, so whoever writes the same file
again takes over what a killed process left there; a lock of the operating system, which ends with the process that
holds it, keeps two live writers apart and lets ``sweep`` tell what is left over from what is being written. On a file
system without locks each writer has a name to itself, and what is left over is told by its age. A link is followed, so
that its target is what is replaced, and what is no regular file (a pipe, a device) is written to as it is.

Files that only the suite reads are sealed: three lines (format, what the file is about, SHA-256 of that and of the
content) precede the content. Files that others read too are named with their SHA-256 by whatever refers to them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bench.common import interruption

try:
    import fcntl
except ImportError:  # Windows, where two writers of one file are not kept apart, and nothing is swept
    fcntl = None  # type: ignore[assignment]

Content = bytes | bytearray | memoryview

MAGIC = b"genseg-bench file "
FORMAT = 1
"""Of sealed files."""
LEFT_OVER = 86_400.0
"""Seconds after which a temporary file that cannot be locked is one that a killed process left."""


class Damaged(Exception):
    """A file that is not the one that was written, named in a sentence's first half: the remedy follows."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged ({reason})")
        self.path, self.reason = path, reason


def write(path: Path, *content: Content | str) -> None:
    """Write ``content`` (text as UTF-8), piece after piece, to ``path``: at once or not at all.

    Folders are made, that of a link's target too. A pipe or a device is written to as it is. Raises OSError naming
    ``path``. A signal waits until it is written, but not for what reads a pipe.
    """
    place = _place(path)
    with contextlib.nullcontext() if place is None else interruption.held():
        _write(path, place, content)


def write_as_made(path: Path, content: Iterable[Content | str]) -> None:
    """``write`` what is made while it is written, which a signal ends."""
    _write(path, _place(path), content)


def _write(path: Path, place: Path | None, content: Iterable[Content | str]) -> None:
    if place is None:
        with naming(path), path.open("wb") as file:
            _put(file, content)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), _alone(place.with_name(f".{place.name}.part")) as file:
        temporary = Path(file.name)
        try:
            file.truncate(0)
            _put(file, content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            temporary.replace(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _place(path: Path) -> Path | None:
    """Where the file lies that ``path`` names, links followed; None for what is there and is no regular file."""
    with naming(path):
        place = Path(os.path.realpath(path))
        # /dev/stdout exists, and what it leads to may have a name, such as pipe:[7], but no place.
        return None if path.exists() and not place.is_file() else place


def _put(file: BinaryIO, content: Iterable[Content | str]) -> None:
    for piece in content:
        file.write(piece.encode() if isinstance(piece, str) else piece)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let every OSError of the block name ``path``: writing, a full disk above all, fails without naming any file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """``path`` opened for writing, by this process and thread alone, with what it holds.

    Another name without locks.
    """
    while True:
        with path.open("ab") as file:
            if not _lock(file):
                break
            if _is_at(file, path):  # else another writer has renamed or removed it meanwhile
                yield file
                return
    path.unlink(missing_ok=True)
    with path.with_name(f"{path.stem}.{writer()}.part").open("wb") as file:
        yield file


def writer() -> str:
    """This thread, told from all others that may write to a file system: a part of a name."""
    return f"{platform.node()}-{os.getpid()}-{threading.get_ident()}"


def _lock(file: BinaryIO, *, wait: bool = True) -> bool:
    """Whether the file is locked now; not on a file system without locks.

    Raises BlockingIOError if another holds the lock and this is not to ``wait``.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def sweep(folder: Path) -> None:
    """Remove the temporary files in ``folder`` that killed processes left, and none that is being written."""
    if fcntl is None:
        return
    for leftover in folder.glob(".*.part"):
        # Locked or gone.
        with contextlib.suppress(OSError), leftover.open("r+b") as file:
            known = _lock(file, wait=False) or time.time() - os.fstat(file.fileno()).st_mtime > LEFT_OVER
            if known and _is_at(file, leftover):
                leftover.unlink()


def write_sealed(path: Path, content: Content, about: str) -> None:
    """Write a file that ``read_sealed`` reads. ``about`` is one line that says what ``content`` is."""
    write(path, *sealed(content, about))


def sealed(content: Content, about: str) -> tuple[bytes, Content]:
    """The pieces of a sealed file."""
    told = _encoded(about)
    return MAGIC + b"%d\n%b\n%b\n" % (FORMAT, told, _seal_of(told, content).encode()), content


def read_sealed(path: Path, about: str) -> bytes:
    """The content of a sealed file.

    Raises Damaged for one that is not as it was written or is about something else, FileNotFoundError if there is none.
    """
    whole = read(path)
    parts = whole.split(b"\n", 3)
    if not whole:
        raise Damaged(path, "it is empty")
    if len(parts) < 4 or not parts[0].startswith(MAGIC):
        raise Damaged(path, "it has no seal, as if another program or an older version had written it")
    form, told, seal, content = parts
    if form != MAGIC + str(FORMAT).encode():
        raise Damaged(path, f"it is of another format than {FORMAT}, which this version reads")
    if seal != _seal_of(told, content).encode():
        raise Damaged(path, "its bytes are not those that were written")
    if told != _encoded(about):
        raise Damaged(path, f"it is about {told.decode(errors='replace')}, not {about}")
    return content


def _encoded(about: str) -> bytes:
    # Names of files may hold bytes that are no UTF-8.
    return about.encode(errors="surrogateescape")


def read(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file, of at most ``limit``: a pipe or a device would be waited for, or never end.

    Raises Damaged for anything else, FileNotFoundError if there is nothing.
    """
    try:
        # Without O_NONBLOCK a pipe would hold the very opening up.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Damaged(path, "it is no regular file")
            if limit is not None and found.st_size > limit:
                raise Damaged(path, f"it has {found.st_size} bytes, and no such file has over {limit}")
            with open(handle, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(path, f"it cannot be read: {error.strerror}") from None


def _seal_of(about: bytes, content: Content) -> str:
    seal = hashlib.sha256(about + b"\n")
    seal.update(content)
    return seal.hexdigest()


def digest(content: Content) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, expected: str) -> None:
    """Raises Damaged if the SHA-256 of a file is not ``expected``, FileNotFoundError if there is none."""
    if path.exists() and not path.is_file():
        raise Damaged(path, "it is no regular file")
    try:
        found = file_digest(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(path, f"it cannot be read: {error.strerror}") from None
    _require_same(path, found, expected)


def read_checked(path: Path, expected: str) -> bytes:
    """The bytes of a file. Raises Damaged if their SHA-256 is not ``expected``, FileNotFoundError if there is none."""
    content = read(path)
    _require_same(path, digest(content), expected)
    return content


def _require_same(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise Damaged(path, f"its SHA-256 is {found[:8]}..., not {expected[:8]}...")
