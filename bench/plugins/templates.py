"""``bench new``: a working plugin to change into one's own."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Any

from bench.common import files, names
from bench.common.errors import UserError
from bench.plugins import registry


def new_method(name: str, folder: Path) -> Path:
    """Write ``folder/name.py`` from the template. Raises UserError for a bad or taken name, or an existing file."""
    names.require("a method's name", name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot name a method; use lower-case letters, digits and underscores")
    return _write(registry.methods, name, name, folder)


def new_protocol(name: str, folder: Path) -> Path:
    """Write ``folder/name.py`` from the template, with underscores for hyphens. Raises UserError as ``new_method``."""
    names.require("a protocol's name", name)
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise UserError(f"{name!r} cannot name a protocol; use lower-case letters, digits and single hyphens")
    return _write(registry.protocols, name, module, folder)


def _write(kind: registry.Registry[Any], name: str, module: str, folder: Path) -> Path:
    path = folder / f"{module}.py"
    if path.exists():
        raise UserError(f"{path} exists already; choose another name or --out")
    if name in kind.names():
        raise UserError(f"there is a {kind.kind} {name!r} already; choose another name")
    text = resources.files("bench.plugins").joinpath(f"{kind.kind}_template.py.txt").read_text()
    words = module.split("_")
    filled = {"@NAME@": name, "@MODULE@": module, "@CLASS@": "".join(map(str.title, words)), "@TITLE@": " ".join(words)}
    for place, content in filled.items():
        text = text.replace(place, content)
    files.write(path, text)
    return path
