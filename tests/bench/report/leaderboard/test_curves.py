"""Which runs make a line and a panel of a curve, its numbers, and when there is nothing to draw."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from bench.common.errors import UserError
from bench.report.leaderboard import curves
from bench.schema.record import ProtocolResult, Scores
from methods.agmm import AGMM
from methods.segsort import SegSort
from tests.command_line import call


def swept(bench, clusters, seed=0, miou=0.5, method="segsort", settings=(), **fields):
    return bench.record(method, seed, miou, config={"clusters": clusters, **dict(settings)}, **fields)


def drawn(panels):
    axes = [Figure().add_subplot() for _ in panels]
    for each, panel in zip(axes, panels, strict=True):
        curves._draw(each, panel)
    return axes


def test_points_are_means_over_seeds_in_the_order_of_the_setting(bench):
    records = [swept(bench, k, s, 0.1 * s + 0.001 * k) for k in (25, 5, 10) for s in (0, 1, 2)]
    (panel,) = curves.build(records, "method.clusters")
    (line,) = panel.lines
    assert line.label == "segsort"
    assert [p.x for p in line.points] == [5, 10, 25]
    assert [p.cell.mean for p in line.points] == pytest.approx([0.105, 0.11, 0.125])
    assert line.points[0].cell.std == pytest.approx(np.std([0, 0.1, 0.2], ddof=1))
    assert [len(p.run_ids) for p in line.points] == [3, 3, 3]


def test_lines_differ_in_method_and_other_settings_and_say_in_which(bench):
    records = [swept(bench, k, settings={"decode": d}) for k in (5, 10) for d in ("knn", "dense")]
    records += [swept(bench, k, method="other", settings={"decode": "knn"}) for k in (5, 10)]
    (panel,) = curves.build(records, "method.clusters")
    assert [line.label for line in panel.lines] == ["other-knn", "segsort", "segsort-dense"]
    assert panel.title == "toyscapes, dense, fpn, mobilenet_v2, quick"
    longer = [swept(bench, k, settings={"decode": "knn"}, recipe={"steps": 100 * n}) for k in (5, 10) for n in (9, 10)]
    (panel,) = curves.build(longer, "method.clusters")
    assert [line.label for line in panel.lines] == ["segsort (recipe.steps=900)", "segsort (recipe.steps=1000)"]


def test_a_method_without_settings_is_called_by_its_name(bench):
    records = [swept(bench, 5, recipe={"steps": k}, method=m) for k in (1, 2) for m in ("softmax", "segsort")]
    for record in records[::2]:
        record.config = record.config.model_copy(update={"method": {}})
    (panel,) = curves.build(records, "recipe.steps")
    assert [line.label for line in panel.lines] == ["segsort", "softmax"]


def test_versions_and_data_are_panels_of_their_own(bench, make):
    records = [swept(bench, k) for k in (5, 10)]
    records += [swept(bench, k, protocols={"closed-set": make.closed_set(0.9, version="2")}) for k in (5, 10)]
    other = make.closed_set(0.9)
    other.targets["test"].dataset = make.info(fingerprint="other")
    records += [swept(bench, k, protocols={"closed-set": other}) for k in (5, 10)]
    records += [swept(bench, k, seen=make.info(split="train", images=9)) for k in (5, 10)]
    panels = curves.build(records, "method.clusters")
    assert len(panels) == 4
    assert [[[p.cell.n for p in line.points] for line in panel.lines] for panel in panels] == [[[1, 1]]] * 4


def test_published_and_derived_labels_are_lines_of_their_own_unless_supervision_is_swept(bench):
    def seen(kind, source):
        return {"data": {"supervision": kind}, "supervision": {"kind": kind, "source": source}}

    records = [swept(bench, k, **seen("points", s)) for k in (5, 10) for s in ("derived: points@1", "official: x")]
    (panel,) = curves.build(records, "method.clusters")
    assert [line.label for line in panel.lines] == [
        "segsort (labels=derived: points@1)",
        "segsort (labels=official: x)",
    ]
    kinds = [swept(bench, 5, **seen(k, f"derived: {k}@1")) for k in ("points", "scribbles")] + [swept(bench, 5)]
    (panel,) = curves.build(kinds, "data.supervision")
    assert [p.x for p in panel.lines[0].points] == ["dense", "points", "scribbles"]


def test_the_newest_run_of_a_seed_counts_and_incomplete_ones_do_not(bench):
    records = [
        swept(bench, 5, miou=0.1, created="2025-01-01T00:00:00Z"),
        swept(bench, 5, miou=0.2, created="2025-01-02T00:00:00Z"),
        swept(bench, 10, miou=0.3),
        swept(bench, 25, miou=0.9, status="failed", reason="killed"),
        swept(bench, 50, miou=None),
    ]
    (panel,) = curves.build(records, "method.clusters")
    assert [(p.x, p.cell.mean) for p in panel.lines[0].points] == [(5, 0.2), (10, 0.3)]


def agmm(bench, preset, seed=0, **given):
    config = AGMM.Config(preset=preset, **given).model_dump(mode="json")
    return bench.record("agmm", seed, 0.5, config=config)


def test_what_a_swept_preset_fills_is_no_difference_of_its_own(bench):
    records = [agmm(bench, preset, seed) for preset in ("paper", "released") for seed in (0, 1)]
    (panel,) = curves.build(records, "method.preset")
    (line,) = panel.lines
    assert [(p.x, p.cell.n) for p in line.points] == [("paper", 2), ("released", 2)]
    assert line.label == "agmm"
    assert panel.left_out == ()


def test_runs_that_are_left_out_are_listed_by_seed(bench):
    alone = [agmm(bench, "paper", seed, variance="none") for seed in (2, 0, 1)]
    alone = [r.model_copy(update={"created": f"2025-01-0{day}T00:00:00Z"}) for day, r in enumerate(alone, start=1)]
    (panel,) = curves.build([*alone, *(agmm(bench, preset) for preset in ("paper", "released"))], "method.preset")
    (left_out,) = panel.left_out
    assert left_out.startswith(", ".join(record.run_id for record in sorted(alone, key=lambda r: r.config.seed)))


def test_what_was_given_beside_a_preset_stays_a_difference_and_is_named(bench):
    records = [agmm(bench, preset) for preset in ("paper", "released")]
    records += [agmm(bench, "paper", variance="none"), agmm(bench, "released", dim=64)]
    (panel,) = curves.build(records, "method.preset")
    assert len(panel.lines) == 1
    dim, variance = sorted(panel.left_out)
    assert records[3].run_id in dim
    assert "method.dim=64" in dim
    assert records[2].run_id in variance
    assert "method.variance=none" in variance
    with pytest.raises(UserError, match=r"nothing to draw.*method\.dim=(64|256)"):
        curves.build([records[0], records[3]], "method.preset")


def test_runs_without_labels_are_a_point_of_their_counterpart_with_labels(bench):
    def seen(kind, **given):
        supervision = {"kind": kind, "source": "dense" if kind == "dense" else f"derived: {kind}@1"}
        if kind == "none":
            supervision["without_labels"] = {"variant": "unsupervised"}
            given["variant"] = "unsupervised"
        config = SegSort.Config(**given).model_dump(mode="json")
        return bench.record("segsort", config=config, data={"supervision": kind}, supervision=supervision)

    records = [seen("dense"), seen("points"), seen("none"), seen("dense", variant="unsupervised")]
    (panel,) = curves.build(records, "data.supervision")
    (line,) = panel.lines
    assert [p.x for p in line.points] == ["dense", "none", "points"]
    (left_out,) = panel.left_out
    assert records[3].run_id in left_out
    assert "method.variant=unsupervised" in left_out


def test_runs_that_are_on_no_line_are_named_with_the_reason(bench):
    records = [swept(bench, 5), swept(bench, 10), swept(bench, 25, settings={"decode": "dense"})]
    records += [swept(bench, 50, status="failed", reason="killed")]
    (panel,) = curves.build(records, "method.clusters")
    assert [p.x for p in panel.lines[0].points] == [5, 10]
    console = Console(record=True, width=80)
    curves.show([panel], console)
    lines = [line for line in console.export_text().splitlines() if line.startswith("left out: ")]
    assert len(lines) == 2
    assert records[2].run_id in lines[0]
    assert "method.decode=dense" in lines[0]
    assert records[3].run_id in lines[1]
    assert "killed" in lines[1]


@pytest.mark.parametrize(
    ("records", "setting", "measure", "words"),
    [
        ([], "method.clusters", "miou", ["bench run"]),
        ([5], "method.clusters", "miou", ["nothing to draw", "method.clusters", "values are 5"]),
        ([5, 10], "method.clustrs", "miou", ["method.clustrs", "did you mean method.clusters"]),
        ([5, 10], "seed", "miou", ["seed"]),
        ([5, 10], "method.clusters", "moiu", ["moiu", "did you mean miou"]),
        ([5, 10], "recipe.workers", "miou", ["recipe.workers", "cannot change a result"]),
    ],
)
def test_nothing_to_draw_is_one_sentence(bench, records, setting, measure, words):
    with pytest.raises(UserError) as caught:
        curves.build([swept(bench, k) for k in records], setting, measure)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_anomaly_curves_show_the_score_by_which_each_method_is_judged(bench, make):
    def run(method, steps):
        scores = {"msp": 0.1, "gmm_nll": 0.2 + steps / 1000, "nll": 0.9}
        found = make.anomaly({name: {"auroc": value} for name, value in scores.items()})
        return bench.record(method, protocols={"anomaly": found}, recipe={"steps": steps}, config={"a": 1})

    runs = [run(method, steps) for method in ("softmax", "gmmseg") for steps in (100, 200)]
    (panel,) = curves.build(runs, "recipe.steps", "auroc", "anomaly")
    assert panel.place.target == "road_anomaly/test"
    found = {line.label: [point.cell.mean for point in line.points] for line in panel.lines}
    assert found == {"softmax": pytest.approx([0.1, 0.1]), "gmmseg": pytest.approx([0.3, 0.4])}
    (axes,) = drawn([panel])
    assert "anomaly version 1" in axes.get_ylabel()


def test_cross_domain_curves_have_a_panel_for_each_target_and_one_for_all(bench, make):
    def run(steps):
        targets = {
            name: Scores(dataset=make.info(name.partition("/")[0], "val"), metrics={"miou": miou, "source_miou": 0.5})
            for name, miou in (("far/val", steps / 1000), ("near/val", steps / 500))
        }
        found = ProtocolResult(version="1", targets=targets, summary={"harmonic_mean": steps / 750})
        return bench.record(protocols={"cross-domain": found}, recipe={"steps": steps})

    runs = [run(100), run(200)]
    panels = curves.build(runs, "recipe.steps", "miou", "cross-domain")
    assert [panel.place.target for panel in panels] == ["far/val", "near/val"]
    (panel,) = curves.build(runs, "recipe.steps", "harmonic_mean", "cross-domain")
    assert panel.place.target == ""
    (axes,) = drawn([panel])
    assert "all targets" in axes.get_ylabel()


@pytest.mark.parametrize(("values", "scale"), [((5, 10, 50), "linear"), ((5, 10, 51), "log"), ((0, 1, 99), "linear")])
def test_values_over_more_than_a_decade_stand_on_a_logarithmic_axis(bench, values, scale):
    (axes,) = drawn(curves.build([swept(bench, k) for k in values], "method.clusters"))
    assert axes.get_xscale() == scale
    assert [t.get_text() for t in axes.get_xticklabels()] == [str(v) for v in values]


def test_axes_name_setting_metric_split_and_protocol(bench):
    (axes,) = drawn(curves.build([swept(bench, k, s) for k in (5, 10) for s in (0, 1)], "method.clusters"))
    assert axes.get_xlabel() == "method.clusters"
    for word in ("mIoU", "toyscapes/test", "closed-set version 1"):
        assert word in axes.get_ylabel()
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["segsort"]


def test_every_seed_is_a_dot(bench):
    values = {(5, 0): 0.1, (5, 1): 0.3, (10, 0): 0.2}
    records = [swept(bench, k, s, miou) for (k, s), miou in values.items()]
    (axes,) = drawn(curves.build(records, "method.clusters"))
    dots = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert axes.viewLim.x0 < 5 < 10 < axes.viewLim.x1
    assert axes.viewLim.y0 < 10 < 34 < axes.viewLim.y1  # bars included
    assert np.concatenate([line.get_xydata() for line in dots]) == pytest.approx(np.array([(5, 10.0), (5, 30.0)]))


def test_words_truths_and_absent_values_are_evenly_spaced(bench):
    (axes,) = drawn(curves.build([swept(bench, k) for k in (None, 5, True)], "method.clusters"))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "none", "true"]
    assert list(axes.get_xticks()) == [0, 1, 2]


def test_picture_and_numbers_are_written_side_by_side(bench, tmp_path):
    records = [swept(bench, k, s, 0.5 + 0.01 * s) for k in (5, 10) for s in (0, 1)]
    paths = curves.write(curves.build(records, "method.clusters"), tmp_path / "new" / "curve.svg")
    assert [p.name for p in paths] == ["curve.svg", "curve.csv"]
    assert "<svg" in paths[0].read_text()
    lines = list(csv.DictReader(paths[1].open()))
    assert [(line["value"], float(line["mean"]), line["n"]) for line in lines] == [
        ("5", 0.505, "2"),
        ("10", 0.505, "2"),
    ]
    assert lines[0]["values"] == "0=0.5 1=0.51"
    with pytest.raises(UserError, match=r"curve\.doc"):
        curves.write(curves.build(records, "method.clusters"), tmp_path / "curve.doc")


def test_lines_of_many_differences_are_told_by_their_short_names(bench):
    presets = {
        "code": {"a": 1, "b": 1, "c": 1, "d": 1},
        "official": {"a": 2, "b": 2, "c": 2, "d": 2},
    }
    records = [
        bench.record("gmmseg", config={"preset": name, **settings}, recipe={"steps": steps})
        for name, settings in presets.items()
        for steps in (10, 20)
    ]
    (panel,) = curves.build(records, "recipe.steps")
    assert [line.label for line in panel.lines] == ["gmmseg-code", "gmmseg-official"]


def test_the_legend_of_long_names_hides_no_line(bench, tmp_path):
    from matplotlib.figure import Figure

    settings = ({"first": "x" * 40}, {"first": "y" * 40})
    records = [bench.record("gmmseg", config=c, recipe={"steps": s}) for c in settings for s in (10, 20)]
    (panel,) = curves.build(records, "recipe.steps")
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    curves._draw(axes, panel)
    figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0


def test_runs_can_be_chosen_for_a_curve(bench, tmp_path):

    from bench.records.store import Store

    store = Store(tmp_path)
    store.require_writable()
    for recipe, method in (("quick", "softmax"), ("settled", "softmax"), ("settled", "agmm")):
        for steps in (10, 20):
            store.write(bench.record(method, recipe={"name": recipe, "steps": steps}))
    chosen = ["--recipe", "settled", "--method", "softmax", "--dataset", "toyscapes"]
    outcome = call("curve", str(tmp_path), "--x", "recipe.steps", *chosen)
    assert outcome.exit_code == 0, outcome.output
    assert "agmm" not in outcome.stdout
    assert "settled" in outcome.stdout
    assert outcome.stdout.count("softmax") == 2


def test_runs_without_a_defined_number_are_nothing_to_draw(bench):
    with pytest.raises(UserError, match="nothing to draw"):
        curves.build([swept(bench, clusters, miou=None) for clusters in (5, 10)], "method.clusters")
