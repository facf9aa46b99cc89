"""The one pattern of names that become parts of paths, wherever they come from.

Recipes, methods, data sets and their splits, kinds of supervision, anomaly scores and run ids: letters, digits, ``.``,
``_`` and ``-`` of ASCII, the first a letter, a digit or ``_``. So no name holds a separator, leaves its folder, hides
its file, looks like an option, or reads otherwise than it is.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from bench.common.errors import UserError

LONGEST = 60
"""Characters of a name. Four of them and a seed fit into a run id."""
LONGEST_RUN_ID = 240
"""Characters of a run id, which leaves room in a file's name of 255 for its ending."""
RULE = "letters, digits, '.', '_' and '-', beginning with a letter, a digit or '_'"

_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


def require(what: str, name: object, longest: int = LONGEST) -> str:
    """``name``, if it may be part of a path. Raises UserError that says ``what`` it names."""
    try:
        return _name(name, longest)
    except ValueError as error:
        raise UserError(f"{what} cannot be {name!r:.80}: {error}") from None


def _name(name: object, longest: int = LONGEST) -> str:
    if not isinstance(name, str) or not _PATTERN.fullmatch(name) or len(name) > longest:
        raise ValueError(f"a name that becomes part of a path is 1 to {longest} {RULE}")
    return name


def slug(text: str) -> str:
    """A name made of ``text``, such as an image's id: what may not stand in a name becomes ``-``."""
    return re.sub(r"\W+", "-", text, flags=re.ASCII).strip("-")[-LONGEST:].lstrip("-") or "_"


Name = Annotated[str, AfterValidator(_name)]
"""A field of a configuration or record that becomes part of a path."""
RunId = Annotated[str, AfterValidator(lambda name: _name(name, LONGEST_RUN_ID))]
"""A run id in a record."""
