"""A run as one archive: what arrives is what was sent, or nothing."""

from __future__ import annotations

import io
import json
import shutil
import signal
import sys
import tarfile
from pathlib import Path

import fsspec
import pytest

from bench.common.errors import UserError
from bench.records import zoo
from bench.records.store import Store
from tests.command_line import assert_refused, call

SHORT = ("--dataset", "toyscapes_mini", "--protocol", "closed-set", "--set", "recipe.steps=1")


@pytest.fixture(scope="module")
def finished(finish):
    return finish("run", "--method", "softmax", *SHORT)


@pytest.fixture(scope="module")
def archive(finished, tmp_path_factory):
    store = Store(finished)
    return zoo.push(store, store.records()[0], str(tmp_path_factory.mktemp("zoo") / "new"))


def contents(root):
    kept = (".json", ".npz", ".safetensors", ".csv")
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.suffix in kept and not path.name.startswith("record.")
    }


def test_a_pulled_run_is_the_pushed_one_and_can_be_scored(finished, archive, tmp_path, bench):
    outcome = call("pull", archive, "--results", str(tmp_path / "results"))
    assert outcome.exit_code == 0, outcome.output
    assert contents(tmp_path / "results") == contents(finished)
    (record,) = Store(finished).records()
    assert bench("evaluate", record.run_id, "--protocol", "closed-set").exit_code == 0
    (again,) = Store(tmp_path / "results").records()
    assert again.protocols["closed-set"].targets == record.protocols["closed-set"].targets


def test_a_model_that_was_cleaned_away_comes_back(finished, archive, tmp_path):
    results = shutil.copytree(finished, tmp_path / "results")
    assert call("clean", results, "--models", "--yes").exit_code == 0
    (record,) = Store(finished).records()
    said = call("pull", archive, "--results", results).stdout.splitlines()[0]
    assert said == f"{record.run_id} was there already; added to it: its model"
    assert contents(results) == contents(finished)
    assert call("pull", archive, "--results", results).stdout.startswith(f"{record.run_id} was there already\n")


def test_it_goes_through_any_file_system_of_fsspec(finished, tmp_path):
    store = Store(finished)
    address = zoo.push(store, store.records()[0], "memory://zoo")
    assert fsspec.filesystem("memory").exists(address)
    assert zoo.pull(address, Store(tmp_path)).added == [store.records()[0].run_id]


def test_the_command_says_where_the_archive_lies(finished, tmp_path):
    (record,) = Store(finished).records()
    outcome = call("push", record.run_id[:30], "--to", str(tmp_path), "--results", str(finished))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.strip() == f"{tmp_path}/{record.run_id}.tar"


def test_a_run_without_a_model_is_refused(finished, tmp_path):
    store = Store(shutil.copytree(finished, tmp_path / "copy"))
    (record,) = store.records()
    next(store.run_folder(record.run_id).glob("*.safetensors")).unlink()
    with pytest.raises(UserError, match="no model here"):
        zoo.push(store, record, str(tmp_path))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def forged(path):
    record = json.loads(path.read_text())
    record["protocols"]["closed-set"]["targets"]["test"]["metrics"]["miou"] += 0.1
    path.write_text(json.dumps(record))


def newer(path):
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 99'))


