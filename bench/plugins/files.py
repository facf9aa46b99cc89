"""The files that define plugins from outside the suite, by which a run knows whether they have changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from bench.common.files import file_digest

OWN = ("methods", "datasets")
"""The suite's packages of plugins."""


def plugin_files(*plugins: type) -> dict[str, str]:
    """By name the SHA-256 of the files that define those of the ``plugins`` that are not the suite's own.

    A commit says what the code of the suite was, but nothing of other code.
    """
    others = [plugin for plugin in plugins if plugin.__module__.split(".")[0] not in OWN]
    files = [getattr(sys.modules[plugin.__module__], "__file__", None) for plugin in others]
    return {path.name: file_digest(path) for path in (Path(file) for file in files if file is not None)}


def changed_plugin(known: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The name of a plugin file that had another hash when it was ``known``; None where nothing differs."""
    return next((name for name, digest in now.items() if known.get(name, digest) != digest), None)
