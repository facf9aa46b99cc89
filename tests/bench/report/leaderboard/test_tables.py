"""What may share a table, a row and a column; what is averaged; who is marked."""

from __future__ import annotations

import numpy as np
import pytest

from bench.records.store import Store
from bench.report.leaderboard import build, render
from bench.schema.record import DatasetInfo, Environment, ProtocolResult, Scores
from bench.scoring.metrics import confusion
from bench.scoring.protocols import ClosedSet


def tables(bench, records, **options):
    return build(records, bench.statistics, published=options.pop("published", "none"), **options)


def cell(table, label, key="miou", target="test", score=""):
    (row,) = [r for r in table.rows if r.label == label and r.score == score]
    (found,) = [c for k, c in row.cells.items() if k[2] == key and k[0] == target]
    return found


# Sharing a table

SEEN = DatasetInfo(name="toyscapes", split="train", images=100, fingerprint="feedfacecafe")


@pytest.mark.parametrize(
    "difference",
    [
        {"data": {"name": "cityscapes"}},
        {"data": {"supervision": "points"}},
        {"supervision": {"source": "official: pascal_voc/point"}},
        {"network": {"architecture": "unet"}},
        {"network": {"encoder": "resnet18"}},
        {"encoder_weights": "imagenet"},
        {"encoder_weights_hash": "0" * 64},
        {"recipe": {"name": "long"}},
        {"recipe": {"steps": 301}},
        {"recipe": {"batch_size": 9}},
        {"recipe": {"accumulate": 2}},
        {"recipe": {"precision": "bf16-mixed"}},
        {"recipe": {"class_balanced": True}},
        {"recipe": {"optimiser": {"lr": 2e-3}}},
        {"recipe": {"augmentation": {"flip": 0.0}}},
        {"recipe": {"inference": {"flip": True}}},
        {"inference": "whole@native+flip"},
        {"environment": {"ranks": 2}},
        {"seen": SEEN.model_copy(update={"images": 99})},
        {"seen": SEEN.model_copy(update={"fingerprint": "other"})},
    ],
    ids=str,
)
def test_runs_that_differ_in_anything_but_method_and_seed_never_share_a_table(bench, difference):
    found = tables(bench, [bench.record("softmax"), bench.record("gmmseg", **difference)])
    found = [table for table in found if table.protocol == "closed-set"]
    assert [len(t.rows) for t in found] == [1, 1]
    assert found[0].title != found[1].title
    assert len({t.slug for t in found}) == 2


def of(content, make, seed=0):
    """Keywords of a run on data of the hash ``content``."""
    result = make.closed_set(0.5)
    result.targets["test"].dataset.content = content
    return {"seed": seed, "protocols": {"closed-set": result}, "seen": SEEN.model_copy(update={"content": content})}


def test_copies_of_a_data_set_with_other_files_never_share_a_table(bench, make):
    png, jpeg = "aa" * 32, "bb" * 32
    found = tables(bench, [bench.record(**of(png, make)), bench.record(**of(jpeg, make, 1))])
    assert [[row.seeds for row in t.rows] for t in found] == [[(0,)], [(1,)]]
    assert found[0].title != found[1].title


def test_runs_with_files_that_were_not_hashed_join_the_only_known_ones_and_no_others(bench, make):
    first, second = "aa" * 32, "bb" * 32
    known, unknown = bench.record(**of(first, make)), bench.record(**of(None, make, 1))
    (table,) = tables(bench, [known, unknown])
    assert [row.seeds for row in table.rows] == [(0, 1)]
    found = tables(bench, [known, unknown, bench.record(**of(second, make, 2))])
    assert sorted(row.seeds for t in found for row in t.rows) == [(0,), (1,), (2,)]


def test_other_files_under_the_same_target_are_a_column_of_their_own(bench, make):
    first, second = of("aa" * 32, make), of("bb" * 32, make, 1)
    (table,) = tables(bench, [bench.record(**first), bench.record(**{**second, "seen": first["seen"]})])
    assert len([c for c in table.columns if c.key[2] == "miou"]) == 2
    assert any("not the same images or classes" in note for note in table.notes)


