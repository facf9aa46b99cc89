import importlib
import inspect
import pkgutil

import pytest

from bench.plugins import registry
from bench.plugins.sources import sources


def imported(kind):
    """The plugins of the suite, found by importing all that there is."""
    package = importlib.import_module(kind.package)
    for info in pkgutil.iter_modules(package.__path__):
        if info.name != "base" and not info.name.startswith("_"):
            module = importlib.import_module(f"{kind.package}.{info.name}")
            yield from (c for c in kind._plugins(module) if c.__module__.startswith(module.__name__))


@pytest.mark.parametrize("kind", registry.KINDS, ids=lambda kind: kind.kind)
def test_source_text_says_what_importing_would(kind):
    read = {s.name: (s.module, s.class_name, s.doc) for s in sources(kind.package)}
    assert read == {c.name: (c.__module__, c.__name__, inspect.getdoc(c)) for c in imported(kind)}


def test_only_what_names_itself_is_a_plugin(tmp_path, monkeypatch):
    package = tmp_path / "package_of_sources"
    (package / "folder" / "deeper").mkdir(parents=True)
    files = {
        "__init__.py": "raise ImportError('nothing here is imported')\n",
        "base.py": "class Base:\n    name = 'base'\n",
        "_private.py": "class Private:\n    name = 'private'\n",
        "one.py": "class Helper:\n    pass\n\n\nclass One(Helper):\n    '''Of one file.'''\n\n    name: str = 'one'\n",
        "folder/__init__.py": "from package_of_sources.folder.inner import Two\nimport torch\n",
        "folder/inner.py": "class Two:\n    name = 'two'\n\n\nclass NotExported:\n    name = 'other'\n",
        "folder/deeper/__init__.py": "class Three:\n    name = 'three'\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = "package_of_sources"
    assert [*sources(module)] == [
        ("two", f"{module}.folder.inner", "Two", None),
        ("one", f"{module}.one", "One", "Of one file."),
    ]


def test_only_the_method_that_is_asked_for_is_imported(monkeypatch):
    asked = []
    real = importlib.import_module
    monkeypatch.setattr(registry.importlib, "import_module", lambda name: asked.append(name) or real(name))
    fresh = registry.Registry("method", "methods.base.Method", "methods", "bench.methods")
    assert {"softmax", "gss"} <= {*fresh.names()}
    assert fresh.summary("gss").startswith("Label maps as tokens")
    assert asked == []
    assert fresh.get("softmax").name == "softmax"
    assert "methods.gss" not in " ".join(asked)
