"""The notebook of docs/ledger.md runs on what `bench export` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.records.store import Store
from bench.report.leaderboard import build, render
from tests.command_line import call

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("format", ["csv", "json"])
def test_export_writes_the_file(tmp_path, format):
    path = tmp_path / "new" / f"numbers.{format}"
    outcome = call("export", str(ROOT / "results"), "--format", format, "--out", str(path))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.strip() == str(path)
    assert path.stat().st_size > 1000


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