def test_revisions_of_published_labels_never_share_a_table_and_stand_beside_dense_ones(bench, make):
    supervision = {"source": "official: toyscapes/points", "labelled_fraction": 0.01}
    points = [
        bench.record(**of(c * 32, make, s), data={"supervision": "points"}, supervision=supervision)
        for s, c in enumerate(("aa", "bb"))
    ]
    for record in points:
        record.protocols["closed-set"].targets["test"].dataset.content = "cc" * 32
    found = tables(bench, [*points, bench.record(**of("cc" * 32, make))])
    assert len([t for t in found if t.protocol == "closed-set"]) == 3
    (across,) = [t for t in found if t.title.startswith("By supervision")]
    assert len([c for c in across.columns if c.key[2] == "miou"]) == 3


@pytest.mark.parametrize("key", [{"workers": 4}, {"checkpoint_every": 7}, {"log_every": 3}, {"description": "x"}])
def test_what_cannot_change_the_result_does_not_split(bench, key):
    (table,) = tables(bench, [bench.record("softmax"), bench.record("gmmseg", recipe=key)])
    assert len(table.rows) == 2


def test_protocol_versions_never_share_a_table_and_are_warned_of(bench, make):
    records = [
        bench.record("softmax", protocols={"closed-set": make.closed_set(0.5, version="1")}),
        bench.record("softmax", 1, protocols={"closed-set": make.closed_set(0.9, version="2")}),
    ]
    found = tables(bench, records)
    assert [t.rows[0].seeds for t in found] == [(0,), (1,)]
    assert all(any("mixed versions" in note for note in t.notes) for t in found)
    assert not any(t.incomplete for t in found)


# Sharing a row


def test_configurations_are_rows_with_what_tells_them_apart(bench):
    records = [
        bench.record("gmmseg", config={"dim": 64, "em": {"k": 5}, "reduce": "max"}),
        bench.record("gmmseg", config={"dim": 64, "em": {"k": 7}, "reduce": "max"}),
        bench.record("gmmseg", config={"dim": 64, "em": {"k": 3}, "reduce": "logsumexp"}),
        bench.record("softmax"),
    ]
    (table,) = tables(bench, records)
    assert {r.label for r in table.rows} == {
        "gmmseg-max (em.k=5)",
        "gmmseg-max (em.k=7)",
        "gmmseg-logsumexp",
        "softmax",
    }


def test_of_many_settings_a_label_names_the_fewest_that_tell_and_a_note_the_rest(bench):
    def config(codec, variant, **rest):
        return {"zebra": codec, "variant": variant, "images": 2, "samples": 4, "alpha": 1} | rest

    records = [
        bench.record("gss", config=config(8, 1)),
        bench.record("gss", config=config(9, 1)),
        bench.record("gss", config=config(8, 2, samples=0, alpha=2, images=1)),
        bench.record("gss", config=config(8, 2, samples=0, alpha=3)),
    ]
    (table,) = tables(bench, records)
    # In the order in which the method declares its settings, whatever order the labels of others would take.
    assert {r.label for r in table.rows} == {
        "gss (zebra=8, alpha=1)",
        "gss (zebra=9, alpha=1)",
        "gss (zebra=8, alpha=2)",
        "gss (zebra=8, alpha=3)",
    }
    assert "gss (zebra=8, alpha=2) differs from other rows of gss also in variant=2, images=1, samples=0" in table.notes
    assert "gss (zebra=9, alpha=1) differs from other rows of gss also in variant=1, images=2, samples=4" in table.notes


def test_method_versions_are_rows_and_warned_of(bench):
    (table,) = tables(bench, [bench.record("gmmseg"), bench.record("gmmseg", 1, method_version="2")])
    assert {r.label for r in table.rows} == {"gmmseg (version 1)", "gmmseg (version 2)"}
    assert any("gmmseg was run at versions 1, 2" in note for note in table.notes)


# Averaging


def test_mean_std_and_n(bench):
    values = [0.5, 0.6, 0.75]
    (table,) = tables(bench, [bench.record("softmax", s, v) for s, v in enumerate(values)])
    found = cell(table, "softmax")
    assert (found.mean, found.std, found.n) == pytest.approx((np.mean(values), np.std(values, ddof=1), 3))
    assert f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}" in render(table, "md")
    assert "| softmax | 3 |" in render(table, "md")


def test_single_seed_has_no_spread(bench):
    (table,) = tables(bench, [bench.record()])
    assert "| 1 | softmax | 1 | 50.00 |" in render(table, "md")


