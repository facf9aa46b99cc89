"""The notebook of docs/ledger.md runs on what `bench export` writes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench.records.store import Store
from bench.report.leaderboard import build, render
from tests.command_line import assert_refused, call

ROOT = Path(__file__).parents[2]


@pytest.fixture
def honest(tmp_path):
    """A results folder with one record."""
    store = Store(tmp_path / "results")
    store.records_folder.mkdir(parents=True)
    first = min((ROOT / "results" / "records").glob("*.json"))
    for path in (first, first.with_suffix(".npz")):
        shutil.copy(path, store.records_folder)
    return store


@pytest.mark.parametrize("format", ["csv", "json"])
def test_export_writes_the_file(tmp_path, format):
    path = tmp_path / "new" / f"numbers.{format}"
    outcome = call("export", str(ROOT / "results"), "--format", format, "--out", str(path))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.strip() == str(path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "form", "written"),
    [
        ("x.csv", (), "csv"),
        ("x.JSON", (), "json"),
        ("x.parquet", (), "parquet"),
        ("x.txt", (), "csv"),
        ("x", (), "csv"),
        ("x.txt", ("--format", "json"), "json"),
    ],
)
def test_the_suffix_says_what_export_writes_where_no_format_does(honest, tmp_path, name, form, written):
    path = tmp_path / name
    assert call("export", honest.root, *form, "--out", path).exit_code == 0
    starts = {"csv": b"run,", "json": b"[{", "parquet": b"PAR1"}
    assert path.read_bytes().startswith(starts[written])


def test_a_format_that_the_suffix_contradicts_is_refused(honest, tmp_path):
    outcome = call("export", honest.root, "--format", "parquet", "--out", tmp_path / "x.csv")
    assert_refused(outcome, "x.csv", "--format")
    assert not (tmp_path / "x.csv").exists()


def test_export_of_no_records_is_one_sentence(tmp_path):
    outcome = call("export", str(tmp_path), "--out", str(tmp_path / "numbers.csv"))
    assert outcome.exit_code == 2
    assert "bench run" in outcome.output
    assert len(outcome.output.splitlines()) == 1


def test_the_notebook_gives_the_means_of_the_tables(tmp_path, monkeypatch, capsys):
    arguments = ["export", str(ROOT / "results"), "--out", str(tmp_path / "numbers.csv")]
    assert call(*arguments).exit_code == 0
    (notebook,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ledger.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(notebook, names)
    assert "softmax" in capsys.readouterr().out
    means = names["miou"].groupby(["group", "configuration", "reading"]).value.mean()
    tables = build(Store(ROOT / "results").records(), lambda run_id, under: {}, resamples=0)
    text = "".join(render(table, "md") for table in tables)
    assert all(f"{100 * mean:.2f}" in text for mean in means)
