"""Results folders at a URL are read as those on disk are, and only read."""

from __future__ import annotations

import fsspec
import pytest
from click.testing import CliRunner

from bench.commands.cli import main

SHORT = ("--dataset", "toyscapes_mini", "--protocol", "closed-set", "--set", "recipe.steps=1")


@pytest.fixture(scope="module")
def finished(finish):
    return finish("run", "--method", "majority", *SHORT)


def call(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(params=["memory", "file"])
def url(request, finished):
    if request.param == "file":
        return f"file://{finished}"
    memory = fsspec.filesystem("memory")
    memory.put(str(finished / "records"), "/bucket/results/records", recursive=True)
    return "memory://bucket/results"


def test_a_leaderboard_of_a_url_is_that_of_the_folder(finished, url, tmp_path):
    here, there = call("leaderboard", finished, "--all"), call("leaderboard", url, "--all")
    assert (there.exit_code, there.stdout) == (0, here.stdout)
    assert call("export", "--results", url, "--out", tmp_path / "numbers.csv").exit_code == 0
    assert (tmp_path / "numbers.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("memory://nothing",), "there is no record"),
        (("no-such-thing://bucket",), "cannot be read"),
        (("memory://bucket/results", "--format", "md"), "--out"),
    ],
)
def test_a_url_that_cannot_be_read_is_one_sentence(arguments, said):
    outcome = call("leaderboard", *arguments)
    assert (outcome.exit_code, len(outcome.stderr.splitlines())) == (2, 1), outcome.output
    assert said in outcome.stderr
