"""A shell completes names at once: nothing heavy is imported for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.commands.test_start import COMMAND

RESULTS = Path(__file__).parents[3] / "results"


def completed(*words: str) -> list[str]:
    line = {
        "_BENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("bench", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True, env=os.environ | line)
    assert done.returncode == 0, done.stderr
    *found, weight = done.stdout.split()
    assert weight == "light"
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("comp", ["plain,compare"]),
        ("run --method gm", ["plain,gmmseg"]),
        ("run --dataset toyscapes_", ["plain,toyscapes_mini"]),
        ("run --protocol cal", ["plain,calibration"]),
        ("run --recipe settl", ["plain,settled"]),
        ("run --recipe ./mine", ["file,./mine"]),
        ("show frequency", ["plain,frequency-weighted-iou"]),
        ("data verify idd_", ["plain,idd_lite"]),
    ],
)
def test_names_are_completed_without_what_makes_them(words, expected):
    assert completed(*words.split()) == expected


def test_runs_are_completed_from_the_folder_that_the_line_names():
    (run, *_) = sorted(path.stem for path in (RESULTS / "records").glob("*.json"))
    assert completed("evaluate", "--results", str(RESULTS), run[:-1])[0] == f"plain,{run}"
    assert f"plain,{run}" in completed("compare", "gmmseg", "--results", str(RESULTS), run[:20])
