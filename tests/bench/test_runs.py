"""What a run keeps when it is scored again, continued, repeated or refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from datasets.base import MissingData, Target
from datasets.toyscapes_mini import ToyscapesMini

RUN = ("run", "--method", "majority", "--dataset", "toyscapes_mini", "--encoder", "resnet18")


@pytest.fixture(scope="module")
def scored(data_root, tmp_path_factory):
    """A results folder with a run of majority under all protocols."""
    from click.testing import CliRunner

    from bench.cli import main

    results = tmp_path_factory.mktemp("scored") / "results"
    where = ["--results", str(results), "--data-root", str(data_root), "--device", "cpu"]
    outcome = CliRunner().invoke(main, [*RUN, *where])
    assert outcome.exit_code == 0, outcome.output
    return results


@pytest.fixture
def results(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def absent(monkeypatch):
    """``absent("fog")``: from now on that split of toyscapes_mini is not there."""
    gone: set[str] = set()
    provide = ToyscapesMini.provide

    def provide_or_not(self):
        if self.split in gone:
            raise MissingData(f"toyscapes_mini: no image of split {self.split!r} was found because it is gone")
        provide(self)

    monkeypatch.setattr(ToyscapesMini, "provide", provide_or_not)
    return gone.update


def record(results) -> dict:
    (path,) = (results / "records").glob("*.json")
    return json.loads(path.read_text())


def arrays(results) -> dict:
    (path,) = (results / "records").glob("*.npz")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def run_folder(results):
    return results / "runs" / record(results)["run_id"]


def state(results) -> dict:
    """Every file of the results, by content."""
    files = (p for p in results.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(results)): p.read_bytes() for p in files}


def without_seconds(found: dict) -> dict:
    return {name: {k: v for k, v in result.items() if k != "seconds"} for name, result in found["protocols"].items()}


def assert_refused(outcome, *words):
    assert outcome.exit_code == 2, outcome.output
    message = outcome.stderr.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for word in words:
        assert word in message, message


class TestScoringAgain:
    """``bench evaluate``, and ``bench run`` of a run that has scores."""

    def test_the_other_protocols_keep_scores_and_arrays(self, bench, results):
        before, kept = record(results), arrays(results)
        assert bench("evaluate", before["run_id"], "--protocol", "closed-set").exit_code == 0
        assert without_seconds(record(results)) == without_seconds(before)
        assert arrays(results).keys() == kept.keys()
        assert all(np.array_equal(array, kept[key]) for key, array in arrays(results).items())

    def test_scores_of_data_that_is_absent_now_are_kept(self, bench, results, absent):
        before = record(results)
        absent(["fog", "anomaly"])
        outcome = bench("evaluate", before["run_id"])
        assert outcome.exit_code == 0, outcome.output
        assert "skipped protocol anomaly" in outcome.stderr
        assert without_seconds(record(results)) == without_seconds(before)
        assert "anomaly/toyscapes_mini/anomaly/ids" in arrays(results)

    def test_a_new_target_is_scored_though_as_many_are_known(self, bench, tmp_path, monkeypatch, absent):
        targets = [Target("toyscapes_mini", domain) for domain in ("night", "fog")]
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets)
        absent(["anomaly"])
        results = tmp_path / "results"
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets[:1])
        assert bench(*RUN).exit_code == 0
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets[1:])
        outcome = bench(*RUN)
        assert outcome.exit_code == 0
        assert "finished already" not in outcome.stderr
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets)
        assert "finished already" in bench(*RUN).stderr
        found = record(results)["protocols"]["cross-domain"]
        assert {*found["targets"]} == {"toyscapes_mini/night", "toyscapes_mini/fog"}
        assert bench("evaluate", record(results)["run_id"], "--protocol", "cross-domain").exit_code == 0
        again = record(results)["protocols"]["cross-domain"]
        assert found["targets"] == again["targets"]
        assert found["summary"] == pytest.approx(again["summary"])


class TestMistakes:
    """What is refused leaves the run as it was."""

    def test_unknown_protocol_or_data_that_is_not_there_with_force(self, bench, results, absent):
        before = state(results)
        assert_refused(bench(*RUN, "--force", "--protocol", "clsed-set"), "closed-set")
        assert_refused(bench("evaluate", record(results)["run_id"], "--protocol", "clsed-set"), "closed-set")
        absent(["train"])
        assert_refused(bench(*RUN, "--force"), "train")
        absent(["anomaly"])
        assert_refused(bench(*RUN, "--force", "--protocol", "anomaly"), "anomaly")
        assert state(results) == before
