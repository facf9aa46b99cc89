"""Results folders at any address that fsspec knows, for reading."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from bench.common.errors import UserError


@contextmanager
def at_hand(address: Path | str) -> Iterator[Path]:
    """The results folder at ``address``: itself, or of a URL a copy of its records, statistics and claims.

    Raises UserError where there is no record, or nothing answers.
    """
    if "://" not in str(address):
        yield Path(address)
        return
    with tempfile.TemporaryDirectory(prefix="bench-results-") as name:
        folder = Path(name)
        (folder / "records").mkdir()
        with _answering(address) as (system, path):
            names = [*system.ls(f"{path}/records", detail=False), *system.ls(path, detail=False)]
            names = [name for name in names if name.endswith((".json", ".npz", ".toml"))]
            system.get(names, [str(folder / name.removeprefix(f"{path}/")) for name in names])
        yield folder


def bring_run(address: Path | str, folder: Path, run_id: str) -> None:
    """Copy what else a run left, its model above all, into ``folder``, which is ``address`` ``at_hand``."""
    if "://" not in str(address):
        return
    with _answering(address) as (system, path):
        if system.isdir(there := f"{path}/runs/{run_id}"):
            system.get(f"{there}/", f"{folder}/runs/{run_id}/", recursive=True)


@contextmanager
def _answering(url: Path | str) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """The file system of ``url`` and the path there."""
    try:
        yield fsspec.core.url_to_fs(str(url).rstrip("/"))
    except FileNotFoundError:
        raise UserError(f"there is no record at {url}; name a results folder") from None
    except ImportError as error:
        raise UserError(f"{url} cannot be read ({error}); install what fsspec asks for") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its kind
        raise UserError(f"{url} cannot be read ({str(error) or type(error).__name__}); check the address") from None
