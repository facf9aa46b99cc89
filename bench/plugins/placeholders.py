"""Reading a method for its documentation takes no torch: empty modules stand in for it, as in Sphinx' autodoc."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HEAVY = frozenset({"torch", "safetensors", "scipy"})
"""What is stood in for."""
OURS = frozenset({"bench", "methods"})
"""What may have been imported on top of it."""


class Placeholder(ModuleType):
    """A module with every class, empty, and every function, which as a decorator changes nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = type(name, (), {}) if name[0].isupper() else Placeholder(name)
        setattr(self, name, found)
        return found

    def __call__(self, *_: Any, **__: Any) -> Any:
        """What decorates with nothing."""
        return lambda decorated: decorated


class _Finder(MetaPathFinder, Loader):
    def __init__(self, roots: Set[str]) -> None:
        self.roots = roots

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        return ModuleSpec(fullname, self, is_package=True) if _root(fullname) in self.roots else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


_kept: dict[str, ModuleType] = {}
"""What was imported without torch so far: a method is read several times for one page."""


@contextmanager
def without_torch() -> Iterator[None]:
    """Import modules of methods without torch, unless it is there already; others see them only in here."""
    if "torch" in sys.modules:
        yield
        return
    before = set(sys.modules)
    finder = _Finder(HEAVY - before)
    hidden = finder.roots | OURS
    again = {name: module for name, module in _kept.items() if _root(name) in hidden}
    # What was imported in earnest since has other classes than what is kept refers to by the same names.
    sys.modules.update({} if again.keys() & before else again)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name not in before and _root(name) in hidden]:
            _kept[name] = sys.modules.pop(name)


def _root(module: str) -> str:
    return module.partition(".")[0]
