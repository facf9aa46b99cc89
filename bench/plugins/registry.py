"""Names to classes: the methods, data sets and protocols that come with the suite, entry points, a user's own files.

Built-in plugins are found in the source text of the ``methods``, ``datasets`` and ``bench.scoring.protocols`` packages,
so a new file needs no edit anywhere else, and only the plugin that is asked for is imported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from bench.common import names
from bench.common.errors import UserError, first_line, near
from bench.plugins.own_datasets import require_own_datasets
from bench.plugins.placeholders import without_torch
from bench.plugins.sources import Source, sources

T = TypeVar("T")

FROM_A_FILE = "or pass --plugin FILE if a file of yours defines it"
"""The end of the sentence about a name that nothing has registered."""

require_own_datasets()

if TYPE_CHECKING:
    from bench.scoring.protocols.base import Protocol
    from datasets.base import Dataset
    from methods.base import Method


class Registry(Generic[T]):
    """The plugins of one kind, by name.

    Args:
        kind: what messages call them.
        contract: module and class that all derive from, imported when the first is asked for: it may bring torch.
        package: every module of it holds plugins that come with the suite.
        group: of entry points.
        require: raises UserError for a plugin with which nothing could be done; rules beyond that are `bench check`'s.
        key: sorts the classes, equal ones by name; by default all are equal.
    """

    def __init__(
        self,
        kind: str,
        contract: str,
        package: str,
        group: str,
        require: Callable[[type[T]], None] = lambda plugin: None,
        key: Callable[[type[T]], Any] | None = None,
    ) -> None:
        self.kind, self.contract, self.package, self.group = kind, contract, package, group
        self.require, self.key = require, key
        self._sources: dict[str, Source] = {}
        self._classes: dict[str, type[T]] = {}
        self._broken: dict[str, str] = {}
        self._scanned = False
        self.changes = 0
        """Grows with every class that is registered: what follows from all of them holds as long as it stays."""

    @cached_property
    def base(self) -> type[T]:
        """The class that all derive from."""
        module, _, name = self.contract.rpartition(".")
        base: type[T] = getattr(importlib.import_module(module), name)
        return base

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for source in sources(self.package):
            self._require_free(source.name, source.module)
            self._sources[source.name] = source
        for entry in importlib.metadata.entry_points(group=self.group):
            # What is wrong with one installed package must not keep anyone from all the others.
            try:
                found = entry.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it may raise anything on import
                cause = f"{type(error).__name__}: {first_line(error)}"
                self._broken[entry.name] = (
                    f"{self.kind} {entry.name!r} cannot be imported ({cause}); reinstall its package"
                )
                continue
            try:
                self._register_entry(entry.name, found)
            except UserError as error:
                sentence = f"entry point {entry.name!r} of {self.group} cannot be used: {error}"
                self._broken |= {entry.name: sentence, str(getattr(found, "name", entry.name)): sentence}

    def _register_entry(self, key: str, found: object) -> None:
        """A module of plugins, or one class of the right base under the entry's name."""
        if isinstance(found, ModuleType):
            self._register_all(found)
        elif isinstance(found, type) and issubclass(found, self.base) and not inspect.isabstract(found):
            name = self._name_of(found)
            if name != key:
                raise UserError(
                    f"the class {found.__module__}.{found.__qualname__} is named {name!r}; give both the same name"
                )
            self.register(found)
        else:
            raise UserError(
                f"{getattr(found, '__qualname__', repr(found))} is no complete subclass of {self.base.__module__}."
                f"{self.base.__name__}; name one, or the module that holds it"
            )

    def _register_all(self, module: ModuleType) -> int:
        own = [c for c in self._plugins(module) if c.__module__.startswith(module.__name__)]
        for plugin in own:
            self.register(plugin)
        return len(own)

    def _plugins(self, module: ModuleType) -> Iterator[type[T]]:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, self.base) and not inspect.isabstract(value):
                yield value

    def register(self, plugin: type[T]) -> None:
        """Add a class under its ``name``; two different classes of one name are an error."""
        self._classes[self._name_of(plugin)] = plugin
        self.changes += 1

    def _name_of(self, plugin: type[T]) -> str:
        name = getattr(plugin, "name", None)
        where = f"{plugin.__module__}.{plugin.__qualname__}"
        if not isinstance(name, str) or not name:
            raise UserError(f"{self.kind} {where} has no name; set `name = ...` in it")
        names.require(f"the name of {self.kind} {where}", name)
        self.require(plugin)
        self._require_free(name, plugin.__module__)
        return name

    def _require_free(self, name: str, module: str) -> None:
        known = self._classes.get(name) or self._sources.get(name)
        home = known.module if isinstance(known, Source) else getattr(known, "__module__", module)
        if home != module:
            raise UserError(f"two {self.kind}s are named {name!r}: {home} and {module}; rename one")

    def names(self) -> list[str]:
        """All names, sorted."""
        self._scan()
        names, key = sorted(self._classes.keys() | self._sources.keys()), self.key
        return names if key is None else sorted(names, key=lambda name: key(self.get(name)))

    def __iter__(self) -> Iterator[type[T]]:
        """All classes, in the order of their names."""
        return map(self.get, self.names())

    def summary(self, name: str) -> str:
        """The first line of a docstring; that of a plugin of the suite is read without importing it."""
        self._scan()
        source = self._sources.get(name)
        doc = (source and source.doc) or inspect.getdoc(self.get(name)) or ""
        return doc.split("\n")[0]

    def known(self, name: str) -> type[T] | None:
        """The class of that name, if there is one."""
        self._scan()
        if name in self._sources and name not in self._classes:
            self._register_all(importlib.import_module(self._sources[name].module))
        return self._classes.get(name)

    @contextmanager
    def to_read(self, name: str) -> Iterator[type[T]]:
        """The class of that name for its documentation: one of the suite's is imported without torch."""
        self._scan()
        source = self._sources.get(name)
        if source is None or name in self._classes:
            yield self.get(name)
            return
        with without_torch():
            found: type[T] = getattr(importlib.import_module(source.module), source.class_name)
            yield found

    def get(self, name: str) -> type[T]:
        """The class of that name. Raises UserError with near matches, or with what is wrong with its entry point."""
        if (found := self.known(name)) is not None:
            return found
        if name in self._broken:
            raise UserError(self._broken[name])
        raise UserError(f"unknown {self.kind} {name!r}: {near(name, self.names())}; {FROM_A_FILE}")


