"""What a name means, and which runs may be set against each other."""

from __future__ import annotations

import pytest

from bench.common.errors import UserError
from bench.report.comparing.sides import Pair, Side, called, pairs, side


def meant(results, name):
    return {*called(results.runs, name)["run"]}


def compared(results, a, b):
    sides = side(results.runs, a), side(results.runs, b)
    return [*pairs(*(called(results.runs, one.name) for one in sides), *sides)]


@pytest.fixture
def records(made):
    return {
        "plain": made.record("gmmseg", config={}),
        "paper": made.record("gmmseg", config={"preset": "paper"}),
        "softmax": made.record("softmax", config={}),
    }


@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("softmax", {"softmax"}),
        ("gmmseg (preset=paper)", {"paper"}),
        ("gmmseg (preset=*", {"paper"}),
        ("*", {"plain", "paper", "softmax"}),
    ],
)
def test_a_name_is_a_method_a_configuration_or_a_pattern(results, records, name, which):
    assert meant(results(records.values()), name) == {records[key].run_id for key in which}


def test_a_configuration_comes_before_the_method_of_that_name(results, records):
    records["plain"].configuration = "gmmseg"
    assert meant(results(records.values()), "gmmseg") == {records["plain"].run_id}


def test_a_name_may_be_a_label_of_a_table(results, made):
    # In a table alone with another of its method, a row is called by what tells them apart.
    few, many = made.record("gmmseg", config={"components": 3}), made.record("gmmseg", config={"components": 5})
    for record in (few, many):
        record.configuration = "something else"
    assert meant(results([few, many]), "gmmseg (components=5)") == {many.run_id}


@pytest.mark.parametrize("form", ["{}", "results/records/{}.json"])
def test_a_name_may_be_a_run_or_its_record(results, records, form):
    run = records["paper"].run_id
    assert meant(results(records.values()), form.format(run)) == {run}


def test_the_beginning_of_one_run_is_that_run(results, made):
    one, other = made.record(run_id="toyscapes-a-0"), made.record(seed=1, run_id="toyscapes-b-1")
    assert meant(results([one, other]), "toyscapes-a") == {one.run_id}
    assert meant(results([one, other]), "toyscapes") == set()


def test_a_reading_follows_an_at_sign_that_is_no_part_of_a_name(results, made):
    named = made.record("gmmseg", config={})
    named.configuration = "gmmseg (regions=maps@0123)"
    found = results([named])
    assert side(found.runs, "gmmseg@gmm_nll") == Side("gmmseg", "gmm_nll")
    assert side(found.runs, "gmmseg (regions=maps@0123)") == Side("gmmseg (regions=maps@0123)")


@pytest.mark.parametrize("name", ["gmmsge", "gmmsge@msp", "", "@"])
def test_what_no_run_is_called_is_one_sentence(results, records, name):
    with pytest.raises(UserError, match="there is no method, configuration or run"):
        side(results(records.values()).runs, name)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"recipe": {"name": "settled"}}, "recipe differ"),
        ({"recipe": {"steps": 7}}, "the recipe's settings differ"),
        ({"data": {"supervision": "points"}}, "supervision differ (dense and points)"),
        ({"network": {"encoder": "resnet50"}}, "encoder differ"),
    ],
)
def test_runs_that_are_not_alike_are_not_compared(results, made, fields, said):
    found = results([made.record("gmmseg"), made.record("softmax", **fields)])
    (sentence,) = compared(found, "gmmseg", "softmax")
    assert said in sentence
    assert "run one of them as the other was" in sentence


def test_what_two_sides_have_in_common_apart_but_never_at_once_is_said(results, made):
    settled, points = {"recipe": {"name": "settled"}}, {"data": {"supervision": "points"}}
    a = [made.record("gmmseg", **settled), made.record("gmmseg", **points)]
    b = [made.record("softmax"), made.record("softmax", **settled, **points)]
    (sentence,) = compared(results([*a, *b]), "gmmseg", "softmax")
    assert "no two of their runs agree" in sentence


def test_each_group_that_has_both_is_a_pair(results, made):
    records = [made.record(m, **f) for m in ("gmmseg", "softmax") for f in ({}, {"recipe": {"name": "settled"}})]
    found = compared(results([*records, made.record("softmax", data={"supervision": "points"})]), "gmmseg", "softmax")
    assert sorted(pair.group["recipe"] for pair in found) == sorted({r.config.recipe.name for r in records})


def test_several_configurations_of_a_name_are_left_out_with_a_sentence(results, records):
    (sentence,) = compared(results([records["paper"], made_other(records), records["softmax"]]), "gmmseg", "softmax")
    assert "gmmseg is 2 configurations" in sentence
    assert "name one of them" in sentence


def test_a_configuration_is_found_by_its_short_name(results, records):
    (pair,) = compared(results([records["paper"], records["softmax"]]), "gmmseg-paper", "softmax")
    assert [[runs.a for runs in found] for found in pair.runs.values()] == [[records["paper"].run_id]]


def made_other(records):
    other = records["plain"]
    other.configuration = "gmmseg (components=7)"
    return other


def test_runs_are_paired_by_seed_and_others_left_out(results, made):
    a = {seed: made.record("gmmseg", seed) for seed in (0, 1, 2)}
    b = {seed: made.record("softmax", seed) for seed in (1, 2, 3)}
    (pair,) = compared(results([*a.values(), *b.values()]), "gmmseg", "softmax")
    assert isinstance(pair, Pair)
    assert pair.seeds == 2
    assert pair.runs["closed-set", "1"] == [(seed, a[seed].run_id, b[seed].run_id) for seed in (1, 2)]


def test_no_common_seed_is_one_sentence(results, made):
    (sentence,) = compared(results([made.record("gmmseg", 0), made.record("softmax", 1)]), "gmmseg", "softmax")
    assert "share no seed" in sentence


def test_a_run_that_a_newer_one_replaces_does_not_count(results, made):
    old = made.record("gmmseg", run_id="old", created="2025-01-01T00:00:00Z")
    new = made.record("gmmseg", run_id="new", created="2025-02-01T00:00:00Z")
    (pair,) = compared(results([old, new, made.record("softmax")]), "gmmseg", "softmax")
    assert [runs.a for runs in pair.runs["closed-set", "1"]] == ["new"]


def test_filters_name_what_there_is(results, records):
    found = results(records.values())
    assert {*found.only(dataset="toyscapes", recipe=None).runs["dataset"]} == {"toyscapes"}
    with pytest.raises(UserError, match=r"no run has the dataset 'cityscapes'.*toyscapes"):
        found.only(dataset="cityscapes")
