"""The committed pages say what the committed records say."""

import json
import re

import pytest

from bench.config.tables import FeatureSource
from bench.plugins import registry
from bench.records.store import Store
from bench.report import leaderboard
from bench.schema.record import SCHEMA_VERSION
from results import heat_map, summary
from tests.records import rerun


@pytest.fixture(scope="module")
def records():
    return Store(summary.ROOT / "results").records()


def test_every_record_is_of_todays_schema():
    folder = Store(summary.ROOT / "results").records_folder
    versions = {path.name: json.loads(path.read_bytes())["schema_version"] for path in folder.glob("*.json")}
    assert {*versions.values()} == {SCHEMA_VERSION}, f"run bench migrate results for {versions}"


def test_what_methods_have_learnt_to_do_since_leaves_recorded_runs_their_ids(records):
    for config in (record.config for record in records):
        today = registry.methods.get(config.method_name).Config.model_validate(config.method)
        settings = today.model_dump(mode="json")
        if config.method_name == "gmmseg" and "variance_prior" not in config.method:
            del settings["variance_prior"]  # the one setting that gave runs made before it other ids
        assert config.model_copy(update={"method": settings}).run_id() == config.run_id()


def test_every_table_of_the_pages_is_what_the_records_give(records):
    made = summary.tables(records)
    for page in summary.PAGES:
        assert summary.filled(page.read_text(), made) == page.read_text(), f"run results/summary.py for {page.name}"


def test_every_table_has_a_place_in_a_page(records):
    pages = "".join(page.read_text() for page in summary.PAGES)
    assert sorted(re.findall(r"<!-- table: (.+?) -->", pages)) == sorted(summary.tables(records))


def rows(text):
    """The rows of all tables, without the marks of significance."""
    return [re.sub(r"[†‡§* ]", "", line) for line in text.splitlines() if line.startswith("|")]


def test_committed_leaderboard_has_the_figures_of_the_records(records, tmp_path):
    # Without marks and intervals, which need statistics.
    tables = leaderboard.build(records, lambda run_id, under: {}, leaderboard.View(), resamples=0)
    (made,) = leaderboard.write(tables, ["md"], tmp_path)
    committed = (summary.ROOT / "results" / "leaderboard" / "leaderboard.md").read_text()
    assert rows(made.read_text()) == rows(committed), "run bench leaderboard results --format md"


def test_a_figure_is_the_mean_in_per_cent_with_the_sample_deviation_where_there_is_one():
    assert summary.figure([0.5, 0.52, 0.54]) == "52.0 ± 2.0"
    assert summary.figure([0.5, None]) == "50.0"
    assert summary.figure([0.5, 0.5]) == "50.0"
    assert summary.figure([]) == ""


def short_and_settled(records, row):
    """The record of a run of the table's ``row`` on Toyscapes of 450 steps under ``settled``."""
    return next(
        r
        for r in records
        if (r.config.method_name, summary._settings(r.config)) == (row.method, row.settings)
        and (r.config.data.name, r.config.data.supervision) == ("toyscapes", "dense")
        and (r.config.recipe.name, r.config.recipe.steps, r.config.features) == ("settled", 450, None)
    )


@pytest.mark.parametrize("row", summary.TRAINED, ids=lambda row: row.method)
def test_read_outs_of_any_methods_features_get_rows_beside_it_when_they_are_there(records, row):
    records = [record for record in records if record.config.features is None or record.config.recipe.steps != 450]
    select = summary.selector(records)
    lender = short_and_settled(records, row)
    source = FeatureSource(run=lender.run_id, name="as it is called", hash=lender.checkpoint_hash)
    fit = {"method_name": "mixture", "method": {"components": 5}, "features": source}
    extended = summary.selector([*records, rerun(lender, **fit)])
    before, after = (summary.readouts_short(chosen) for chosen in (select, extended))
    assert [line[0] for line in after if line not in before] == [row.title, f"mixture on {row.title}"]
    assert summary.readouts(extended) == summary.readouts(select)
    axes = heat_map.draw(extended, steps=450).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [row.title]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["own", "mixture"]


def test_the_ladder_is_shown_from_its_first_inner_rung_on(records):
    ends = [short_and_settled(records, row) for row in (summary.SOFTMAX_ROW, summary.GMMSEG_ROW)]
    assert len(summary.ladder(summary.selector(ends))) == 1
    rung = rerun(ends[0], seed=0, method={"projection": 64})
    lines = summary.ladder(summary.selector([*ends, rung]))
    assert [line[0] for line in lines[1:]] == [summary.LADDER[i].title for i in (0, 1, 7)]
    assert lines[2][1] == "1"
