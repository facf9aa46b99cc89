"""The plugins that come with the suite as their source text has them: importing a method for its name takes torch."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator, Sequence
from importlib.abc import InspectLoader
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
    if spec is None or not isinstance(spec.loader, InspectLoader):
        return
    for node in ast.parse(spec.loader.get_source(module) or "").body:
        if isinstance(node, ast.ClassDef) and (name := _name(node)):
            yield Source(name, module, node.name, ast.get_docstring(node))
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(f"{module}."):
            exported = {alias.name for alias in node.names}
            found = _of_module(node.module, spec.submodule_search_locations)
            yield from (source for source in found if source.class_name in exported)


def _name(node: ast.ClassDef) -> str | None:
    """The text that a class sets its ``name`` to."""
    for line in node.body:
        match line:
            case (
                ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(text)))
                | ast.AnnAssign(target=ast.Name(id="name"), value=ast.Constant(value=str(text)))
            ):
                return text
    return None
