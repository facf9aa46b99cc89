"""Names that become parts of paths: one pattern, wherever they come from, and no way out of the results folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.common import names
from bench.common.errors import UserError
from bench.records.store import Store, read_record
from datasets.base import DataError, Item
from datasets.toyscapes_mini import ToyscapesMini

HOSTILE = [
    "", ".", "..", "../x", "/x", "a/b", "a\\b", ".x", "-x", "a b", "a\0b", "a\n", "\n", "a\r", "~", "a:b", "ünlaut",
    "\u202eab", "\x1b[2J", "x" * 61, "a?", "a*", "%2e%2e", "\ud800", 3, None, [], True,
]  # fmt: skip
RECORDS = Path(__file__).parents[2] / "results" / "records"


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_refused_in_one_sentence(name):
    with pytest.raises(UserError, match=r"the name of a thing cannot be .*letters, digits"):
        names.require("the name of a thing", name)


@pytest.mark.parametrize("name", ["a", "A1", "_x", "0", "paper-gmmseg-ade20k", "fraction-0.01", "a..b", "x" * 60])
def test_a_plain_name_is_itself(name):
    assert names.require("the name of a thing", name) == name


@given(st.text())
def test_every_name_that_is_accepted_stays_in_its_folder(text):
    try:
        names.require("the name of a thing", text)
    except UserError:
        return
    path = Path("/folder") / text
    assert path.resolve().parent == Path("/folder")
    assert not path.name.startswith((".", "-"))
    assert text.isascii()
    assert text.isprintable()


@given(st.text())
def test_a_slug_of_any_text_is_a_name(text):
    assert names.require("a slug", names.slug(text))


def test_the_names_of_all_committed_records_hold():
    paths = sorted(RECORDS.glob("*.json"))
    assert paths
    for path in paths:
        assert read_record(path).run_id == path.stem


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("run_id",), "../../x"),
        (("run_id",), "x" * 241),
        (("config", "recipe", "name"), "../../x"),
        (("config", "method_name"), "../../x"),
        (("config", "data", "name"), "/x"),
        (("config", "data", "supervision"), "../x"),
    ],
)
def test_a_record_with_a_hostile_name_is_refused(tmp_path, keys, value):
    path = _record(tmp_path, keys, value)
    with pytest.raises(UserError, match=r"x\.json is damaged"):
        read_record(path)
    with pytest.raises(UserError, match=r"x\.json is damaged"):
        Store(tmp_path).find("x")


def test_a_record_under_the_name_of_another_run_is_refused(tmp_path):
    path = _record(tmp_path, ("run_id",), "y")
    with pytest.raises(UserError, match=r"x\.json is of run y"):
        read_record(path)


@pytest.mark.parametrize("image_id", ["/x", "../x", "a/../../x", "", ".", "a\0b"])
def test_an_image_id_that_leaves_its_folder_is_refused(tmp_path, image_id):
    class Hostile(ToyscapesMini):
        name = "hostile"

        def provide(self):
            """Nothing is rendered."""

        def find(self):
            return [Item(image_id, tmp_path, tmp_path)]

    with pytest.raises(DataError, match="cannot be the id"):
        Hostile(tmp_path, "train", allow_partial=True)


def _record(root: Path, keys: tuple[str, ...], value: str) -> Path:
    """A committed record as x.json with one value changed."""
    content = json.loads(next(iter(sorted(RECORDS.glob("*.json")))).read_text())
    content["run_id"] = "x"
    *outer, last = keys
    table = content
    for key in outer:
        table = table[key]
    table[last] = value
    path = root / "records" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path
