"""The command that is useful next is named to people, works as it stands, and stays out of the way of scripts."""

from __future__ import annotations

import shlex

import pytest

from bench.commands.cli import main
from bench.common import verbosity
from tests.command_line import call

MAJORITY = ("run", "--method", "majority", "--dataset", "toyscapes_mini", "--protocol", "closed-set")


@pytest.fixture(scope="module")
def finished(finish):
    return finish(*MAJORITY)


@pytest.fixture
def terminal(monkeypatch):
    """Standard error is a terminal, as far as rich can see."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv(verbosity.QUIET, raising=False)


def suggested(outcome) -> list[str]:
    """The words of the command that is named at the end, which is parsed as it would be run."""
    assert outcome.exit_code == 0, outcome.output
    line = outcome.stderr.splitlines()[-1]
    assert line.startswith("next: bench ")
    _, _, *words = shlex.split(line)
    context = main.make_context("bench", list(words))
    command, left = main, words
    while hasattr(command, "resolve_command"):
        _, command, left = command.resolve_command(context, left)
    command.make_context("bench", list(left), parent=context)
    return words


@pytest.mark.usefixtures("terminal")
def test_what_was_said_of_places_and_plugins_is_said_again(bench, finished, tmp_path):
    results = str(finished)
    assert suggested(bench(*MAJORITY, results=finished)) == ["leaderboard", "--results", results]
    assert suggested(call("leaderboard", results)) == ["leaderboard", "--format", "html", "--results", results]
    assert suggested(call("ls", "--results", results))[:2] == [
        "show",
        *(p.stem for p in finished.glob("records/*.json")),
    ]
    merged = str(tmp_path / "all here")
    assert suggested(call("merge", results, "--into", merged)) == ["leaderboard", "--results", merged]
    plugin = str(tmp_path / "my_measure.py")
    new = call("new", "protocol", "my-measure", "--out", tmp_path)
    assert suggested(new) == ["check", "my-measure", "--plugin", plugin]
    assert new.stdout.strip() == plugin
    checked = suggested(call("check", "my-measure", "--plugin", plugin))
    assert checked[-4:] == ["--protocol", "my-measure", "--plugin", plugin]


@pytest.mark.usefixtures("terminal")
def test_a_data_set_that_was_looked_at_is_verified_and_then_trained_on(data_root):
    root = ["--data-root", str(data_root)]
    assert suggested(call("data", "info", "toyscapes_mini", *root)) == ["data", "verify", "toyscapes_mini", *root]
    verified = suggested(call("data", "verify", "toyscapes_mini", "--split", "val", *root))
    assert verified == ["run", "--method", "softmax", "--dataset", "toyscapes_mini", *root]


def test_nothing_is_suggested_to_a_script_or_after_q(bench, finished, monkeypatch, terminal):
    assert "next: " not in call("ls", finished, "-q").stderr
    assert "next: " not in call("ls", finished, "--json").stderr
    assert "next: " not in call("ls", finished).stdout
    monkeypatch.delenv("FORCE_COLOR")
    assert call("ls", finished).stderr == ""
