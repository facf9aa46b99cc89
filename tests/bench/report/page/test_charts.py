"""What the charts show."""

from __future__ import annotations

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.records.ledger import ledger
from bench.report.comparing.bootstrap import Estimate
from bench.report.comparing.samples import Samples
from bench.report.leaderboard import View, build
from bench.report.page import charts, heat, over_bins, page
from bench.report.page.fields import Axis, Field, Line, around, drawing
from bench.report.palette import style
from bench.schema.record import ProtocolResult, Scores
from bench.scoring.protocols import ClosedSet
from bench.scoring.protocols.anomaly import Anomaly
from bench.scoring.protocols.risk_coverage import BINS, RiskCoverage
from tests.bench.report.leaderboard.conftest import Bench, closed_set, confusions, info
from tests.records import on


def test_every_seed_of_every_row_is_a_dot_and_every_mean_a_line(tables):
    table = next(table for table in tables if table.protocol == "closed-set" and table.rows)
    drawn = ElementTree.fromstring(charts.seeds(table))
    columns = [column for column in table.shown if column.metric.better]
    cells = [row.cells[column.key] for row in table.rows for column in columns if column.key in row.cells]
    assert len(drawn.findall("circle")) == sum(cell.n for cell in cells) > 0
    assert sum("v14" in path.get("d", "") for path in drawn.findall("path")) == len(cells)
    bars = [path for path in drawn.findall("path") if path.get("opacity") == ".6"]
    assert len(bars) == len(cells)


def test_the_interval_of_a_mean_is_that_of_a_comparison():
    bench, seeds = Bench(), (0, 1, 2)
    records, counted = [], {}
    for method, accuracy in {"softmax": 0.8, "gmmseg": 0.85}.items():
        for seed in seeds:
            counts = counted[method, seed] = confusions(accuracy, seed=10 * len(counted) + seed)
            miou = float(ClosedSet.metrics(ClosedSet.condensed({"confusion": counts.sum(0)}))["miou"])
            records.append(bench.record(method, seed, protocols={"closed-set": closed_set(miou)}))
            ids = np.array([f"{i:02d}" for i in range(len(counts))])
            bench.arrays[records[-1].run_id] = {"closed-set/test/confusion": counts, "closed-set/test/ids": ids}
    (table,) = build(records, bench.statistics, published="none")
    for row in table.rows:
        samples = Samples(ledger(records), bench.statistics)
        drawn = [samples.of(run, "closed-set", ("test",), "miou", "") for run in row.run_ids]
        cell = row.cells[table.columns[0].key]
        expected = Estimate.of(
            np.array([*cell.values.values()]), np.stack([one.values for one in drawn], axis=1), drawn[0].images
        )
        found = charts.estimate(cell)
        assert found.covers_both
        assert found.value == pytest.approx(expected.value)
        assert found.half_width() == pytest.approx(expected.half_width(), rel=0.05), "a tenth of the samples"
        assert found.of_images() > 0


def test_a_trivial_baseline_does_not_squeeze_the_others():
    cells = [SimpleNamespace(mean=m, values={0: m}) for m in (0.80, 0.81, 0.82, 0.84, 0.02)]
    assert charts._ends(cells) == (0.80, 0.84)


def test_a_reliability_diagram_is_of_the_pixels_of_all_runs():
    bins = np.array([[[0, 0, 0.0], [10, 5, 4.0]], [[0, 0, 0.0], [30, 27, 26.0]]])
    confidence, accuracy = over_bins._reliability(list(bins))
    assert confidence == pytest.approx([30 / 40])
    assert accuracy == pytest.approx([32 / 40])


def test_precision_and_recall_enclose_the_average_precision():
    generator = np.random.default_rng(0)
    histogram = np.stack([generator.poisson(900 / np.arange(1, 101)), generator.poisson(np.arange(100) / 9)])
    recalls, precision = over_bins._precision_recall([histogram.astype(float)])
    expected = Anomaly.metrics(Anomaly.condensed({"histogram": histogram}))["ap"]
    assert np.trapezoid(precision, recalls) == pytest.approx(expected, abs=0.02)