FAULTS = {
    "the model is cut off": ("runs/*/model.safetensors", cut_off, "is not the one that its run trained and scored"),
    "the statistics are cut off": ("records/*.npz", cut_off, "is damaged"),
    "the statistics contradict the record": ("records/*.json", forged, "is not to be believed"),
    "a newer suite wrote the record": ("records/*.json", newer, "update genseg-bench"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_does_not_hold_is_neither_pushed_nor_pulled(finished, tmp_path, monkeypatch, fault):
    store = Store(shutil.copytree(finished, tmp_path / "copy"))
    (record,) = store.records()
    pattern, damage, words = FAULTS[fault]
    (path,) = store.root.glob(pattern)
    damage(path)
    outcome = call("push", record.run_id, "--to", tmp_path / "zoo", "--results", store.root)
    assert_refused(outcome, words, str(path))
    assert not (tmp_path / "zoo").exists()
    monkeypatch.setattr(zoo, "_require_whole", lambda *_: None)  # as suites before did
    archive = zoo.push(store, record, str(tmp_path / "zoo"))
    monkeypatch.undo()
    outcome = call("pull", archive, "--results", tmp_path / "new")
    assert_refused(outcome, words, archive, path.name)
    assert "pull-" not in outcome.stderr
    assert not contents(tmp_path / "new")


def changed(archive, path, change):
    """The archive with its members, a list of names and bytes, changed."""
    with tarfile.open(archive) as whole:
        members = [(member.name, whole.extractfile(member).read()) for member in whole]
    with tarfile.open(path, "w") as altered:
        for name, content in change(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            altered.addfile(entry, io.BytesIO(content))
    return str(path)


def flipped(content):
    return bytes([content[0] ^ 1]) + content[1:]


DAMAGES = {
    "a byte differs": lambda members: [*members[:-1], (members[-1][0], flipped(members[-1][1]))],
    "a file is missing": lambda members: members[:-1],
    "a file too many": lambda members: [*members, ("runs/extra.csv", b"")],
    "outside of the folder": lambda members: [
        ("manifest.json", json.dumps({"format": 1, "files": {"../evil": "x"}}).encode()),
        ("../evil", b""),
    ],
    "a newer format": lambda members: [("manifest.json", json.dumps({"format": 2, "files": {}}).encode())],
    "no manifest": lambda members: members[1:],
    "no record": lambda members: [
        ("manifest.json", json.dumps({"format": 1, "files": {}}).encode()),
    ],
    "a manifest that is a list": lambda members: [("manifest.json", b"[]"), *members[1:]],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_what_was_pushed_is_one_sentence_and_leaves_nothing(archive, tmp_path, damage):
    path = changed(archive, tmp_path / "altered.tar", DAMAGES[damage])
    outcome = call("pull", path, "--results", str(tmp_path / "results"))
    assert_refused(outcome)
    assert not contents(tmp_path / "results")
    assert not list((tmp_path / "results" / "runs").iterdir())
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("to", ["https://127.0.0.1:1/zoo", "nosuchthing://zoo", "file:///proc/zoo", "{file}"])
def test_where_nothing_can_be_written_is_one_sentence(finished, tmp_path, to):
    (tmp_path / "file").touch()
    (record,) = Store(finished).records()
    outcome = call("push", record.run_id, "--to", to.format(file=tmp_path / "file"), "--results", str(finished))
    assert_refused(outcome)


def test_a_file_system_that_is_not_installed_is_named(finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    (record,) = Store(finished).records()
    outcome = call("push", record.run_id, "--to", "s3://lab/zoo", "--results", finished)
    assert_refused(outcome, "Install s3fs to access S3", "install what fsspec asks for")


def test_an_empty_place_is_refused_and_never_the_root_of_the_machine(finished):
    (record,) = Store(finished).records()
    outcome = call("push", record.run_id, "--to", "", "--results", finished)
    assert outcome.exit_code == 2
    assert "the path is empty" in outcome.stderr


def test_a_file_url_may_name_a_new_folder(finished, tmp_path):
    store = Store(finished)
    zoo.push(store, store.records()[0], (tmp_path / "new" / "zoo").as_uri())
    assert [path.suffix for path in (tmp_path / "new" / "zoo").iterdir()] == [".tar"]


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_an_interrupted_push_leaves_the_archive_that_was_there(finished, tmp_path, monkeypatch, scheme):
    store = Store(finished)
    (record,) = store.records()
    to = f"{scheme}://{tmp_path}"
    address = zoo.push(store, record, to)
    with fsspec.open(address) as file:
        before = file.read()
    monkeypatch.setattr(tarfile.TarFile, "add", lambda *args, **options: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        zoo.push(store, record, to)
    with fsspec.open(address) as file:
        assert file.read() == before
    assert scheme == "memory" or len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("address", ["nowhere.tar", "nosuchthing://x/y.tar", "https://127.0.0.1:1/y.tar"])
def test_an_address_with_nothing_behind_it_is_one_sentence_and_leaves_no_folder(tmp_path, address):
    outcome = call("pull", address, "--results", str(tmp_path / "results"))
    assert_refused(outcome)
    assert not (tmp_path / "results").exists()


def test_the_cause_is_told_and_not_the_address_again(tmp_path):
    pytest.importorskip("aiohttp")
    address = "http://127.0.0.1:1/y.tar"
    outcome = call("pull", address, "--results", tmp_path)
    assert_refused(outcome, f"{address} cannot be read (Cannot connect to host 127.0.0.1:1 ")
    assert outcome.stderr.count(address) == 1
    assert zoo._reason(FileNotFoundError(address), address) == "FileNotFoundError"


def test_a_truncated_archive_is_one_sentence(archive, tmp_path):
    path = tmp_path / "short.tar"
    path.write_bytes(Path(archive).read_bytes()[:20000])
    outcome = call("pull", str(path), "--results", str(tmp_path / "results"))
    assert_refused(outcome)
