"""SIGINT and SIGTERM in every phase of every command: one line, exit code 130 or 143, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from bench.common import interruption
from tests.faults import injection
from tests.faults.conftest import arguments, numbers
from tests.faults.injection import At, send

INT, TERM = signal.SIGINT, signal.SIGTERM


def assert_one_line(outcome: injection.Outcome, number: int) -> None:
    assert outcome.code == 128 + number, outcome.stderr
    lines = outcome.stderr.splitlines()
    assert lines[-1].startswith("interrupted")
    assert lines[-1].endswith("; the same command continues")
    for word in ("Traceback", "Exception", "Aborted", "Error", "failed"):
        assert word not in outcome.stderr, outcome.stderr
    assert outcome.stderr.count("interrupted") == 1


def while_forking(number: int) -> None:
    """Let the next fork of this process be interrupted where Python swallows what is raised."""
    struck: list[int] = []

    def hook() -> None:
        if not struck:
            struck.append(number)
            send(number)

    os.register_at_fork(after_in_parent=hook)


SEGSORT = [
    ("start-up", At("bench.commands.options.load_plugins"), None),
    ("planning", At("bench.runs.execute._opened"), None),
    ("rendering", At("datasets.toyscapes.cache.write_picture", 3), None),
    ("deriving labels", At("datasets.supervision.wrapper.derive", 2), None),
    ("building the network", At("bench.model.network.SegmentationNetwork.__init__"), None),
    ("the first step", At("bench.training.loop.schedule"), "step 1 of 4"),
    ("reading ahead for the bank", At("bench.data.reading.ThreadPoolExecutor.submit", 2), None),
    ("building the bank", At("methods.segsort.method.SegSort._bank_rows", 2), None),
    ("writing the weights", At("bench.training.loop.save_model"), None),
    ("reading ahead for the scores", At("bench.scoring.score.read_ahead"), None),
    ("scoring", At("bench.model.predictor.Predictor.__call__", 3), None),
    ("writing the record", At("bench.records.store.Store.write"), None),
    ("showing the scores", At("bench.report.summary.show"), None),
]
GSS = [
    ("reading labels", At("methods.gss.method.read_labels"), None),
    ("fitting the codec", At("torch.optim.AdamW.step", 2), None),
    ("forking the training's loader", At("bench.data.batches.training_batches"), while_forking),
    ("writing a checkpoint", At("bench.training.checkpoint.serialised"), "step 3 of 4"),
    ("the last step", At("bench.training.loop.schedule"), "step 4 of 4"),
    ("writing the weights", At("os.fsync"), None),
]


@pytest.mark.parametrize(
    ("method", "phases", "number", "group"),
    [
        ("segsort", SEGSORT, INT, True),
        ("gss", GSS, TERM, False),
        *(
            pytest.param(*these, number, group, marks=pytest.mark.long)
            for these in (("segsort", SEGSORT), ("gss", GSS))
            for number, group in ((INT, True), (INT, False), (TERM, True), (TERM, False))
        ),
    ],
)
def test_a_run_interrupted_in_every_phase_ends_with_the_same_numbers(
    forked, finished, tmp_path, method, phases, number, group
):
    results = tmp_path / "results"
    command = arguments(method, tmp_path / "data", results)
    for phase, at, what in phases:
        act = what if callable(what) else partial(send, group=group)
        outcome = forked(command, at=at, action=partial(act, number))
        assert outcome.code != 0, f"{phase} was not met"
        assert_one_line(outcome, number)
        if isinstance(what, str):
            assert what in outcome.stderr
    assert forked(command).code == 0
    assert numbers(results) == numbers(finished(method))


@pytest.fixture(scope="module")
def written(data_root, tmp_path_factory):
    """A results folder with a run of SegSort."""
    folder = tmp_path_factory.mktemp("commands")
    command = arguments("segsort", data_root, folder / "results")
    outcome = injection.forked(command, log=folder / "log")
    assert outcome.code == 0, outcome.stderr
    return folder / "results"


@pytest.mark.parametrize(
    ("number", "command", "at"),
    [
        (
            INT,
            "evaluate RUN --results RESULTS --data-root DATA --device cpu",
            At("bench.model.predictor.Predictor.__call__"),
        ),
        (TERM, "predict RUN IMAGE --results RESULTS --out OUT --device cpu", At("bench.common.files.write")),
        (
            INT,
            "explain RUN test/0000 --results RESULTS --data-root DATA --out OUT",
            At("bench.report.explanation.explain"),
        ),
        (TERM, "leaderboard RESULTS --out OUT --format md", At("bench.report.leaderboard.write")),
        (INT, "pictures RESULTS --data-root DATA --out OUT", At("bench.report.pictures.panel")),
        (TERM, "list methods", At("bench.commands.catalogue.listing")),
        (INT, "show RUN --results RESULTS", At("bench.commands.catalogue.page")),
        (TERM, "check softmax --data-root DATA", At("bench.checks.method.check")),
        (INT, "new method proto --out OUT", At("bench.plugins.templates.new")),
    ],
)
def test_other_commands_end_alike_and_leave_no_half_a_file(forked, written, data_root, tmp_path, number, command, at):
    (run,) = (path.stem for path in (written / "records").glob("*.json"))
    image = next(data_root.glob("toyscapes_mini/*/test/images/*.png"))
    places = {"RUN": run, "RESULTS": written, "DATA": data_root, "OUT": tmp_path / "out", "IMAGE": image}
    words = [str(places.get(word, word)) for word in command.split()]
    assert_one_line(forked(words, at=at, action=partial(send, number)), number)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize(("number", "module"), [(INT, "click"), (TERM, "pydantic"), (INT, "torch"), (TERM, "torch.nn")])
def test_starting_up_is_a_phase_like_any_other(number, module, tmp_path):
    command = [sys.executable, injection.__file__, str(int(number)), "import", module, "--"]
    command += arguments("softmax", tmp_path, tmp_path / "results")
    environment = {**os.environ, "PYTHONPATH": str(Path(interruption.__file__).parents[2])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert_one_line(injection.Outcome(ended.returncode, ended.stderr), number)
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "results" / "records").exists()


def test_a_signal_that_is_delivered_twice_is_one(forked, data_root, tmp_path):
    def twice() -> None:
        send(INT)
        send(INT)

    command = arguments("softmax", data_root, tmp_path / "results")
    assert_one_line(forked(command, at=At("bench.training.loop.schedule"), action=twice), INT)
    assert list((tmp_path / "results").glob("runs/*/training.ckpt"))


def test_a_second_signal_ends_the_process_within_the_step(forked, data_root, tmp_path):
    def again() -> None:
        interruption.ONE_REQUEST = -1.0  # as if time had passed
        send(INT)
        send(TERM)

    command = arguments("softmax", data_root, tmp_path / "results")
    outcome = forked(command, at=At("bench.training.loop.schedule"), action=again)
    assert outcome.code == 128 + TERM
    assert not list((tmp_path / "results").glob("runs/*/training.ckpt"))


TRAINING, SCORING = At("bench.training.loop.schedule", 3), At("bench.model.predictor.Predictor.__call__", 3)


@pytest.mark.parametrize(("number", "at"), [(signal.SIGKILL, TRAINING), (signal.SIGKILL, SCORING), (TERM, SCORING)])
def test_no_loading_process_outlives_its_parent(forked, data_root, tmp_path, number, at):
    """Each process of a run holds the end of a pipe; it closes when the last of them is gone."""
    reading, writing = os.pipe()
    command = [*arguments("softmax", data_root, tmp_path / "results"), "--set", "recipe.workers=2"]
    outcome = forked(command, at=at, action=partial(send, number))
    assert outcome.code == (128 + number if number == TERM else -number)
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_failed_row_is_not_left_by_what_a_signal_brought_about(forked, data_root, tmp_path):
    def break_off() -> None:
        with contextlib.suppress(interruption.Interrupted):  # as a library may
            send(TERM)
        raise RuntimeError("DataLoader worker is killed by signal: Terminated.")

    command = arguments("softmax", data_root, tmp_path / "results")
    assert_one_line(forked(command, at=At("bench.model.network.SegmentationNetwork.forward"), action=break_off), TERM)
    assert not list((tmp_path / "results" / "records").iterdir())


def test_after_a_command_the_handlers_are_those_of_before(capsys):
    before = [signal.getsignal(number) for number in (INT, TERM)], sys.unraisablehook
    assert interruption.run(lambda: 5) == 5
    with pytest.raises(SystemExit) as ended:
        interruption.run(lambda: send(TERM))
    assert ended.value.code == 143
    assert ([signal.getsignal(number) for number in (INT, TERM)], sys.unraisablehook) == before
    assert capsys.readouterr().err == "interrupted; the same command continues\n"


def test_what_a_shell_runs_in_the_background_does_not_hear_the_terminal():
    before = signal.signal(INT, signal.SIG_IGN)
    try:
        assert interruption.run(lambda: send(INT)) is None
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        signal.signal(INT, before)


def test_a_signal_that_python_swallowed_is_raised_again(capsys):
    class Collected:
        def __del__(self) -> None:
            send(INT)

    def command() -> None:
        Collected()
        while True:
            signal.pause()

    with pytest.raises(SystemExit) as ended:
        interruption.run(command)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; the same command continues\n"


def test_what_is_held_is_done_to_its_end():
    done = []

    def command() -> None:
        with interruption.held():
            send(TERM)
            interruption.check()
            done.append("held")
        done.append("beyond")

    with pytest.raises(SystemExit):
        interruption.run(command)
    assert done == ["held"]
