"""docs/tutorial.md runs from its first command to its last, as it is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.plugins import registry
from tests.command_line import call

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


def commands(block: str) -> list[list[str]]:
    """The words of each line, with paths as a shell expands them."""
    lines = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    return [
        [path for word in line for path in (map(str, Path().glob(word)) if "*" in word else [word])] for line in lines
    ]


def test_the_tutorial_runs_as_it_is_printed(tmp_path, monkeypatch):
    registry.methods.names()
    known = {name: c for name, c in registry.methods._classes.items() if not c.__module__.startswith("bench_plugin_")}
    monkeypatch.setattr(registry.methods, "_classes", known)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    told = []
    for language, block in re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if language == "python":
            plugin = tmp_path / "my_idea.py"
            before, predict, _ = plugin.read_text().partition("    def predict(")
            assert predict
            plugin.write_text(before + block)
            continue
        assert language == "sh"
        for program, *words in commands(block):
            assert program == "bench"
            outcome = call(*words)
            assert outcome.exit_code == 0, (words, outcome.output)
            told.append(outcome)
    assert "finished already" in "".join(outcome.stderr for outcome in told), "softmax of seed 0 is trained once"
    assert any(re.search(r"my_idea +margin ", outcome.stdout) for outcome in told), "a row for the new score"
    assert any(outcome.stdout.startswith("\nmy_idea@margin against softmax@msp") for outcome in told)
    assert len([*Path("results/records").glob("*.json")]) == 7
    assert {path.name for path in Path("predicted").iterdir()} >= {"0000_classes.png", "0000_overlay.png"}
    for left in ("leaderboard/report.html", "curves/method.dim-miou.png", "pictures"):
        assert Path("results", left).exists(), left


@pytest.mark.parametrize(("page", "link"), [("README.md", "docs/tutorial.md"), ("docs/index.md", "\ntutorial\n")])
def test_the_tutorial_is_found(page, link):
    assert link in (ROOT / page).read_text()
