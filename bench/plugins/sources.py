"""The plugins that come with the suite as their source text has them: importing a method for its name takes torch."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import NamedTuple


class Source(NamedTuple):
    """A class that says its ``name``."""

    name: str
    module: str
    class_name: str
    doc: str | None


def sources(package: str) -> Iterator[Source]:
    """The plugins in the modules of ``package`` but ``base``, and those that its folders define or import."""
    spec = find_spec(package)
    places = None if spec is None else spec.submodule_search_locations
    for info in pkgutil.iter_modules(places):
        if info.name != "base" and not info.name.startswith("_"):
            yield from _of_module(f"{package}.{info.name}", places)


def _of_module(module: str, places: Sequence[str] | None) -> Iterator[Source]:
    spec = PathFinder.find_spec(module, places)
    text = None if spec is None or spec.loader is None else spec.loader.get_source(module)  # type: ignore[attr-defined]
    for node in ast.parse(text or "").body:
        if isinstance(node, ast.ClassDef) and (name := _name(node)):
            yield Source(name, module, node.name, ast.get_docstring(node))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{module}."):
            exported = {alias.name for alias in node.names}
            found = _of_module(node.module, spec.submodule_search_locations)
            yield from (source for source in found if source.class_name in exported)


def _name(node: ast.ClassDef) -> str | None:
    """The text that a class sets its ``name`` to."""
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        value = getattr(line, "value", None)
        if "name" in (getattr(target, "id", "") for target in targets) and isinstance(value, ast.Constant):
            return str(value.value)
    return None
