"""Whether the package ``datasets`` that would be imported is this suite's, found out before anything imports it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from bench.common.errors import UserError

REINSTALL = "`pip install --force-reinstall --no-deps genseg-bench`"


def require_own_datasets() -> None:
    """Stop if another package named ``datasets`` (Hugging Face's, say) shares the place of this suite's.

    Whichever was installed last has overwritten files of the other, and uninstalling one removes files of both. Looks
    at the files alone: importing the other package would cost seconds.
    """
    found = importlib.util.find_spec("datasets")
    origin = None if found is None else found.origin
    if origin is None:
        raise UserError(
            "this suite's package 'datasets' has lost its __init__.py, as happens when another package of that name is "
            f"uninstalled; run {REINSTALL}"
        )
    initial = Path(origin)
    remedy = (
        f"run `pip uninstall -y datasets` and then {REINSTALL}, or install genseg-bench into an environment that the "
        "other package is not in, for example with `uv tool install` or `pipx install`"
    )
    if "GENSEG_BENCH" not in initial.read_text(errors="replace"):
        raise UserError(f"the package 'datasets' at {initial.parent} hides this suite's package of that name; {remedy}")
    try:
        other = importlib.metadata.distribution("datasets")
    except importlib.metadata.PackageNotFoundError:
        return
    if Path(str(other.locate_file("datasets/__init__.py"))) == initial:
        raise UserError(f"another package 'datasets' is installed over this suite's in {initial.parent}; {remedy}")
