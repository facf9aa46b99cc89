"""Shared by all tests: one rendered data root, and the command line in process."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from hypothesis import settings

from tests import command_line

os.environ.setdefault("BENCH_QUIET", "1")
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive():
    """A shell starts its background jobs with SIGINT ignored, and the suite leaves an ignored signal ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests run side by side, one thread each."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root in which toyscapes_mini renders itself, once for the session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def bench(data_root: Path, tmp_path: Path) -> Callable[..., Result]:
    """``bench("run", "--method", ...)`` in process; data root and results folder are added where a command has them."""

    def call(*arguments: str, results: Path | None = None) -> Result:
        extra: list[str] = []
        if arguments[0] in ("run", "evaluate", "verify", "predict", "sample", "explain", "profile"):
            extra += ["--results", str(results or tmp_path / "results"), "--device", "cpu"]
        if (
            arguments[0] in ("run", "evaluate", "verify", "pictures", "sample", "explain", "profile")
            and "--data-root" not in arguments
        ):
            extra += ["--data-root", str(data_root)]
        return command_line.call(*arguments, *extra)

    return call


@pytest.fixture(scope="session")
def finish(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``finish("run", "--method", ...)``: a new results folder with the finished runs of a command."""

    def finish(*command: str) -> Path:
        results = tmp_path_factory.mktemp("finished") / "results"
        where = ["--results", str(results), "--data-root", str(data_root), "--device", "cpu"]
        outcome = command_line.call(*command, *where)
        assert outcome.exit_code == 0, outcome.output
        return results

    return finish


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """Where ``bench`` works: a copy, to be changed, of the results that a module names ``finished``."""
    return Path(shutil.copytree(finished, tmp_path / "results"))
