"""What only reads names, help or records needs nothing of what makes records."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands import catalogue
from bench.plugins.sources import sources
from bench.records import store
from tests.command_line import call

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
        ("data list", "camvid"),
        ("data info camvid", "On this machine"),
        ("list protocols", "closed-set"),
        ("list recipes", "quick"),
        ("show closed-set", "Columns"),
        ("show camvid", "Splits"),
        ("show quick", "recipe.steps"),
        ("show gmmseg", "method.components"),
    ],
)
def test_names_and_help_need_no_torch(arguments, said):
    text = output(*arguments.split())
    assert said in text
    assert text.splitlines()[-1] == "light"


def test_the_page_of_every_method_is_the_same_without_torch():
    names = [source.name for source in sources("methods")]
    assert len(names) >= 10
    code = f"""
import json, sys
from bench.commands import catalogue
pages = {{name: catalogue.page(name) for name in {names}}}
assert not {HEAVY} & sys.modules.keys()
print(json.dumps(pages))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {name: catalogue.page(name) for name in names}


def test_a_method_that_was_read_without_torch_can_be_used_afterwards():
    code = """
from bench.commands import catalogue
from bench.plugins import registry
catalogue.page("gmmseg")
import torch
print(issubclass(registry.methods.get("gmmseg"), torch.nn.Module))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("command", ["leaderboard --format md --format csv --format tex", "export --out numbers.csv"])
def test_tables_of_records_need_no_torch(command, two_records):
    name, *options = command.split()
    folder = ["--out", str(two_records / "numbers.csv")] if name == "export" else options
    assert output(name, str(two_records), *folder).splitlines()[-1] == "light"


@pytest.mark.parametrize("command", ["leaderboard --all", "leaderboard"])
def test_a_reader_that_has_enough_ends_a_table_without_a_word(command):
    words = [sys.executable, "-m", "bench", *command.split(), str(RECORDS.parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "\n"
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == ""


def test_the_leaderboard_reads_each_record_once(two_records, monkeypatch):
    read = []
    real = store.read_record
    monkeypatch.setattr(store, "read_record", lambda path: read.append(path.stem) or real(path))
    assert call("leaderboard", str(two_records)).exit_code == 0
    assert read == sorted(path.stem for path in (two_records / "records").glob("*.json"))


def test_the_leaderboard_the_ledger_and_what_verifies_data_are_imported_without_torch():
    modules = "bench.report.leaderboard, bench.report.leaderboard.curves, bench.records.ledger, bench.data.verification"
    code = f"import sys, {modules}; print({HEAVY} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
