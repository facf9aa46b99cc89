"""Results folders at any address that fsspec knows, for reading."""

from __future__ import annotations

from pathlib import Path

import fsspec

from bench.common.errors import UserError


def fetch(url: str, folder: Path) -> None:
    """Copy the records of the results folder at ``url``, and their statistics, into ``folder``.

    Raises UserError where there are none, or nothing answers.
    """
    try:
        system, path = fsspec.core.url_to_fs(url.rstrip("/"))
        names = [name for name in system.ls(f"{path}/records", detail=False) if name.endswith((".json", ".npz"))]
        (folder / "records").mkdir(parents=True, exist_ok=True)
        system.get(names, [str(folder / "records" / name.rpartition("/")[2]) for name in names])
    except FileNotFoundError:
        raise UserError(f"there is no record at {url}; name a results folder") from None
    except ImportError as error:
        raise UserError(f"{url} cannot be read ({error}); install what fsspec asks for") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its kind
        raise UserError(f"{url} cannot be read ({str(error) or type(error).__name__}); check the address") from None
