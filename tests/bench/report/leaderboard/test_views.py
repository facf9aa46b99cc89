"""What a leaderboard shows of many runs, and that it never chooses by how good a number is."""

from __future__ import annotations

import numpy as np
import pytest

from bench.common.errors import UserError
from bench.records.ledger import ledger
from bench.report.leaderboard import EVERYTHING, View, build, build_views, render, require
from bench.schema.record import ProtocolResult, Scores
from bench.scoring.protocols import ClosedSet

OVERVIEWS = View()


@pytest.fixture
def tables(bench):
    return lambda records, view=OVERVIEWS: build(records, bench.statistics, view, published="none")


def shares(make, **metrics):
    return ProtocolResult(version="1", headline="test", targets={"test": Scores(dataset=make.info(), metrics=metrics)})


def labels(table):
    return [row.label for row in table.rows]


def test_protocols_of_a_group_are_columns_of_one_table(bench, make, tables):
    protocols = {
        "closed-set": make.closed_set(0.5),
        "anomaly": make.anomaly({"msp": {"ap": 0.2}}),
        "calibration": shares(make, ece=0.1),
    }
    overview, rules = tables([bench.record(protocols=protocols, config={})])
    assert [(c.group, c.metric.key) for c in overview.columns] == [
        ("closed-set", "miou"), ("anomaly", "ap"), ("calibration", "ece"),
    ]  # fmt: skip
    (row,) = overview.rows
    assert [row.cells[c.key].mean for c in overview.columns] == [0.5, 0.2, 0.1]
    assert rules.title == "How to read these tables"


def test_each_method_stands_once_in_the_form_nearest_to_its_defaults_however_good_others_are(bench, tables):
    records = [
        bench.record("gmmseg", miou=0.3, config={}),
        bench.record("gmmseg", miou=0.9, config={"preset": "paper"}),
        bench.record("softmax", miou=0.5, config={}),
    ]
    records[1] = records[1].model_copy(update={"configuration": "gmmseg (preset=paper)"})
    overview, _ = tables(records)
    assert labels(overview) == ["softmax", "gmmseg"]
    assert overview.rows[1].cells[overview.columns[0].key].mean == 0.3


def test_a_method_without_runs_of_its_defaults_is_shown_with_what_it_was_set_to(bench, tables):
    record = bench.record("gss", config={}).model_copy(update={"configuration": "gss (codec=patch)"})
    overview, _ = tables([record])
    assert labels(overview) == ["gss-patch"]
    assert overview.facts["settings that are not defaults"] == "gss-patch codec=patch"


def test_of_two_versions_the_newer_is_shown(bench, tables):
    runs = [bench.record("gss", miou=m, method_version=v, config={}) for m, v in ((0.6, "1"), (0.4, "2"))]
    overview, _ = tables([run.model_copy(update={"configuration": "gss"}) for run in runs])
    assert [cell.mean for cell in overview.rows[0].cells.values()] == [0.4]


def test_a_read_out_is_shown_only_where_nothing_was_trained(bench, tables):
    trained = bench.record("softmax", config={})
    config = trained.config.model_copy(update={"features": {"run": "x", "name": "softmax", "hash": "0" * 64}})
    fitted = bench.record("linear", config={})
    config = fitted.config.model_validate({**fitted.config.model_dump(), "features": config.features})
    fitted = fitted.model_copy(update={"config": config, "configuration": "linear on softmax"})
    assert labels(tables([trained, fitted])[0]) == ["softmax"]
    assert labels(tables([fitted])[0]) == ["linear on softmax"]


def test_the_anomaly_score_is_the_declared_one_and_not_the_best(bench, make, tables):
    by_score = {"msp": {"ap": 0.9}, "gmm_nll": {"ap": 0.1}}
    overview, _ = tables([bench.record("gmmseg", protocols={"anomaly": make.anomaly(by_score)}, config={})])
    assert [row.cells[overview.columns[0].key].mean for row in overview.rows] == [0.1]
    assert overview.facts["anomaly scores"] == "gmmseg gmm_nll"


def test_failed_runs_are_named_whatever_their_settings(bench, tables):
    failed = bench.record("gmmseg", protocols={}, status="failed", reason="the loss is not finite")
    overview, _ = tables([bench.record("gmmseg", config={}), failed])
    assert [item.reason for item in overview.incomplete] == ["the loss is not finite"]


def test_a_protocol_that_is_asked_for_has_a_table_with_all_its_targets_and_metrics(bench, make, tables):
    protocols = {"closed-set": make.closed_set(0.5, mean_accuracy=0.6), "calibration": shares(make, ece=0.1)}
    closed, _ = tables([bench.record(protocols=protocols, config={})], View(protocols=("closed-set",)))
    assert closed.protocol == "closed-set"
    assert [column.metric.key for column in closed.columns] == ["miou", "mean_accuracy"]


def test_data_sets_methods_and_rows_can_be_chosen(bench, tables):
    records = [
        bench.record(m, data={"name": d}, config={}) for m in ("softmax", "agmm") for d in ("camvid", "toyscapes")
    ]
    chosen = tables(records, View(datasets=("camvid",), methods=("agmm",)))
    assert [(t.facts["data set"], labels(t)) for t in chosen[:-1]] == [("camvid", ["agmm"])]
    assert {len(table.rows) for table in tables(records, View(top=1))[:-1]} == {1}