def test_a_table_names_the_commits_of_training_and_of_a_later_scoring(bench):
    record = bench.record("softmax", 0, 0.5, scoring_environment=Environment(commit="fedcba9876543210", dirty=True))
    (table,) = tables(bench, [record])
    assert table.facts["commits"] == "01234567, fedcba98 (dirty)"


def test_failed_runs_are_rows_with_their_reason_and_never_averaged(bench):
    records = [
        bench.record("softmax", 0, 0.5),
        bench.record("softmax", 1, 0.9, status="failed", reason="killed"),
        bench.record("gmmseg", 0, protocols={}, status="failed", reason="the loss is not finite at step 3"),
        bench.record("gmmseg", 1, protocols={}, status="failed", reason="the loss is not finite at step 3"),
    ]
    (table,) = tables(bench, records)
    assert [(r.label, r.seeds) for r in table.rows] == [("softmax", (0,))]
    assert [i.text for i in table.incomplete] == [
        "seeds 0, 1 failed: the loss is not finite at step 3",
        "seed 1 failed: killed",
    ]
    for format in ("md", "tex", "html", "csv"):
        assert "the loss is not finite at step 3" in render(table, format)


def test_failed_and_skipped_protocols_are_not_averaged(bench, make):
    partial = make.closed_set(0.99).model_copy(update={"status": "failed", "reason": "NaN in image 3"})
    skipped = ProtocolResult(version="1", status="skipped", reason="no data")
    records = [
        bench.record("softmax", 0, 0.5),
        bench.record("softmax", 1, protocols={"closed-set": partial}),
        bench.record("softmax", 2, protocols={"closed-set": skipped}),
        bench.record("softmax", 3, protocols={}),
    ]
    (table,) = tables(bench, records)
    assert cell(table, "softmax").values == {0: 0.5}
    assert {i.text for i in table.incomplete} == {
        "seed 1 failed: NaN in image 3",
        "seed 2 skipped: no data",
        "seed 3 not scored: the run was not scored under closed-set",
    }


def test_a_protocol_that_all_runs_skipped_is_a_note(bench, make):
    skipped = ProtocolResult(version="1", status="skipped", reason="road_anomaly is missing")
    records = [bench.record(seed=s, protocols={"closed-set": make.closed_set(0.5), "anomaly": skipped}) for s in (0, 1)]
    (table,) = tables(bench, records)
    assert "anomaly was skipped in 2 runs: road_anomaly is missing" in table.notes


def test_only_failed_runs_still_make_a_table(bench):
    (table,) = tables(bench, [bench.record(protocols={}, status="failed", reason="out of memory")])
    assert not table.rows
    for format in ("md", "tex", "html", "csv"):
        assert "out of memory" in render(table, format)


def test_a_run_that_failed_before_it_saw_the_data_is_listed_with_its_group(bench):
    failed = bench.record("gmmseg", protocols={}, status="failed", reason="early").model_copy(update={"data": None})
    other = bench.record("softmax", recipe={"steps": 5})
    found = tables(bench, [bench.record("softmax"), failed, other])
    assert sorted(len(t.incomplete) for t in found) == [0, 1]
    complete = bench.record("gmmseg", seen=None)
    assert len(tables(bench, [bench.record("softmax"), complete])) == 2


def test_the_same_seed_twice_counts_once_and_is_warned_of(bench):
    records = [
        bench.record("softmax", 0, 0.4, created="2025-01-01T00:00:00Z", run_id="old"),
        bench.record("softmax", 0, 0.6, created="2025-01-02T00:00:00Z", run_id="new"),
    ]
    (table,) = tables(bench, records)
    assert cell(table, "softmax").values == {0: 0.6}
    assert any("new is the newest and counts" in note for note in table.notes)


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_undefined_numbers_show_their_own_n_and_do_not_compete(bench, make, missing):
    def run(method, seed, accuracy):
        return bench.record(method, seed, protocols={"closed-set": make.closed_set(0.5, mean_accuracy=accuracy)})

    records = [
        run("softmax", 0, 0.9),
        run("softmax", 1, missing),
        run("gmmseg", 0, 0.6),
        run("gmmseg", 1, 0.6),
    ]
    records += [run("majority", 0, missing), run("segsort", 0, 0.5)]
    (table,) = tables(bench, records)
    assert "90.00 (n=1)" in render(table, "md")
    assert "undefined" in render(table, "md")
    assert cell(table, "softmax", "mean_accuracy").place is None
    assert cell(table, "gmmseg", "mean_accuracy").place == 1
    assert cell(table, "segsort", "mean_accuracy").place == 2


