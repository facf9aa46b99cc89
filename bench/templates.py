"""``bench new method``: a working plugin to change into one's own."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path

from bench import names, registry
from bench.common import files
from bench.errors import UserError


def new_method(name: str, folder: Path) -> Path:
    """Write ``folder/name.py`` from the template. Raises UserError for a bad or taken name, or an existing file."""
    names.require("a method's name", name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot name a method; use lower-case letters, digits and underscores")
    path = folder / f"{name}.py"
    if path.exists():
        raise UserError(f"{path} exists already; choose another name or --out")
    if name in registry.methods.names():
        raise UserError(f"there is a method {name!r} already; choose another name")
    text = resources.files("bench").joinpath("method_template.py.txt").read_text()
    files.write(path, text.replace("@NAME@", name).replace("@CLASS@", "".join(p.title() for p in name.split("_"))))
    return path
