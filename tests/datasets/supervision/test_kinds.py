"""Names of kinds of supervision."""

from __future__ import annotations

import pytest

from datasets.base import DataError
from datasets.supervision import Kind, parse
from datasets.supervision.kinds import EXAMPLES
from tests.datasets.miniatures import one_sentence


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_kind_is_written_as_it_is_read(name):
    assert str(parse(name)) == name


def test_numbers_have_one_form():
    assert parse("fraction-0.010") == parse("fraction-.01") == parse("fraction-1e-2") == Kind("fraction", 0.01)
    assert str(parse("clicks-020")) == "clicks-20"
    assert str(parse("clicks-1234567")) == "clicks-1234567"
    assert str(parse("fraction-1")) == "fraction-1"


@pytest.mark.parametrize(
    "name",
    [
        *("", "Points", "box", "clicks", "clicks-0", "clicks--3", "clicks-2.5", "clicks-٣", "clicks-20\n"),
        *("fraction-0", "fraction-1.5", "fraction-nan", "fraction-inf", "fraction--0.1", "fraction-"),
    ],
)
def test_an_unknown_kind_is_refused_in_one_sentence(name):
    with one_sentence(DataError, repr(name), "points", "clicks-20", "fraction-0.01"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "meant"), [("scribble", "scribbles"), ("point", "points"), ("clicks", "clicks-"), ("course", "coarse")]
)
def test_near_matches_are_offered(name, meant):
    with pytest.raises(DataError, match=f"did you mean .*{meant}"):
        parse(name)