# Sharing a column


def test_other_images_are_another_column(bench, make):
    scores = Scores(dataset=make.info(fingerprint="changed"), metrics={"miou": 0.9})
    other = ProtocolResult(version="1", headline="test", targets={"test": scores}, summary={"miou": 0.9})
    (table,) = tables(bench, [bench.record("softmax"), bench.record("gmmseg", protocols={"closed-set": other})])
    assert len([c for c in table.columns if c.metric.key == "miou"]) == 2
    assert len({c.group for c in table.columns}) == 2
    assert all(c.place is None for r in table.rows for c in r.cells.values())
    assert any("not the same images" in note for note in table.notes)


def test_other_classes_are_another_column(bench, make):
    def run(method, classes):
        result = make.closed_set(0.5)
        result.targets["test"].per_class["iou"] = dict.fromkeys(classes, 0.5)
        return bench.record(method, protocols={"closed-set": result})

    (table,) = tables(bench, [run("softmax", "ab"), run("gmmseg", "abc")])
    assert len([c for c in table.columns if c.metric.key == "miou"]) == 2


def test_means_over_other_targets_are_another_column(bench, make):
    def run(method, targets):
        scores = {t: Scores(dataset=make.info(split=t), metrics={"miou": 0.4, "drop": 0.1}) for t in targets}
        result = ProtocolResult(version="1", targets=scores, summary={"harmonic_mean": 0.4, "mean_drop": 0.1})
        return bench.record(method, protocols={"cross-domain": result})

    (table,) = tables(bench, [run("softmax", ["t/fog", "t/rain"]), run("gmmseg", ["t/fog"])])
    columns = [c for c in table.columns if c.metric.key == "harmonic_mean"]
    assert {c.group for c in columns} == {"summary over t/fog, t/rain", "summary over t/fog"}
    (same,) = tables(bench, [run("softmax", ["t/fog"]), run("gmmseg", ["t/fog"])])
    assert len([c for c in same.columns if c.metric.key == "harmonic_mean"]) == 1


# Ranking


def test_best_and_second(bench):
    (table,) = tables(bench, [bench.record(m, 0, v) for m, v in (("a", 0.5), ("b", 0.7), ("c", 0.6), ("d", 0.1))])
    assert [(r.label, r.place) for r in table.rows] == [("b", 1), ("c", 2), ("a", 3), ("d", 4)]
    assert [cell(table, m).place for m in "bcad"] == [1, 2, None, None]
    text = render(table, "md")
    assert "**70.00**" in text
    assert "<u>60.00</u>" in text


def test_numbers_that_print_alike_rank_alike(bench):
    (table,) = tables(bench, [bench.record(m, 0, v) for m, v in (("a", 0.70001), ("b", 0.70002), ("c", 0.6))])
    assert [cell(table, m).place for m in "abc"] == [1, 1, None]
    assert [r.place for r in table.rows] == [1, 1, 3]


def test_lower_is_better_where_it_is(bench, make):
    def run(method, ece):
        return bench.record(method, protocols={"closed-set": make.closed_set(0.5, ece=ece)})

    (table,) = tables(bench, [run("a", 0.02), run("b", 0.2)])
    assert cell(table, "a", "ece").place == 1


def test_one_row_has_no_best(bench):
    (table,) = tables(bench, [bench.record()])
    assert "**50.00**" not in render(table, "md")


def test_the_headline_split_orders_the_rows(bench, make):
    def run(method, test, val):
        result = ProtocolResult(
            version="1",
            headline="val",
            targets={
                n: Scores(dataset=make.info(split=n), metrics={"miou": v}) for n, v in (("a", test), ("val", val))
            },
            summary={"miou": val},
        )
        return bench.record(method, protocols={"closed-set": result})

    (table,) = tables(bench, [run("x", 0.9, 0.1), run("y", 0.1, 0.9)])
    assert [r.label for r in table.rows] == ["y", "x"]
    (table,) = tables(bench, [run("x", 0.1, 0.1), run("y", 0.9, 0.9), run("z", 0.5, 0.5)])
    assert [c.target for c in table.columns if c.metric.key == "miou"] == ["val", "a"], "equal numbers decide nothing"
    assert [c.target for c in table.columns] == ["val", "a"]


