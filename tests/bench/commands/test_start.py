"""What only reads names, help or records needs nothing of what makes records."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.commands.cli import main
from bench.records import store

RECORDS = Path(__file__).parents[3] / "results" / "records"
HEAVY = {"torch", "scipy", "lightning", "matplotlib", "skimage"}
COMMAND = f"""
import runpy, sys
sys.argv = ["bench", *sys.argv[1:]]
try:
    runpy.run_module("bench", run_name="__main__")
except SystemExit as end:
    assert not end.code
print({HEAVY} & sys.modules.keys() or "light")
"""


def output(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def two_records(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    (root / "records").mkdir()
    for path in sorted(RECORDS.glob("*-s0-*"))[:4]:
        shutil.copy(path, root / "records" / path.name)
    return root


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--help", "Usage"),
        ("run --help", "Usage"),
        ("list methods", "gmmseg"),
        ("list datasets", "camvid"),
        ("list protocols", "closed-set"),
        ("list recipes", "quick"),
        ("show closed-set", "Columns"),
        ("show camvid", "Splits"),
        ("show quick", "recipe.steps"),
    ],
)
def test_names_and_help_need_no_torch(arguments, said):
    text = output(*arguments.split())
    assert said in text
    assert text.splitlines()[-1] == "light"


@pytest.mark.parametrize("command", ["leaderboard --format md --format csv --format tex", "export --out numbers.csv"])
def test_tables_of_records_need_no_torch(command, two_records):
    name, *options = command.split()
    folder = ["--out", str(two_records / "numbers.csv")] if name == "export" else options
    assert output(name, str(two_records), *folder).splitlines()[-1] == "light"


def test_the_leaderboard_reads_each_record_once(two_records, monkeypatch):
    read = []
    real = store.read_record
    monkeypatch.setattr(store, "read_record", lambda path: read.append(path.stem) or real(path))
    assert CliRunner().invoke(main, ["leaderboard", str(two_records)]).exit_code == 0
    assert read == sorted(path.stem for path in (two_records / "records").glob("*.json"))


def test_the_leaderboard_and_the_ledger_are_imported_without_torch():
    modules = "bench.report.leaderboard, bench.report.leaderboard.curves, bench.records.ledger"
    code = f"import sys, {modules}; print({HEAVY} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
