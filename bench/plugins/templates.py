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

KINDS: dict[str, registry.Registry[Any]] = {
    "method": registry.methods,
    "dataset": registry.datasets,
    "protocol": registry.protocols,
}
"""What there are templates of."""


def new(kind: str, name: str, folder: Path) -> Path:
    """Write ``folder/name.py`` from the template of ``kind``, with underscores for the hyphens of a protocol.

    Raises UserError for a bad or taken name, or an existing file.
    """
    known = KINDS[kind]
    names.require(f"a {known.kind}'s name", name)
    pattern, allowed = r"[a-z][a-z0-9_]*", "underscores"
    if kind == "protocol":
        pattern, allowed = r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", "single hyphens"
    module = name.replace("-", "_")
    if not re.fullmatch(pattern, name) or keyword.iskeyword(module):
        raise UserError(f"{name!r} cannot name a {known.kind}; use lower-case letters, digits and {allowed}")
    path = folder / f"{module}.py"
    if path.exists():
        raise UserError(f"{path} exists already; choose another name or --out")
    if name in known.names():
        raise UserError(f"there is a {known.kind} {name!r} already; choose another name")
    text = resources.files("bench.plugins").joinpath(f"{kind}_template.py.txt").read_text()
    words = module.split("_")
    filled = {"@NAME@": name, "@MODULE@": module, "@CLASS@": "".join(map(str.title, words)), "@TITLE@": " ".join(words)}
    for place, content in filled.items():
        text = text.replace(place, content)
    files.write(path, text)
    return path