# Anomaly


def test_anomaly_rows_are_methods_with_scores(bench, make):
    good, bad = (
        {"auroc": 0.9, "ap": 0.5, "fpr95": 0.1, "best_f1_oracle": 0.6},
        {"auroc": 0.6, "ap": 0.1, "fpr95": 0.7},
    )
    records = [
        bench.record("gmmseg", protocols={"anomaly": make.anomaly({"gmm_nll": good, "msp": bad})}),
        bench.record("softmax", protocols={"anomaly": make.anomaly({"msp": bad})}),
    ]
    (table,) = tables(bench, records)
    assert [(r.label, r.score) for r in table.rows] == [
        ("gmmseg", "gmm_nll"),
        ("gmmseg", "msp"),
        ("softmax", "msp"),
    ]
    assert cell(table, "gmmseg", "fpr95", "road_anomaly/test", "gmm_nll").place == 1
    text = render(table, "md").replace("<br>", " ")
    assert "prevalence 2.00%" in text
    assert "Best F1 (oracle threshold)" in text
    assert "Closed-set mIoU" in text
    assert "Positive pixels" not in text
    assert "positives" in render(table, "csv")


def with_reading(bench, make, method, own, other, seed=0):
    result = make.closed_set(own)
    result.targets["test"].by_reading["auxiliary"] = {"miou": other}
    record = bench.record(method, seed, protocols={"closed-set": result})
    counts = make.confusions(own, seed=seed)
    bench.arrays[record.run_id] = {"closed-set/test/confusion": counts}
    return record


def test_other_readings_of_a_checkpoint_are_rows_of_their_own(bench, make):
    records = [with_reading(bench, make, "gss", 0.4, 0.5, seed) for seed in (0, 1)] + [bench.record("softmax", 0, 0.45)]
    (table,) = tables(bench, records)
    found = {(row.label, row.score): row for row in table.rows}
    assert set(found) == {("gss", ""), ("gss", "auxiliary"), ("softmax", "")}
    assert cell(table, "gss", score="auxiliary").mean == 0.5
    assert cell(table, "gss", score="auxiliary").n == 2
    assert cell(table, "gss", score="auxiliary").place == 1
    assert [row.score for row in table.rows] == ["auxiliary", "", ""]
    assert any("reading" in rule for rule in table.rules)


def test_readings_are_compared_through_their_own_statistics(bench, make):
    good, bad = make.confusions(0.8, seed=1), make.confusions(0.5, seed=2)

    def miou(counts):
        return confusion.mean_iou(counts.sum(0))

    result = make.closed_set(miou(bad))
    result.targets["test"].by_reading["auxiliary"] = {"miou": miou(good)}
    record = bench.record("gss", protocols={"closed-set": result})
    bench.arrays[record.run_id] = {"closed-set/test/confusion": bad, "closed-set/test/auxiliary/confusion": good}
    (table,) = tables(bench, [record])
    behind = cell(table, "gss").difference
    assert behind is not None
    assert behind.low > 0.1


def test_prevalence_that_varies_is_a_column(bench, make):
    scores = {"msp": {"ap": 0.2}}
    records = [
        bench.record(m, protocols={"anomaly": make.anomaly(scores, prevalence=p)}) for m, p in (("a", 0.1), ("b", 0.2))
    ]
    (table,) = tables(bench, records)
    assert "prevalence" in [c.metric.key for c in table.shown]


# Significance


def pair(bench, make, first, second, seeds=2, images=40, target="test"):
    records = []
    for method, accuracy in (("a", first), ("b", second)):
        for seed in range(seeds):
            counts = make.confusions(accuracy, images, seed=seed + 100 * (method == "b"))
            miou = float(confusion.mean_iou(counts.sum(0)))
            record = bench.record(method, seed, miou)
            ids = np.array([f"{i}" for i in range(images)])
            order = np.random.default_rng(seed).permutation(images)  # ranks finish in any order
            bench.arrays[record.run_id] = {
                f"closed-set/{target}/ids": ids[order],
                f"closed-set/{target}/confusion": counts[order],
            }
            records.append(record)
    return records