def run_on(method, seed, miou, features=None, configuration=None):
    """A record of a method, or of a read-out of what is called ``features``."""
    record = Bench().record(method, seed, protocols={"closed-set": closed_set(miou)})
    if features:
        of = {"run": "of", "name": features, "fingerprint": "f" * 64, "model": "a" * 64}
        config = record.config.model_copy(update={"features": SimpleNamespace(**of)})
        record = record.model_copy(update={"config": config})
    configuration = configuration or method
    return record.model_copy(update={"configuration": configuration, "run_id": f"{configuration} {features} {seed}"})


def test_features_by_read_outs_is_a_mean_over_seeds_and_best_is_strongest():
    records = [run_on("softmax", 0, 0.5), run_on("softmax", 1, 0.6), run_on("linear", 0, 0.8, "softmax")]
    records += [run_on("gaussian", 0, 0.3, "softmax")]
    (found,) = heat.of_read_outs(ledger(records))
    assert found.columns == ["own", "gaussian", "linear"]
    assert found.rows == [("softmax", [("55.00", 50), ("30.00", 0), ("80.00", 100)])]


def test_networks_of_a_heat_map_are_called_as_in_tables_and_in_full_where_two_would_be_alike():
    networks = ["segsort (clusters=64)", "gss (codec=patch, hidden=128)", "gmmseg (components=3)", "gmmseg"]
    records = [run_on(full.partition(" ")[0], 0, 0.1 + 0.1 * i, None, full) for i, full in enumerate(networks)]
    records += [run_on("linear", 0, 0.8, full) for full in networks]
    (found,) = heat.of_read_outs(ledger(records))
    assert dict(found.rows)["segsort"][0][0] == "10.00"
    assert dict(found.rows)["gss-patch"][0][0] == "20.00"
    assert {name for name, _ in found.rows} == {"segsort", "gss-patch", "gmmseg (components=3)", "gmmseg"}


def test_speed_and_steps_are_drawn_where_runs_have_them(records):
    assert [chart.title for chart in charts.of_runs(ledger(records))] == []


def test_lines_over_steps_are_called_as_in_tables_and_what_that_leaves_out_stands_below():
    bench = Bench()
    records = [
        bench.record("gmmseg", miou=0.5, config=config, recipe={"steps": steps}).model_copy(
            update={"configuration": name}
        )
        for config, name in (
            ({"preset": "paper"}, "gmmseg (preset=paper)"),
            ({"components": 3}, "gmmseg (components=3)"),
            ({"components": 5}, "gmmseg"),
        )
        for steps in (10, 20)
    ]
    (chart, *_) = charts.of_runs(ledger(records))
    for name in ("gmmseg-paper", "gmmseg 1", "gmmseg 2"):
        assert f">{name}<" in chart.figure
    assert len({*re.findall(r'stroke-dasharray="([^"]+)"', chart.figure)}) == 2  # and the first is drawn through
    assert chart.notes[1:] == ("gmmseg 1: gmmseg (components=3)", "gmmseg 2: gmmseg (components=5)")


def test_every_figure_of_the_page_takes_its_text_from_the_page(tables, records):
    figures = re.findall(r"<svg.*?</svg>", page(tables, records), re.DOTALL)
    assert figures
    assert not [figure for figure in figures if "#000000" in figure or "#ffffff" in figure]


def test_methods_of_the_suite_have_ten_colours_and_marks_and_others_the_same_each_time():
    names = ["agmm", "gaussian", "gmmseg", "gss", "linear", "majority", "mixture", "neighbours", "segsort", "softmax"]
    assert len({style(name).colour for name in names}) == len({style(name).mark for name in names}) == len(names)
    assert style("of somebody else") == style("of somebody else")


