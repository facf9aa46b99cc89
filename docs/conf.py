"""The documentation site: `make docs` builds it from the Markdown of the whole tree and from docstrings, offline."""

import re
from textwrap import indent
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

import bench
from bench.commands.catalogue import fields
from bench.config.tables import DataConfig, NetworkConfig, Recipe
from methods.base import MethodConfig

project = "genseg-bench"
author = "The genseg-bench authors"
version = release = bench.__version__

# Pages are read where GitHub shows them: a link that is broken there is a warning here, and warnings are errors.
root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/*.md", "results/leaderboard/*.md",
    "benchmarks/README.md",
]  # fmt: skip
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config"}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
default_role = "code"
suppress_warnings = ["ref.python"]  # of a type by its short name, which two classes may have

html_theme = "furo"
html_title = f"genseg-bench {version}"
html_extra_path = ["site"]
html_copy_source = False


KEYS = {NetworkConfig: "network", Recipe: "recipe", DataConfig: "data"}
"""Where ``--set`` reaches the fields of a configuration."""


def write_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Understand ``Args:`` and ``Raises:``, and list the fields of a configuration as ``bench show`` does.

    Colons of attributes are let alone: napoleon expects a type before them.
    """
    if what not in ("attribute", "data", "property"):
        lines[:] = GoogleDocstring(lines, what=what, name=name, obj=obj, options=options).lines()
    if what == "class" and (key := "method" if issubclass(obj, MethodConfig) else KEYS.get(obj)):
        listed = "\n".join(fields(obj, key))
        lines += ["", ".. code-block:: text", "", *indent(listed, "   ").splitlines(), ""]


def write_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Leave out that of a table, which is long; show a default that is no literal as ``...``, which Sphinx can read."""
    if what == "class" and issubclass(obj, BaseModel):
        return "", None
    return signature and re.sub(r"= ?<.*?>+", "= ...", signature), result


def setup(app: Sphinx) -> None:
    """Register both hooks."""
    app.connect("autodoc-process-docstring", write_docstring)
    app.connect("autodoc-process-signature", write_signature)
