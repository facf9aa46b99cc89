"""What a command tells beside its results: less after -q, more after -v, and one JSON document after --json."""

from __future__ import annotations

import json
import os

import pytest

from bench.common import console, verbosity
from bench.scoring.score import located
from tests.command_line import call

MAJORITY = ("run", "--method", "majority", "--dataset", "toyscapes_mini", "--protocol", "closed-set")


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for variable in (verbosity.QUIET, verbosity.VERBOSE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def finished(finish):
    return finish(*MAJORITY)


def test_an_error_has_its_traceback_only_after_v(tmp_path):
    plain = call("ls", tmp_path)
    (sentence,) = plain.stderr.splitlines()
    for arguments in (["-v", "ls", tmp_path], ["ls", tmp_path, "-v"]):
        told = call(*arguments)
        assert (told.exit_code, told.stderr.splitlines()[-1]) == (plain.exit_code, sentence)
        assert "Traceback (most recent call last)" in told.stderr
        assert told.stdout == ""
    assert verbosity.VERBOSE not in os.environ, "one command's option is no other's"


def test_an_unexpected_error_of_a_plugin_is_one_line_with_a_traceback_after_v(capsys, monkeypatch):
    def fault():
        try:
            return 1 // 0
        except ZeroDivisionError as error:
            return located(error)

    line = fault()
    assert line.startswith("ZeroDivisionError in test_verbosity.py line ")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(verbosity.VERBOSE, "1")
    assert fault() == line
    assert "return 1 // 0" in capsys.readouterr().err


def test_a_run_is_named_as_it_begins_and_above_its_scores_and_after_q_there_alone(bench, finished):
    run = "toyscapes_mini-dense-majority"
    said, quiet = (bench(*MAJORITY, *option, results=finished) for option in ((), ("-q",)))
    named = [[line for line in told.stderr.splitlines() if line.startswith(run)] for told in (said, quiet)]
    assert [len(set(lines)) for lines in named] == [2, 2]  # its id, and that it is finished already
    assert [len(lines) for lines in named] == [3, 2]


def test_a_run_tells_its_plan_after_v(bench, finished):
    said = bench(*MAJORITY, "-v", results=finished)
    assert said.exit_code == 0, said.output
    plan = [line for line in said.stderr.splitlines() if line.startswith(("toyscapes_mini-dense-majority", "in all"))]
    assert plan[0].endswith(": finished")
    assert plan[1].startswith("in all 0 runs to make")
    assert "in all" not in bench(*MAJORITY, results=finished).stderr


def test_progress_is_silent_after_q(monkeypatch, capsys):
    monkeypatch.setattr(console, "QUIET_INTERVAL", -1.0)
    for quiet in ("0", "1"):
        monkeypatch.setenv(verbosity.QUIET, quiet)
        assert [*console.progress(range(2), "counting")] == [0, 1]
        console.remark("a remark")
        told = capsys.readouterr().err
        assert ("counting: 2" in told) == ("a remark" in told) == (quiet == "0")


def test_results_and_problems_stay_after_q(finished, tmp_path):
    assert call("-q", "ls", finished).stdout == call("ls", finished).stdout != ""
    assert call("ls", tmp_path, "-q").stderr == call("ls", tmp_path).stderr != ""


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["ls", "RESULTS"], list),
        (["status", "RESULTS"], list),
        (["list", "protocols"], list),
        (["show", "gmmseg"], dict),
        (["show", "camvid"], dict),
        (["show", "anomaly"], dict),
        (["show", "quick"], dict),
        (["show", "fpn"], dict),
        (["show", "toyscapes_mini-dense-majority", "--results", "RESULTS"], dict),
        (["data", "list"], list),
        (["data", "info", "toyscapes_mini"], dict),
        (["doctor", "--results", "RESULTS"], list),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_results_for_programs_are_one_document(finished, data_root, arguments, kind):
    data = ["--data-root", data_root] if arguments[0] in ("data", "doctor") else []
    outcome = call(*(finished if word == "RESULTS" else word for word in arguments), *data, "--json")
    found = json.loads(outcome.stdout, parse_constant=pytest.fail)  # no NaN, no Infinity
    assert found
    assert type(found) is kind
    assert outcome.stdout.isascii()


def test_what_is_shown_for_programs_has_its_parts(finished, data_root):
    def shown(*arguments):
        return json.loads(call(*arguments, "--json").stdout)

    method = shown("show", "gmmseg")
    assert (method["kind"], method["name"]) == ("method", "gmmseg")
    assert method["configuration"]["properties"]["components"]["type"] == "integer"
    assert shown("show", "fpn")["options"]["decoder_dropout"]["default"] == 0.2
    assert shown("show", "toyscapes_mini-dense-majority", "--results", finished)["config"]["seed"] == 0
    info = shown("data", "info", "toyscapes_mini", "--data-root", data_root)
    assert info["here"]["train"]["images"] == info["splits"]["train"]["count"] > 0


def test_an_architecture_is_shown_in_clean_text():
    text = call("show", "fpn").stdout
    assert text.startswith("architecture fpn\n\nFPN is a fully convolution neural network")
    assert "network.decoder.decoder_dropout: float, default 0.2\n      Spatial dropout rate" in text
    assert "Paper: https://arxiv.org/abs/1612.03144" in text
    for page in (text, call("show", "dpt").stdout, call("list", "architectures").stdout):
        assert not {"`", "*"} & {*page}
        assert "FPN_" not in page
    page = call("show", "unetplusplus").stdout
    assert page.endswith("Paper: https://arxiv.org/abs/1807.10165\n"), "not what the options cite"
    assert "Accepts the following types: - " in page, "an option's list is part of its meaning"
