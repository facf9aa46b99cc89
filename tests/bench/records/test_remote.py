"""Results folders at a URL are read as those on disk are, and only read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fsspec
import pytest

from bench.records import remote
from bench.records.store import Store
from tests.command_line import assert_refused, call

SHORT = ("--dataset", "toyscapes_mini", "--protocol", "closed-set", "--set", "recipe.steps=1,2")
CLAIMS = Path(__file__).parents[3] / "results" / "claims.toml"


@pytest.fixture(scope="module")
def finished(finish):
    results = finish("run", "--method", "softmax", "--method", "majority", *SHORT)
    shutil.copyfile(CLAIMS, results / CLAIMS.name)
    return results


@pytest.fixture(params=["memory", "file"])
def url(request, finished):
    if request.param == "file":
        yield f"file://{finished}"
        return
    memory = fsspec.filesystem("memory")
    memory.put(str(finished), "/bucket/results", recursive=True)
    yield "memory://bucket/results"
    memory.rm("/bucket", recursive=True)


def test_a_leaderboard_of_a_url_is_that_of_the_folder(finished, url, tmp_path):
    here, there = call("leaderboard", finished, "--all"), call("leaderboard", url, "--all")
    assert (there.exit_code, there.stdout) == (0, here.stdout)
    assert call("export", "--results", url, "--out", tmp_path / "numbers.csv").exit_code == 0
    assert (tmp_path / "numbers.csv").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "softmax", "majority", "--results"),
        ("compare", "--all"),
        ("compare", "--all", "--results"),
        ("claims",),
    ],
)
def test_what_is_printed_of_a_url_is_what_is_printed_of_the_folder(finished, url, command):
    here, there = call(*command, finished), call(*command, url)
    assert (there.exit_code, there.output) == (0, here.output)


def test_a_curve_of_a_url_is_drawn_where_out_says(url, tmp_path):
    out = tmp_path / "curve.png"
    outcome = call("curve", url, "--x", "recipe.steps", "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert out.exists()
    assert out.with_suffix(".csv").exists()


def test_runs_of_a_url_are_listed_by_their_records(finished, url):
    outcome = call("ls", url, "--json")
    assert outcome.exit_code == 0, outcome.output
    assert {run["run"] for run in json.loads(outcome.stdout)} == {*Store(finished)._ids()}


def test_runs_of_a_url_are_merged_with_their_models(finished, url, tmp_path):
    into, said = tmp_path / "into", f"{url}: 4 added, 0 renewed, 0 there already\n"
    assert call("merge", url, "--into", into).stdout == said
    models = [sorted(path.relative_to(root) for path in root.rglob("*.safetensors")) for root in (into, finished)]
    assert models[0] == models[1] != []
    assert call("leaderboard", into).stdout == call("leaderboard", finished).stdout


def test_of_a_url_only_the_folders_of_runs_that_are_new_are_fetched(url, tmp_path, monkeypatch):
    call("merge", url, "--into", tmp_path)
    monkeypatch.setattr(remote, "bring_run", lambda *arguments: pytest.fail(str(arguments)))
    assert "4 there already" in call("merge", url, "--into", tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("leaderboard", "memory://nothing"), "there is no record"),
        (("leaderboard", "no-such-thing://bucket"), "cannot be read"),
        (("leaderboard", "memory://bucket/results", "--format", "md"), "--out"),
        (("curve", "memory://bucket/results", "--x", "recipe.steps"), "--out"),
        (("compare", "--all", "memory://nothing"), "there is no record"),
        (("merge", "memory://nothing", "--into", "here"), "there is no record"),
    ],
)
def test_a_url_that_cannot_be_read_is_one_sentence(arguments, said):
    outcome = call(*arguments)
    assert_refused(outcome, said)
