"""What a user's environment receives."""

import tomllib
from pathlib import Path

import setuptools

ROOT = Path(__file__).resolve().parent.parent


def test_wheel_holds_the_three_packages_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = setuptools.find_namespace_packages(str(ROOT), include=patterns)
    assert {name.split(".")[0] for name in packages} == {"bench", "methods", "datasets"}
    folders = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for top in ("bench", "methods", "datasets")
        for path in (ROOT / top).rglob("*.py")
    }
    assert folders == {name for name in packages if list((ROOT / name.replace(".", "/")).glob("*.py"))}