def test_a_clear_difference_is_not_marked_and_a_small_one_is(bench, make):
    (table,) = tables(bench, pair(bench, make, 0.9, 0.8))
    clear = cell(table, "b")
    assert clear.marks == ""
    assert clear.p_bootstrap is not None
    assert clear.p_bootstrap < 0.01
    assert clear.difference is not None
    assert 0 < clear.difference.low < clear.difference.high
    (table,) = tables(bench, pair(bench, make, 0.8, 0.8))
    worse = min((cell(table, m) for m in "ab"), key=lambda c: c.mean)
    assert worse.marks == "†"
    assert "†" in render(table, "md")
    assert "paired bootstrap over images" in render(table, "md")
    assert r"$^\dagger$" in render(table, "tex")


def test_a_difference_that_few_images_cannot_tell_has_another_mark_than_none(bench, make):
    """One image has all the errors of the worse method: 0.2 behind, unless that image is not drawn."""
    records = []
    for method, wrong in (("a", 0), ("b", 1000)):
        counts = np.tile(np.diag([100, 100]), (12, 1, 1))
        counts[0] += [[0, wrong], [wrong, 0]]
        miou = float(ClosedSet.metrics(ClosedSet.condensed({"confusion": counts.sum(0)}))["miou"])
        records.append(bench.record(method, 0, miou))
        bench.arrays[records[-1].run_id] = {
            "closed-set/test/ids": np.array([f"{i:02d}" for i in range(12)]),
            "closed-set/test/confusion": counts,
        }
    (table,) = tables(bench, records)
    worse = cell(table, "b")
    assert worse.p_bootstrap >= 0.05
    assert worse.marks == "§"
    text = render(table, "md")
    assert "too few images to tell" in text
    assert "†" in text, "the legend of what it is not"
    assert r"\S{}" in render(table, "tex")


def test_equal_numbers_are_marked_as_a_tie(bench):
    (table,) = tables(bench, [bench.record("a", 0, 0.5), bench.record("b", 0, 0.5), bench.record("c", 0, 0.4)])
    assert [cell(table, m).marks for m in "abc"] == ["", "=", ""]
    assert "a tie" in render(table, "md")


def test_a_single_seed_above_several_has_its_place_in_brackets(bench):
    alone = [bench.record("a", 0, 0.6), bench.record("c", 0, 0.4)]
    (table,) = tables(bench, [*alone, *(bench.record("b", seed, 0.5 + seed / 100) for seed in (0, 1))])
    lines = [line.split(" | ")[0] for line in render(table, "md").splitlines() if line.startswith("| ")][2:]
    assert lines == ["| (1)", "| 2", "| 3"]
    assert "rests on one seed" in render(table, "md")
    (table,) = tables(bench, alone)
    assert "(1)" not in render(table, "md")


def calibrated(bench, make, method, loss):
    """A run scored under calibration too, with an NLL of about ``loss`` at every pixel."""
    rng = np.random.default_rng(3)
    bins, losses = np.zeros((40, 15, 3)), rng.normal(loss, 0.01, (40, 2)) * 100
    bins[:, 14] = np.stack([np.full(40, 100), rng.integers(60, 90, 40), np.full(40, 95)], -1)
    ece = float(abs(bins.sum(0)[14, 1] - bins.sum(0)[14, 2]) / 4000)
    metrics = {"ece": ece, "nll": losses[:, 0].sum() / 4000, "brier": losses[:, 1].sum() / 4000}
    scores = Scores(dataset=make.info(images=40), metrics=metrics)
    result = ProtocolResult(version="1", headline="test", targets={"test": scores}, summary={"ece": ece})
    record = bench.record(method, protocols={"closed-set": make.closed_set(0.5), "calibration": result})
    bench.arrays[record.run_id] = {
        "calibration/test/ids": np.array([f"i{i}" for i in range(40)]),
        "calibration/test/bins": bins,
        "calibration/test/losses": losses,
    }
    return record