def test_an_roc_curve_encloses_the_auroc():
    generator = np.random.default_rng(0)
    histogram = np.stack([generator.poisson(900 / np.arange(1, 101)), generator.poisson(np.arange(100) / 9)])
    false, true = over_bins._roc([histogram.astype(float)])
    expected = Anomaly.metrics(Anomaly.condensed({"histogram": histogram}))["auroc"]
    assert (false[0], true[-1]) == (0, 1)
    assert np.trapezoid(true, false) == pytest.approx(expected, abs=0.005)


def test_risk_over_coverage_ends_at_the_error_rate_and_encloses_the_aurc():
    generator = np.random.default_rng(0)
    pixels = generator.poisson(40, BINS)
    doubts = np.stack([pixels, generator.binomial(pixels, np.linspace(0, 0.6, BINS))], axis=-1)
    coverage, risk = over_bins._risk_coverage(*doubts.T)
    assert len(coverage) <= 65
    assert (coverage[-1], risk[-1]) == (1, pytest.approx(doubts[:, 1].sum() / pixels.sum()))
    area = np.trapezoid(np.concatenate([risk[:1], risk]), np.concatenate([[0], coverage]))
    assert area == pytest.approx(float(RiskCoverage.metrics({"doubts": doubts})["aurc"]), abs=0.005)


def test_bins_of_confidence_give_risk_over_coverage_from_the_surest_on():
    bins = np.array([[10, 4, 4.0], [0, 0, 0.0], [30, 27, 28.0]])
    coverage, risk = over_bins._risk_coverage(*over_bins._doubts(bins))
    assert coverage == pytest.approx([0.75, 1])
    assert risk == pytest.approx([0.1, 9 / 40])


def test_curves_are_of_every_target_and_say_how_many_bins_they_are_from(tables):
    (table, *_) = [table for table in tables if table.protocol == "anomaly"]
    histogram = np.ones((12, 2, 30), np.int32)

    def statistics(run, under):
        return {f"{under}histogram": histogram} if under.endswith("/msp/") else {}

    made = [*over_bins.of_table(table, statistics)]
    targets = {column.target: None for column in table.shown if column.target}
    assert [chart.title for chart in made] == [f"Precision over recall and ROC on {target}" for target in targets]
    assert {chart.notes for chart in made} == {
        ("From at most 30 bins of the score a run, means over the runs of a row. Dotted: chance.",)
    }
    drawn = ElementTree.fromstring(made[0].figure)
    lines = [path for path in drawn.findall("path") if path.get("transform")]
    assert len(lines) == 2 * len(table.rows), "a line for each row in both fields"
    assert [*over_bins.of_table(table, lambda run, under: {})] == []
    histogram[:, 1] = 0
    assert [*over_bins.of_table(table, statistics)] == [], "without an anomaly there is nothing to tell apart"


def test_fields_put_every_point_where_its_axes_say():
    x, y = around("images a second", np.array([3.0, 11.0])), Axis("mIoU")
    line = Line("<softmax>", "softmax", np.array([x.low, x.high]), np.array([0.0, 1.0]))
    drawn = ElementTree.fromstring(drawing("a & b", [Field(x, y, [line])]))
    (path,) = [path for path in drawn.findall("path") if path.get("transform")]
    assert path.get("d") == "m460 2740 2500-2500"
    assert [text.text for text in drawn.findall("text")][-1] == "<softmax>"
    assert x.low <= 3
    assert x.high >= 11


def test_targets_of_one_metric_stand_side_by_side_with_an_interval_for_every_method(tables):
    (table, *_) = [table for table in tables if table.protocol == "anomaly"]
    drawn = ElementTree.fromstring(charts.over_targets(table))
    targets = {column.target for column in table.shown if column.target}
    assert targets <= {text.text for text in drawn.findall("text")}
    bars = [path.get("d") for path in drawn.findall("path") if path.get("opacity") == ".6"]
    assert [bar.count("M") for bar in bars] == [len(targets)] * len(table.rows)
    (closed, *_) = [table for table in tables if table.protocol == "closed-set"]
    assert not charts.over_targets(closed), "one target is in the table"


