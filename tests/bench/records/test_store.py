import json
import os

import numpy as np
import pytest

from bench.common import files
from bench.common.errors import UserError
from bench.config import tables as config
from bench.plugins import registry
from bench.records import store as records


@pytest.fixture
def record():
    made = config.build(registry.methods.get("softmax"), "toyscapes_mini", "quick", 0)
    return records.Record(
        run_id=made.run_id(),
        fingerprint=made.fingerprint(),
        status="complete",
        created="2020-01-01",
        config=made,
        configuration="softmax",
    )


@pytest.fixture
def notes(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(records, "note", said.append)
    return said


@pytest.fixture
def store(tmp_path):
    made = records.Store(tmp_path / "results")
    made.require_writable()
    return made


def test_record_and_statistics_round_trip(store, record):
    store.write(record)
    arrays = {"closed-set/test/confusion": np.arange(8).reshape(2, 2, 2)}
    store.write_statistics(record.run_id, arrays)
    assert store.read(record.run_id) == record
    read = store.read_statistics(record.run_id)
    assert np.array_equal(read["closed-set/test/confusion"], arrays["closed-set/test/confusion"])


def test_failed_write_leaves_the_old_file_and_no_rest(store, record, monkeypatch):
    store.write(record)
    path = store.record_path(record.run_id)
    before = path.read_bytes()

    def interrupted(handle):
        raise RuntimeError

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(RuntimeError):
        store.write(record.model_copy(update={"reason": "half"}))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


BROKEN = ["", "{", "[]", *(f'{{"schema_version": {v}}}' for v in ("1", "2", "0", '"3"', "null")), "\udcff"]


@pytest.mark.parametrize("content", BROKEN)
def test_damaged_record_is_an_error_that_names_the_file(store, record, content):
    path = store.record_path(record.run_id)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        store.records()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_records_that_cannot_be_read_are_named_in_one_sentence(store, record):
    store.write(record)
    for name, content in (("foreign", '{"schema_version": -99}'), ("half", "{")):
        store.record_path(name).write_text(content)
    with pytest.raises(UserError) as caught:
        store.records()
    message = str(caught.value)
    for word in ("foreign.json", "99", "half.json", "damaged"):
        assert word in message
    assert record.run_id not in message
    assert message.count("move") == 1
    assert "\n" not in message


def test_a_record_of_a_newer_suite_is_left_out_and_named(store, record, notes):
    store.write(record)
    path = store.record_path("later")
    path.write_text('{"schema_version": 3, "what": "new"}')
    assert store.records() == [record]
    (said,) = notes
    for word in (str(path), "schema version 3", "up to 2", "update genseg-bench"):
        assert word in said
    assert "\n" not in said
    with pytest.raises(UserError, match="update genseg-bench"):
        store.find("later")


def test_an_unfinished_record_among_the_others_is_left_out_and_named(store, record, notes):
    store.write(record.model_copy(update={"status": "unfinished"}))
    assert store.records() == []
    (said,) = notes
    assert "unfinished" in said


class TestUnfinished:
    """Runs that were interrupted before they had a record."""

    def left(self, store, record, folder=None):
        folder = folder or store.run_folder(record.run_id)
        content = {**record.model_dump(mode="json"), "status": "unfinished"}
        files.write_sealed(folder / records.SO_FAR, json.dumps(content).encode(), records.ABOUT)

    def test_are_known_until_they_have_a_record(self, store, record):
        assert store.unfinished() == []
        self.left(store, record)
        assert [found.status for found in store.unfinished()] == ["unfinished"]
        assert store.records() == []
        store.write(record)
        assert store.unfinished() == []

    def test_are_not_what_is_damaged_or_no_run(self, store, record):
        store.cache.mkdir(parents=True)
        (store.root / "runs" / "a file").write_text("")
        self.left(store, record)
        path = store.run_folder(record.run_id) / records.SO_FAR
        path.write_bytes(path.read_bytes()[:-1])
        assert store.unfinished() == []

    def test_of_no_folder_there_are_none(self, tmp_path):
        assert records.Store(tmp_path / "nothing").unfinished() == []


def test_unknown_key_in_a_record_is_an_error(store, record):
    store.write(record)
    path = store.record_path(record.run_id)
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}))
    with pytest.raises(UserError, match="damaged"):
        store.read(record.run_id)


@pytest.mark.parametrize("cut", [0, 1, 60, 300, 700])
def test_damaged_statistics_are_one_sentence_that_names_the_file(store, cut):
    path = store.statistics_path("x")
    path.write_bytes(b"no zip")
    if cut:
        store.write_statistics("x", {"a": np.arange(500) ** 2, "b": np.ones(3)})
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - cut])
    with pytest.raises(UserError, match=r"x\.npz") as caught:
        store.read_statistics("x")
    assert "bench evaluate x" in str(caught.value)
    assert "pickle" not in str(caught.value)


def test_statistics_with_damaged_bytes_are_one_sentence(store):
    path = store.statistics_path("x")
    store.write_statistics("x", {"a": np.arange(5000) ** 2})
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npz"):
        store.read_statistics("x")


@pytest.mark.parametrize(("room", "reads"), [(2**27, 1), (100, 3)])
def test_statistics_that_were_read_whole_are_kept_while_there_is_room(room, reads, tmp_path, record, monkeypatch):
    monkeypatch.setattr(records, "KEPT_BYTES", room)
    store = records.Store(tmp_path)
    arrays = {"closed-set/here/ids": np.array(["a"]), "anomaly/there/scores": np.arange(100.0)}
    record.statistics_hash = store.write_statistics(record.run_id, arrays)
    read, counted = records.read_arrays, []
    monkeypatch.setattr(records, "read_arrays", lambda *given: counted.append(given) or read(*given))
    for under, names in (("", {*arrays}), ("anomaly/", {"anomaly/there/scores"}), ("", {*arrays})):
        found = store.statistics_of(record, under)
        assert {*found} == names
        assert all(np.array_equal(found[name], arrays[name]) for name in names)
    assert len(counted) == reads


def test_runs_are_found_by_prefix_path_or_id(store, record):
    store.write(record)
    for name in (record.run_id, record.run_id[:20], str(store.record_path(record.run_id))):
        assert store.find(name) == record
    with pytest.raises(UserError, match="is not in"):
        store.find("nothing")


def test_ambiguous_prefix_lists_the_matches(store, record):
    store.write(record)
    store.write(record.model_copy(update={"run_id": record.run_id + "x"}))
    assert store.find(record.run_id) == record
    with pytest.raises(UserError, match="ambiguous"):
        store.find(record.run_id[:10])


@pytest.mark.skipif(os.name == "nt", reason="permissions differ")
def test_results_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        records.Store(blocked).require_writable()
