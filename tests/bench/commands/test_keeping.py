"""House-keeping in results folders: nothing that was computed is lost."""

from __future__ import annotations

import json
import shutil

import pytest

from bench.common.claims import claimed
from bench.records.store import Store
from tests.command_line import assert_refused, call

SHORT = ("--dataset", "toyscapes_mini", "--protocol", "closed-set", "--set", "recipe.steps=1")


@pytest.fixture(scope="module")
def finished(finish):
    return finish("run", "--method", "majority", "--method", "softmax", *SHORT)


@pytest.fixture
def results(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def test_runs_are_listed_with_status_size_and_what_they_are_of(results, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets, and rows are broken to it
    outcome = call("ls", results)
    assert outcome.exit_code == 0
    assert len(outcome.stdout.splitlines()) == 2
    assert "softmax, toyscapes_mini (dense), quick, seed 0" in outcome.stdout
    assert len({line.index("complete") for line in outcome.stdout.splitlines()}) == 1
    runs = json.loads(call("ls", results, "--json").stdout)
    (softmax,) = [run for run in runs if "softmax" in run["run"]]
    files = [*results.glob(f"records/{softmax['run']}.*"), *(results / "runs" / softmax["run"]).iterdir()]
    assert softmax["megabytes"] == pytest.approx(sum(path.stat().st_size for path in files) / 1e6)
    assert softmax["status"] == "complete"


def test_a_run_is_one_line_for_a_program_and_fits_a_terminal(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("ls", results).stdout.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 80
    monkeypatch.delenv("COLUMNS")
    assert len(call("ls", results).stdout.splitlines()) == 2


def test_a_folder_without_runs_is_one_sentence(tmp_path):
    outcome = call("ls", tmp_path)
    assert_refused(outcome)


@pytest.mark.parametrize("command", [("clean",), ("clean", "--models"), ("migrate",), ("ls",), ("status",)])
def test_a_mistyped_folder_is_one_sentence_and_is_not_made(tmp_path, command):
    assert_refused(call(*command, tmp_path / "nosuch"), "there is no ", str(tmp_path / "nosuch"))
    assert not (tmp_path / "nosuch").exists()


def test_an_unfinished_run_is_listed_too(results):
    store = Store(results)
    (run,) = store.matching("toyscapes_mini-dense-softmax")
    store.record_path(run).unlink()
    assert " unfinished " in call("ls", results).stdout


def test_cleaning_says_first_and_removes_nothing_that_was_not_chosen(results):
    def there():
        return sorted(path for path in results.rglob("*") if path.name != ".lock")

    before = there()
    outcome = call("clean", results)
    assert "model.safetensors" in outcome.stdout
    assert "choose with" in outcome.stdout
    assert call("clean", results, "--models", input="n\n").exit_code == 0
    assert there() == before


def test_without_an_answer_nothing_is_removed_and_yes_is_named(results):
    outcome = call("clean", results, "--models", input="")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert "--yes" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert list(results.rglob("*.safetensors"))


def test_models_go_and_numbers_stay(results):
    table = call("leaderboard", results, "--all").stdout
    assert call("clean", results, "--models", "--yes").exit_code == 0
    assert not list(results.rglob("*.safetensors"))
    assert call("leaderboard", results, "--all").stdout == table


def test_an_unfinished_run_goes_unless_it_is_in_progress(results):
    store = Store(results)
    (run,) = store.matching("toyscapes_mini-dense-softmax")
    store.record_path(run).unlink()
    with claimed(store.run_folder(run), "it"):
        assert call("clean", results, "--unfinished", "--yes").exit_code == 0
        assert store.run_folder(run).is_dir()
    assert call("clean", results, "--unfinished", "--yes").exit_code == 0
    assert not store.run_folder(run).exists()


def test_folders_of_two_machines_become_one(results, tmp_path):
    one, two = tmp_path / "one", shutil.copytree(results, tmp_path / "two")
    store = Store(two)
    for run in store.matching("toyscapes_mini-dense-softmax"):
        store.record_path(run).unlink()
    outcome = call("merge", two, results, "--into", one)
    assert outcome.exit_code == 0, outcome.output
    assert [line.partition(": ")[2] for line in outcome.stdout.splitlines()] == [
        "1 added, 0 renewed, 0 there already",
        "1 added, 0 renewed, 1 there already",
    ]
    assert call("leaderboard", one).stdout == call("leaderboard", results).stdout
    models = [sorted(path.relative_to(root) for path in root.rglob("*.safetensors")) for root in (one, results)]
    assert models[0] == models[1]


def test_of_two_records_of_a_run_the_newer_stays(results, tmp_path):
    newer = Store(shutil.copytree(results, tmp_path / "newer"))
    (run,) = newer.matching("toyscapes_mini-dense-softmax")
    newer.write(newer.find(run).model_copy(update={"created": "2999-01-01T00:00:00Z"}))
    assert "0 added, 1 renewed, 1 there already" in call("merge", newer.root, "--into", results).stdout
    assert Store(results).find(run).created == "2999-01-01T00:00:00Z"
    assert "0 added, 0 renewed, 2 there already" in call("merge", newer.root, "--into", results).stdout


def models(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.safetensors")}


def test_merging_brings_models_back_that_were_cleaned_away(results, tmp_path):
    target = shutil.copytree(results, tmp_path / "target")
    assert call("clean", target, "--models", "--yes").exit_code == 0
    outcome = call("merge", results, "--into", target)
    assert "0 added, 0 renewed, 0 there already" in outcome.stdout
    assert outcome.stdout.count("was there already; added to it: its model\n") == 2
    assert models(target) == models(results) != {}
    assert "0 added, 0 renewed, 2 there already" in call("merge", results, "--into", target).stdout


def test_statistics_that_are_gone_come_back_beside_a_newer_record(results, tmp_path):
    target = Store(shutil.copytree(results, tmp_path / "target"))
    (run,) = target.matching("toyscapes_mini-dense-softmax")
    target.write(target.find(run).model_copy(update={"created": "2999-01-01T00:00:00Z"}))
    target.statistics_path(run).unlink()
    assert (
        f"{run} was there already; added to it: its statistics\n"
        in call("merge", results, "--into", target.root).stdout
    )
    assert target.read_statistics(run).keys() == Store(results).read_statistics(run).keys() != set()


def test_a_model_other_than_that_of_the_record_is_not_brought(results, tmp_path):
    target = shutil.copytree(results, tmp_path / "target")
    call("clean", target, "--models", "--yes")
    for path in results.rglob("*.safetensors"):
        path.write_bytes(b"another")
    assert "0 added, 0 renewed, 2 there already" in call("merge", results, "--into", target).stdout
    assert models(target) == {}


@pytest.mark.parametrize("source", ["same", "empty"])
def test_a_folder_into_itself_and_one_without_records_are_one_sentence(results, tmp_path, source):
    (tmp_path / "empty").mkdir()
    outcome = call("merge", {"same": results, "empty": tmp_path / "empty"}[source], "--into", results)
    assert outcome.exit_code == 2
    assert len(outcome.stderr.splitlines()) == 1
