import sys
import types

import pytest

from bench.common.errors import UserError
from bench.plugins import registry
from methods.base import Method
from methods.softmax import Softmax

PLUGIN = """
from methods.softmax import Softmax

class Mine(Softmax):
    name = "mine_{name}"
"""


def test_built_in_plugins_are_found_by_scanning():
    assert {"softmax", "majority", "gmmseg"} <= set(registry.methods.names())
    assert {"toyscapes", "camvid", "cityscapes", "pascal_voc_aug"} <= set(registry.datasets.names())


def test_unknown_name_gives_near_matches():
    with pytest.raises(UserError, match="did you mean gmmseg"):
        registry.methods.get("gmseg")


def test_plugin_file_is_registered(tmp_path):
    path = tmp_path / "plugin_a.py"
    path.write_text(PLUGIN.format(name="a"))
    assert registry.load_plugin(path) == ["mine_a"]
    assert registry.methods.get("mine_a").__name__ == "Mine"


def test_a_plugin_file_may_import_a_file_beside_it(tmp_path, monkeypatch):
    (tmp_path / "a_helper_beside_it.py").write_text('NAME = "mine_with_help"\n')
    (tmp_path / "json.py").write_text("raise ValueError('not the library')\n")
    path = tmp_path / "plugin_b.py"
    path.write_text(
        "import json\n"
        "from a_helper_beside_it import NAME\n"
        "from methods.softmax import Softmax\n"
        "class Mine(Softmax):\n"
        "    name = NAME\n"
    )
    before = list(sys.path)
    monkeypatch.delitem(sys.modules, "json")
    assert registry.load_plugin(path) == ["mine_with_help"]
    assert sys.path == before
    monkeypatch.setattr(sys, "path", [str(tmp_path), *before])
    registry.load_plugin(path)
    assert sys.path == [str(tmp_path), *before], "a folder that was there before stays"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def broken(:\n", "syntax error in line 1"),
        ("x = 1\nraise ValueError('boom')\n", "line 2: boom"),
        ("import a_package_that_is_not_there\n", "ModuleNotFoundError"),
        ("x = 1\n", "defines no Method"),
        ("from methods.softmax import Softmax\nclass A(Softmax):\n    name = ''\n", "has no name"),
        ("from methods.softmax import Softmax\nclass A(Softmax):\n    name = 'gmmseg'\n", "two methods are named"),
    ],
)
def test_bad_plugin_file_is_one_sentence(tmp_path, content, message):
    path = tmp_path / f"plugin_{abs(hash(content))}.py"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        registry.load_plugin(path)
    assert "\n" not in str(caught.value)


def test_missing_plugin_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.py"):
        registry.load_plugin(tmp_path / "nothing.py")


class Nameless(Softmax):
    name = ""


class Doubled(Softmax):
    name = "gmmseg"


class NoMethod:
    name = "no_method"


class Mine(Softmax):
    name = "mine_of_a_package"


def leave():
    raise SystemExit("a package that exits")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (lambda: Nameless, ["no name"]),
        (lambda: Doubled, ["two methods are named"]),
        (lambda: Mine, ["'mine_of_a_package'", "the same name"]),
        (lambda: NoMethod, ["NoMethod", "methods.base.Method"]),
        (lambda: Method, ["methods.base.Method"]),
        (lambda: "text", ["'text'", "methods.base.Method"]),
        (leave, ["a package that exits"]),
    ],
)
def test_an_entry_point_that_cannot_be_registered_disables_itself_alone(monkeypatch, load, words):
    entries = [types.SimpleNamespace(name="bad_one", load=load)]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entries)
    fresh = registry.Registry("method", "methods.base.Method", "methods", "bench.methods")
    assert {"softmax", "gmmseg"} <= set(fresh.names())
    assert fresh.get("gmmseg").__module__ == "methods.gmmseg.method"
    with pytest.raises(UserError) as caught:
        fresh.get("bad_one")
    assert "\n" not in str(caught.value)
    for word in ("bad_one", *words):
        assert word in str(caught.value)


def test_an_entry_point_of_another_name_than_its_class_is_explained_under_both(monkeypatch):
    entries = [types.SimpleNamespace(name="my_idea", load=lambda: Mine)]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entries)
    fresh = registry.Registry("method", "methods.base.Method", "methods", "bench.methods")
    for name in ("my_idea", "mine_of_a_package"):
        with pytest.raises(UserError, match=r"'my_idea'.*'mine_of_a_package'"):
            fresh.get(name)
    assert "mine_of_a_package" not in fresh.names()


def test_entry_points_are_read(monkeypatch):
    class Entered(Softmax):
        name = "entered"

    def broken():
        raise ImportError("no such library")

    entries = [
        types.SimpleNamespace(name="entered", load=lambda: Entered),
        types.SimpleNamespace(name="shattered", load=broken),
    ]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entries)
    fresh = registry.Registry("method", "methods.base.Method", "methods", "bench.methods")
    assert fresh.get("entered") is Entered
    with pytest.raises(UserError, match="no such library"):
        fresh.get("shattered")