def test_a_protocol_on_request_has_a_table_of_the_runs_that_have_it(bench, make):
    records = [calibrated(bench, make, "a", 0.3), calibrated(bench, make, "b", 0.8), bench.record("c")]
    records += [bench.record("a", config={"w": i, "x": i, "y": i, "z": i}) for i in (1, 2)]
    first, second = tables(bench, records, resamples=100)
    assert len(first.rows) == 5
    assert any("differs from other rows" in note for note in first.notes)
    assert second.protocol == "calibration"
    assert [row.label for row in second.rows] == ["a", "b"]
    assert second.incomplete == []
    assert not any("differs from other rows" in note for note in second.notes)
    assert not any("not compared" in note for note in second.notes)
    # The same pixels in the same bins: no difference in ECE, a certain one in NLL.
    assert cell(second, "b", "ece").marks == "="
    assert cell(second, "b", "nll").marks == ""
    assert cell(second, "b", "nll").p_bootstrap < 0.05
    assert cell(second, "a", "nll").place == 1, "lower is better"


def test_seeds_are_averaged_on_the_same_resample(bench, make):
    records = pair(bench, make, 0.85, 0.8)
    (table,) = tables(bench, records, resamples=200)
    from bench.report.leaderboard.statistics import paired_bootstrap, resampled, resampling_weights

    ids = sorted(str(i) for i in range(40))
    weights = resampling_weights(ids, 200)
    means = {}
    for method in "ab":
        found = []
        for record in (r for r in records if r.config.method_name == method):
            arrays = bench.arrays[record.run_id]
            by_id = dict(zip(map(str, arrays["closed-set/test/ids"]), arrays["closed-set/test/confusion"], strict=True))
            images = ClosedSet.condensed({"confusion": np.stack([by_id[i] for i in ids])})
            found.append(ClosedSet.metrics(resampled(images, weights))["miou"])
        means[method] = np.mean(found, axis=0)
    expected = paired_bootstrap(means["a"], means["b"])
    assert expected is not None
    assert cell(table, "b").difference == pytest.approx(expected)


def test_p_values_are_corrected_over_all_rows_of_a_column(bench, make, monkeypatch):
    third = [
        r.model_copy(update={"run_id": r.run_id + "x", "config": r.config.model_copy(update={"method_name": "c"})})
        for r in pair(bench, make, 0.7, 0.5)[:2]
    ]
    for record in third:
        bench.arrays[record.run_id] = bench.arrays.pop(record.run_id.removesuffix("x"))
    families = []

    def step_down(differences):
        families.append(differences)
        return [0.25] * len(differences)

    monkeypatch.setattr("bench.report.leaderboard.statistics.step_down", step_down)
    (table,) = tables(bench, [*pair(bench, make, 0.9, 0.8), *third], resamples=50)
    assert [cell(table, m).p_bootstrap for m in "abc"] == [None, 0.25, 0.25]
    shares = [[cell(table, "a").mean - cell(table, m).mean for m in "bc"]]
    assert [found[:, 0].tolist() for found in families if len(found)][:1] == [pytest.approx(*shares)]
    assert all(found.shape == (2, 51) for found in families if len(found))


@pytest.mark.parametrize("damage", ["other images", "stale", "few", "none", "short ids"])
def test_statistics_that_do_not_fit_give_no_mark_and_a_note(bench, make, damage):
    records = pair(bench, make, 0.8, 0.8, images=5 if damage == "few" else 40)
    last = bench.arrays[records[-1].run_id]
    if damage == "other images":
        last["closed-set/test/ids"] = np.array([f"x{i}" for i in range(40)])
    elif damage == "stale":
        last["closed-set/test/confusion"] = last["closed-set/test/confusion"][:, ::-1]
    elif damage == "none":
        bench.arrays[records[-1].run_id] = {}
    elif damage == "short ids":
        last["closed-set/test/ids"] = last["closed-set/test/ids"][:-1]
    (table,) = tables(bench, records)
    assert all(cell(table, m).p_bootstrap is None for m in "ab")
    assert {cell(table, m).marks for m in "ab"} == ({"", "§"} if damage == "few" else {""})
    assert bool(table.notes) == (damage != "none")


