"""Zips of a data set, read without unpacking: their files appear where unpacking would put them.

``unpacked(folder)`` gives a path below which the files in the folder's zips are found beside those on disk, which come
first. It is a ``Path`` in every respect but that the system does not know what lies in a zip: open it with its own
methods, ``path.open("rb")`` rather than ``open(path)``.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self
from zipfile import ZipFile, ZipInfo

from datasets.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path as _Path
else:
    _Path = type(Path())


class _Zip(NamedTuple):
    """An archive as it is now: another state of it is opened anew."""

    path: str
    size: int
    changed: int

    def of_this_process(self) -> ZipFile:
        """The open archive: handles shared with a forked process would have one position for both."""
        return _opened(self, os.getpid())


@lru_cache(maxsize=64)
def _opened(archive: _Zip, process: int) -> ZipFile:
    try:
        return ZipFile(archive.path)
    except Exception as error:
        raise DataError(
            f"{archive.path} is no whole zip ({error}); fetch it again, or remove it if its files are unpacked"
        ) from error


class _Archives:
    """What lies in the zips of a folder, by the path from there, with slashes."""

    def __init__(self, zips: tuple[_Zip, ...]) -> None:
        self.zips = zips

    @cached_property
    def files(self) -> dict[str, tuple[_Zip, ZipInfo]]:
        """Every file. Raises DataError naming an archive that is damaged."""
        found: dict[str, tuple[_Zip, ZipInfo]] = {}
        for archive in self.zips:
            for info in archive.of_this_process().infolist():
                if not {"", ".", ".."} & {*info.filename.split("/")}:  # no folder, and nothing outside
                    found.setdefault(info.filename, (archive, info))
        return found

    @cached_property
    def folders(self) -> dict[str, set[str]]:
        """The names in every folder; the folder of the zips is an empty text."""
        found: dict[str, set[str]] = {}
        for name in self.files:
            while name:
                name, _, last = name.rpartition("/")
                if last in found.setdefault(name, set()):
                    break
                found[name].add(last)
        return found


_ARCHIVES: dict[str, _Archives] = {}
"""By folder, of those with zips that this process has met."""


@lru_cache(maxsize=256)
def _zips_in(folder: str, changed: int) -> list[str]:
    """The zips in a folder that was ``changed`` then: data sets ask for every image."""
    with os.scandir(folder) as entries:
        return sorted(e.path for e in entries if e.name.lower().endswith(".zip") and e.name[0] != "." and e.is_file())


def unpacked(folder: Path) -> Path:
    """``folder`` as if the zips in it were unpacked there; itself where there are none."""
    try:
        found = _zips_in(str(folder), os.stat(folder).st_mtime_ns)
        zips = tuple(_Zip(path, (now := os.stat(path)).st_size, now.st_mtime_ns) for path in found)
    except OSError:
        zips = ()
    if not zips:
        return folder
    if str(folder) not in _ARCHIVES or _ARCHIVES[str(folder)].zips != zips:
        _ARCHIVES[str(folder)] = _Archives(zips)
    return ArchivedPath(folder)


class ArchivedPath(_Path):
    """A path below a folder with zips. What is written is written to disk."""

    __slots__ = ()

    def _places(self) -> Iterator[tuple[Path, _Archives]]:
        """The nearest folder that was opened with its zips."""
        for parent in (self, *self.parents):
            if (archives := _ARCHIVES.get(str(parent))) is not None:
                yield parent, archives
                return

    def _file(self) -> tuple[_Zip, ZipInfo] | None:
        """The file in a zip that this path is."""
        return next((a.files.get(self.relative_to(home).as_posix()) for home, a in self._places()), None)

    def _names(self) -> set[str] | None:
        """The names in the folder in zips that this path is."""
        inner = ((self.relative_to(home).as_posix(), archives) for home, archives in self._places())
        return next((archives.folders.get("" if name == "." else name) for name, archives in inner), None)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Of a file in a zip, the size, and the time of the zip."""
        try:
            return os.stat(self, follow_symlinks=follow_symlinks)
        except (FileNotFoundError, NotADirectoryError):
            if (found := self._file()) is not None:
                mode, size, changed = stat.S_IFREG | 0o444, found[1].file_size, found[0].changed
            elif self._names() is not None:
                mode, size, changed = stat.S_IFDIR | 0o555, 0, 0
            else:
                raise
        seconds = changed // 10**9
        return os.stat_result((mode, 0, 0, 1, 0, 0, size, seconds, seconds, seconds), {"st_mtime_ns": changed})

    def exists(self, **options: Any) -> bool:
        """Whether there is such a file or folder, on disk or in a zip."""
        return self._mode() is not None

    def is_dir(self, **options: Any) -> bool:
        """Whether it is a folder, on disk or in a zip."""
        mode = self._mode()
        return mode is not None and stat.S_ISDIR(mode)

    def is_file(self, **options: Any) -> bool:
        """Whether it is a file, on disk or in a zip."""
        mode = self._mode()
        return mode is not None and stat.S_ISREG(mode)

    def _mode(self) -> int | None:
        try:
            return self.stat().st_mode
        except (OSError, ValueError):
            return None

    def iterdir(self) -> Generator[Self, None, None]:
        """What lies in the folder, on disk and in zips."""
        inner = self._names()
        names = {*os.listdir(self)} if inner is None or os.path.isdir(self) else set()
        for name in sorted(names | (inner or set())):
            yield self / name

    def glob(self, pattern: str, **options: Any) -> Generator[Self, None, None]:
        """The paths below that match ``pattern``, in which no ``**`` occurs."""
        first, *rest = PurePath(pattern).parts
        for path in self.iterdir() if self.is_dir() else ():
            if fnmatchcase(path.name, first):
                yield from path.glob("/".join(rest)) if rest else [path]

    def rglob(self, pattern: str, **options: Any) -> Generator[Self, None, None]:
        """The same, and below all folders below."""
        yield from self.glob(pattern)
        for path in self.iterdir() if self.is_dir() else ():
            if not path.is_symlink():  # as Path.rglob has it: links may lead in circles
                yield from path.rglob(pattern)

    def open(self, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
        """Open a file, one in a zip for reading; raises DataError if that is damaged there."""
        stream = None if {*mode} & {*"wxa+"} else self.stream()
        if stream is None:
            return super().open(mode, buffering, *text, **options)
        with self._reading(), stream:
            content = io.BytesIO(stream.read())
        return content if "b" in mode else io.TextIOWrapper(content, *text, **options)

    def stream(self) -> IO[bytes] | None:
        """The file in a zip, decompressed no further than it is read; None for what is on disk or not there."""
        if os.path.lexists(self) or (found := self._file()) is None:
            return None
        with self._reading():
            return found[0].of_this_process().open(found[1])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raises DataError for what goes wrong meanwhile: zipfile and its decompressors raise many things on damage."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            where = next((found[0].path for found in [self._file()] if found), "its zip")
            raise DataError(f"{self} cannot be read from {where} ({error}); fetch that again") from error

    def __reduce__(self) -> Any:
        return _restored, (str(self), *(str(home) for home, _ in self._places()))


def _restored(path: str, *homes: str) -> Path:
    """A path in another process, which may not have met its zips."""
    for home in homes:
        unpacked(Path(home))
    return ArchivedPath(path)
