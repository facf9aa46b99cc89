"""Records of schema 1 say in schema 2 what they said, and what had to be guessed."""

import json
import shutil
from pathlib import Path

import pytest

from bench.common.errors import UserError
from bench.records import store as records
from bench.records.migration import migrated
from bench.report import leaderboard
from tests.command_line import call

OLD = Path(__file__).with_name("schema-1.json")
"""As the suite wrote it."""
RUN = "camvid-dense-gmmseg-quick-s0-33f306e6"


def leaves(value, way=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {way: value} if not inner else {k: v for key, part in inner for k, v in leaves(part, (*way, key)).items()}


@pytest.fixture
def store(tmp_path):
    made = records.Store(tmp_path / "results")
    made.require_writable()
    shutil.copy(OLD, made.record_path(RUN))
    return made


def test_all_that_was_there_is_there_and_what_was_guessed_is_said():
    old = json.loads(OLD.read_text())
    record = migrated(old)
    now = leaves(record.model_dump(mode="json"))
    assert {key: now[key] for key in leaves(old)} == {**leaves(old), ("schema_version",): 2}
    assert record.configuration == "gmmseg"
    assert record.config.fingerprint() == record.fingerprint
    headlines = {name: result.headline for name, result in record.protocols.items()}
    assert headlines == {"closed-set": "test", "cross-domain": None, "anomaly": None}


def summarised(value, **mious):
    """The headline of a closed-set result."""
    content = json.loads(OLD.read_text())
    dataset = content["protocols"]["closed-set"]["targets"]["test"]["dataset"]
    targets = {target: {"dataset": dataset, "metrics": {"miou": miou}} for target, miou in mious.items()}
    content["protocols"] = {"closed-set": {"version": "1", "targets": targets, "summary": {"miou": value}}}
    return migrated(content).protocols["closed-set"].headline


def test_the_headline_is_the_first_target_with_the_number_of_the_summary():
    assert summarised(0.5, test=0.25, val=0.5) == "val"
    assert summarised(0.5, test=0.5, val=0.5) == "test"
    assert summarised(None, test=0.5, val=None) == "val"


def test_a_summary_of_no_target_is_left_for_the_verification_to_find():
    assert summarised(0.5, test=0.25, val=0.75) == "test"


def test_records_are_rewritten_once_and_their_statistics_never(store):
    path, side = store.record_path(RUN), store.statistics_path(RUN)
    store.write_statistics(RUN, {})
    content = side.read_bytes()
    read = store.read(RUN)
    assert store.migrate() == [RUN]
    assert json.loads(path.read_text())["schema_version"] == 2
    assert store.read(RUN) == read
    assert side.read_bytes() == content
    before = path.read_bytes()
    assert store.migrate() == []
    assert path.read_bytes() == before


def test_what_cannot_be_read_is_named_when_all_others_are_rewritten(store):
    store.record_path("broken").write_text("{")
    store.record_path("later").write_text('{"schema_version": 3}')
    with pytest.raises(UserError, match=r"broken\.json is damaged") as caught:
        store.migrate()
    assert "\n" not in str(caught.value)
    assert json.loads(store.record_path(RUN).read_text())["schema_version"] == 2
    assert store.record_path("later").read_text() == '{"schema_version": 3}'


def test_tables_of_a_folder_are_the_same_before_and_after(store):
    def shown():
        tables = leaderboard.build(store.records(), store.read_statistics)
        return [leaderboard.render(table, format) for table in tables for format in leaderboard.FILES]

    before = shown()
    store.migrate()
    assert shown() == before


def test_the_command_says_how_many(store):
    said = [call("migrate", str(store.root)).stdout for _ in range(2)]
    assert said == ["1 record rewritten in schema 2\n", "0 records rewritten in schema 2\n"]
