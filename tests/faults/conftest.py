"""A small data set and one processor to train on; short runs in forked children, and what two of them share."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import fabric, mini
from tests.faults import injection

__all__ = ["fabric", "mini"]


def settings(*assignments: str) -> tuple[str, ...]:
    """``--set`` each."""
    return tuple(word for assignment in assignments for word in ("--set", assignment))


SHORT = (
    "--dataset",
    "toyscapes_mini",
    "--encoder",
    "tu-mobilenetv3_small_050",
    "--device",
    "cpu",
    "--protocol",
    "closed-set",
)
"""Four steps with a checkpoint after two, and two splits to score."""
SETTINGS = {
    "segsort": ("--supervision", "points"),
    "gss": settings(
        "method.codec_steps=4",
        "method.codec_crop=16",
        "method.codec_width=8",
        "method.codec_batch=2",
        "method.hidden=32",
        "recipe.workers=1",
    ),
}
"""By method, what lets its run meet a phase that others lack, in little time."""


def arguments(method: str, data: Path, results: Path) -> list[str]:
    """Of the command that runs ``method``."""
    where = ["--data-root", str(data), "--results", str(results)]
    return ["run", "--method", method, *SHORT, *SETTINGS.get(method, ()), *where]


def numbers(results: Path) -> dict[str, Any]:
    """What of the one record in ``results`` must not depend on what befell its run."""
    (path,) = (results / "records").glob("*.json")
    record = json.loads(path.read_text())
    scores = {name: {**protocol, "seconds": None} for name, protocol in record["protocols"].items()}
    losses = record["training"]["final_losses"]
    return {"hash": record["checkpoint_hash"], "scores": scores, "facts": record["method_facts"], "losses": losses}


@pytest.fixture(scope="session", autouse=True)
def _imported():
    """Import here, once, what children would import each."""


@pytest.fixture
def forked(tmp_path: Path) -> Callable[..., injection.Outcome]:
    return partial(injection.forked, log=tmp_path / "stderr")


@pytest.fixture(scope="session")
def finished(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``finished(method)``: the results of a run that nothing befell."""
    known: dict[str, Path] = {}

    def finish(method: str) -> Path:
        if method not in known:
            results = tmp_path_factory.mktemp(method) / "results"
            outcome = injection.forked(arguments(method, data_root, results), log=results.with_suffix(".log"))
            assert outcome.code == 0, outcome.stderr
            known[method] = results
        return known[method]

    return finish