def test_anomaly_scores_are_compared_through_histograms(bench, make):
    rng = np.random.default_rng(0)
    ids = np.array([f"{i}" for i in range(30)])
    records = []
    for method, shift in (("a", 6), ("b", 0)):
        record = bench.record(
            method,
            protocols={"anomaly": make.anomaly({"msp": {"ap": 0.5 + shift / 20, "fpr95": 0.5 - shift / 20}})},
        )
        histogram = np.zeros((30, 2, 16), np.int32)
        for i in range(30):
            histogram[i, 0] = np.bincount(rng.integers(0, 10, 300), minlength=16)
            histogram[i, 1] = np.bincount(rng.integers(shift, 10 + shift, 20), minlength=16)
        prefix = "anomaly/road_anomaly/test"
        bench.arrays[record.run_id] = {f"{prefix}/ids": ids, f"{prefix}/msp/histogram": histogram}
        records.append(record)
    (table,) = tables(bench, records)
    for key in ("ap", "fpr95"):
        found = cell(table, "b", key, "road_anomaly/test", "msp")
        assert found.p_bootstrap is not None
        assert found.p_bootstrap < 0.05
        assert found.difference is not None
        assert found.difference.low > 0  # how far it is behind, whichever side is better


def test_statistics_are_read_once_a_run(bench, make):
    tables(bench, pair(bench, make, 0.8, 0.7))
    assert len(bench.asked) == len(set(bench.asked)) == 4


def test_wilcoxon_over_seeds(bench):
    records = [bench.record("a", s, 0.6 + 0.001 * s) for s in range(7)]
    records += [bench.record("b", s, 0.6 + 0.0011 * s - 0.0002 * (s % 2) * s) for s in range(7)]
    (table,) = tables(bench, records)
    marked = [c for c in (cell(table, m) for m in "ab") if c.p_wilcoxon is not None]
    assert len(marked) == 1
    assert marked[0].marks == "‡"
    assert "Wilcoxon" in render(table, "md")


# Retention


def test_what_a_method_keeps_across_domains_is_shown_and_never_ranked(bench, make):
    def across(method, source, here):
        scores = Scores(dataset=make.info("camvid"), metrics={"miou": here, "source_miou": source})
        result = ProtocolResult(version="1", targets={"camvid/test": scores})
        return bench.record(method, protocols={"cross-domain": result})

    (table,) = tables(bench, [across("a", 0.8, 0.4), across("b", 0.4, 0.3), across("c", 0.0, 0.0)])
    shown = {column.metric.key: column for column in table.shown}
    assert {"retention", "mean_retention"} < {*shown}
    assert not {"drop", "mean_drop", "source_miou"} & {*shown}
    kept = [cell(table, label, "retention", "camvid/test") for label in "abc"]
    assert [found.mean for found in kept[:2]] == [pytest.approx(0.5), pytest.approx(0.75)]
    assert not kept[2].n, "nothing of nothing is no share"
    assert all(found.place is None and not found.marks for found in kept)
    assert "less to lose" in render(table, "md")


# Published


def test_published_figures_stand_apart_and_only_beside_their_data(bench, make):
    (plain,) = build([bench.record()], bench.statistics)
    assert plain.published == []
    record = bench.record(data={"name": "cityscapes"})
    (table,) = build([record], bench.statistics)
    text = render(table, "md")
    assert "Published (other networks and schedules, not comparable)" in text
    assert "official repository" in text
    assert all(e.trained_on == "cityscapes" and e.protocol == "closed-set" for e in table.published)
    assert len(table.rows) == 1
    assert build([record], bench.statistics, published="none")[0].published == []
    everything = build([record], bench.statistics, published="all")
    assert len(everything) == 2
    assert len(everything[1].published) > len(table.published)
    (across,) = build(
        [
            bench.record(
                protocols={
                    "cross-domain": ProtocolResult(
                        version="1", targets={"camvid/test": Scores(dataset=make.info("camvid"), metrics={"miou": 0.4})}
                    )
                }
            )
        ],
        bench.statistics,
    )
    assert {e.target for e in across.published} == {"camvid"}


def test_published_figures_are_stated_by_those_who_measured_them():
    from bench.report.leaderboard.published import load

    entries = load()
    assert len(entries) == len(set(entries)) > 50
    for entry in entries:
        assert entry.source
        assert "list" not in entry.source
        assert 0 < float(entry.value) < 100
        assert entry.target_dataset


def test_records_and_statistics_from_a_results_folder(bench, make, tmp_path):
    store = Store(tmp_path)
    for record in pair(bench, make, 0.9, 0.8):
        store.write(record)
        store.write_statistics(record.run_id, bench.arrays[record.run_id])
    (table,) = build(store.records(), store.read_statistics)
    assert [r.label for r in table.rows] == ["a", "b"]
    assert cell(table, "b").p_bootstrap is not None


def test_no_records_no_tables(bench):
    assert tables(bench, []) == []