def _require_method(method: type[Method]) -> None:
    if not (isinstance(method.Config, type) and issubclass(method.Config, BaseModel)):
        raise UserError(f"Config of method {method.name} is no pydantic model; derive it from MethodConfig")
    if not isinstance(method.version, str):
        raise UserError(f"version of method {method.name} is {method.version!r}, not a text; write version = '1'")
    for score in (method.density_score, method.headline_score):
        if score is not None:
            names.require(f"an anomaly score of method {method.name}", score)


def _require_dataset(dataset: type[Dataset]) -> None:
    for split in getattr(dataset, "splits", ()):
        names.require(f"a split of data set {dataset.name}", split)


def _require_protocol(protocol: type[Protocol]) -> None:
    if not isinstance(protocol.version, str):
        raise UserError(f"version of protocol {protocol.name} is {protocol.version!r}, not a text; write version = '1'")
    if not isinstance(getattr(protocol, "title", None), str):
        raise UserError(f"protocol {protocol.name} has no title; set `title = ...` in it")


methods: Registry[Method] = Registry("method", "methods.base.Method", "methods", "bench.methods", _require_method)
datasets: Registry[Dataset] = Registry(
    "data set", "datasets.base.Dataset", "datasets", "bench.datasets", _require_dataset
)
protocols: Registry[Protocol] = Registry(
    "protocol",
    "bench.scoring.protocols.base.Protocol",
    "bench.scoring.protocols",
    "bench.protocols",
    _require_protocol,
    key=lambda protocol: protocol.place,
)
KINDS: tuple[Registry[Any], ...] = (methods, datasets, protocols)


def load_plugin(path: Path) -> list[str]:
    """Import a user's own ``.py`` file and register the methods, data sets and protocols in it.

    It may import files beside it, except where an installed package has the same name.

    Returns their names. Raises UserError for a file that is missing, does not import, or holds no plugin.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no plugin file {path}; check --plugin")
    name = f"bench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plugin {path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # At the end: a file beside the plugin must not hide a package that the suite has yet to import.
    beside = [folder for folder in [str(path.resolve().parent)] if folder not in sys.path]
    sys.path += beside
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"plugin {path} has a syntax error in line {error.lineno} ({error.msg}); correct it") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's file may raise anything on import
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = f" in line {frames[-1].lineno}" if frames else ""
        raise UserError(
            f"plugin {path} cannot be imported ({type(error).__name__}{line}: {error}); correct it"
        ) from None
    finally:
        for folder in beside:
            sys.path.remove(folder)
    before = {name for kind in KINDS for name in kind.names()}
    if not sum(kind._register_all(module) for kind in KINDS):
        raise UserError(
            f"plugin {path} defines no Method, Dataset or Protocol; see `bench new method NAME` or `bench new protocol "
            "NAME` for a working one"
        )
    return sorted({name for kind in KINDS for name in kind.names()} - before)