def test_conditions_of_one_data_set_are_called_by_their_names():
    targets = {f"acdc/{name}": Scores(dataset=info("acdc", name), metrics={"miou": 0.4}) for name in ("fog", "night")}
    bench = Bench()
    found = ProtocolResult(version="1", targets=targets, summary={"harmonic_mean": 0.4})
    records = [bench.record("softmax", seed, protocols={"cross-domain": found}) for seed in (0, 1)]
    (table,) = build(records, bench.statistics, published="none")
    texts = [text.text for text in ElementTree.fromstring(charts.over_targets(table)).findall("text")]
    assert texts[:2] == ["fog", "night"]


def test_every_class_has_its_number_on_every_target_that_has_classes(tables):
    (table, *_) = [table for table in tables if table.protocol == "closed-set" and table.rows]
    (found,) = heat.of_classes(table)
    assert (found.title, found.corner) == ("IoU (%) on test", "Class")
    assert found.columns == ["gmmseg", "segsort", "softmax"]
    assert found.rows == [
        ("road", [("70.00", 100), ("60.00", 78), ("50.00", 56)]),
        ("traffic sign", [("25.00", 0), ("25.00", 0), ("25.00", 0)]),
    ]


def test_ranks_over_protocols_are_drawn_the_best_at_the_top_and_say_how_alike_the_orders_are(records):
    table = next(one for one in build(records, lambda run_id, under: {}, View(), published="none") if one.rows)
    (chart,) = [chart for chart in charts.of_table(table, None) if chart.title == "Ranks over protocols"]
    drawn = ElementTree.fromstring(chart.figure)
    lines = {path.get("d") for path in drawn.findall("path") if path.get("transform")}
    assert len(lines) == len(table.rows) == 3
    heights = {text.text: int(text.get("y")) for text in drawn.findall("text") if text.text in ("1", "2", "3")}
    assert heights["1"] < heights["2"] < heights["3"]
    assert chart.notes[0].startswith("Kendall's tau with the order under ")


def test_mean_ranks_over_data_sets_stand_at_the_head_of_the_overview(records):
    on_another = [on("idd_lite", record) for record in records if record.config.data.name == "camvid"]
    three = [*records, *on_another]
    text = page(build(three, lambda run_id, under: {}, View(), published="none"), three)
    (figure,) = re.findall(r"<summary>Ranks over data sets</summary>.*?</details>", text, re.DOTALL)
    assert text.index("Overview</h2>") < text.index(figure) < text.index('<section class="table"')
    for said in (">gmmseg 1.00<", ">segsort 2.00<", ">softmax 3.00<", "over 3 data sets (camvid, idd_lite, toyscapes)"):
        assert said in figure
    assert "Ranks over data sets" not in page(build(records, lambda run_id, under: {}, View()), records)


def test_names_of_places_do_not_run_into_each_other():
    places = ("fishyscapes_lost_and_found/val", "a", "b")
    field = Field(Axis("", -0.5, 2.5, places), Axis("mIoU"), [Line("a", "softmax", np.arange(3.0), np.ones(3))])
    assert field.width / len(places) > 7 * len(places[0])


def test_where_points_are_no_line_the_legend_draws_none():
    line = Line("softmax", "softmax", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    for joined in (True, False):
        figure = drawing("dots", [Field(Axis("x"), Axis("y"), [line], joined=joined)])
        assert ("h24" in figure) == joined


def test_heads_of_seed_figures_name_the_whole_target(records):
    (table, *_) = build(records, lambda run_id, under: {}, View(), published="none")
    texts = [text.text for text in ElementTree.fromstring(charts.seeds(table)).findall("text")]
    assert {"anomaly", "fishyscapes/val", "obstacle/val"} <= {*texts}
    assert not [text for text in texts if "prevalence" in text or "…" in text]