@pytest.mark.parametrize("view", [View(datasets=("x",)), View(methods=("x",)), View(protocols=("x",))])
def test_a_choice_of_what_no_record_has_is_one_sentence(bench, view):
    with pytest.raises(UserError, match="no record is of --"):
        require(view, [bench.record()])


def test_titles_say_in_words_what_tells_schedules_apart(bench, tables):
    recipes = [{"name": "quick"}, {"name": "quick", "steps": 1800}, {"name": "quick", "class_balanced": True}]
    titles = [table.title for table in tables([bench.record(recipe=recipe, config={}) for recipe in recipes])]
    assert any(": 1,800 steps (quick)" in title for title in titles)
    assert any("class-balanced" in title for title in titles)
    assert len({*titles}) == len(titles)


def test_the_view_of_everything_says_its_rules_with_each_table_and_the_overviews_once(bench, tables):
    records = [bench.record(data={"name": name}, config={}) for name in ("camvid", "toyscapes")]
    rule = "Mean ± sample standard deviation"
    assert sum(render(table, "md").count(rule) for table in tables(records)) == 1
    assert sum(render(table, "md").count(rule) for table in tables(records, EVERYTHING)) == 2


@pytest.mark.parametrize("format", ["md", "csv", "tex", "html"])
def test_overviews_are_written_in_every_format(bench, make, tables, format):
    protocols = {"closed-set": make.closed_set(0.5), "anomaly": make.anomaly({"msp": {"ap": 0.25}})}
    text = "".join(render(table, format) for table in tables([bench.record(protocols=protocols, config={})]))
    assert ("0.25" if format == "csv" else "25.00") in text


def test_a_protocol_that_a_group_skipped_leaves_that_group_out(bench, make, tables):
    skipped = ProtocolResult(version="1", status="skipped", reason="there is no road_anomaly")
    without = bench.record(protocols={"closed-set": make.closed_set(0.5), "anomaly": skipped}, config={})
    scored = bench.record(data={"name": "camvid"}, protocols={"anomaly": make.anomaly({"msp": {"ap": 0.2}})}, config={})
    view = View(protocols=("anomaly",))
    assert [table.facts["data set"] for table in tables([without, scored], view)[:-1]] == ["camvid"]
    assert tables([without], view) == []


def test_views_that_are_built_together_are_those_built_apart_and_read_a_side_file_once(bench, make):
    records = []
    for seed, (method, accuracy) in enumerate({"softmax": 0.8, "gmmseg": 0.85}.items()):
        counts = make.confusions(accuracy, seed=seed)
        miou = float(ClosedSet.metrics(ClosedSet.condensed({"confusion": counts.sum(0)}))["miou"])
        records.append(bench.record(method, protocols={"closed-set": make.closed_set(miou)}))
        ids = np.array([f"{i:02d}" for i in range(len(counts))])
        bench.arrays[records[-1].run_id] = {"closed-set/test/confusion": counts, "closed-set/test/ids": ids}
    views = [View(), View(protocols=("closed-set",)), EVERYTHING]
    together = build_views(ledger(records), bench.statistics, views)
    assert sorted(bench.asked) == sorted(record.run_id for record in records)
    assert any(cell.difference for row in together[0][0].rows for cell in row.cells.values())
    for view, tables in zip(views, together, strict=True):
        assert list(map(repr, tables)) == list(map(repr, build(records, bench.statistics, view)))


def test_short_names_are_said_in_full_below_the_tables_that_have_them(bench, tables):
    records = [
        bench.record("gmmseg", config={"preset": name}).model_copy(update={"configuration": f"gmmseg (preset={name})"})
        for name in ("paper", "official")
    ]
    (table,) = tables([*records, bench.record("softmax", config={})], EVERYTHING)
    assert {*labels(table)} == {"gmmseg-paper", "gmmseg-official", "softmax"}
    assert (
        "Short names: gmmseg-official is gmmseg (preset=official); gmmseg-paper is gmmseg (preset=paper)."
        in table.rules
    )


def test_recipes_of_one_name_are_told_apart_in_words_in_every_title(bench, tables):
    recipes = [{"name": "quick"}, {"name": "quick", "steps": 1800}, {"name": "quick", "class_balanced": True}]
    found = tables([bench.record(recipe=recipe, config={}) for recipe in recipes], EVERYTHING)
    told = sorted(table.title.partition(", recipe ")[2].partition(" (")[0] for table in found)
    assert any("1,800 steps" in text for text in told)
    assert any("class-balanced" in text for text in told)


def test_what_all_tables_by_supervision_say_is_said_once(bench, tables):
    records = [
        bench.record("softmax", data={"name": data, "supervision": kind}, config={})
        for data in ("camvid", "toyscapes")
        for kind in ("dense", "points")
    ]
    made = tables(records)
    rule = "Shares are of mean mIoU"
    assert sum(rule in text for table in made for text in table.rules) == 1
    assert rule in " ".join(made[-1].rules)
