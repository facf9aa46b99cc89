"""What tables say of the labels, and the tables across supervisions."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from bench.report.leaderboard import FILES, build, render, show

SOURCES = {"dense": "dense", "coarse": "derived: coarse@1", "none": "derived: none@1"}
SEGSORT = {"clusters": 25, "variant": "supervised"}
BLIND = {"clusters": 25, "variant": "unsupervised"}


def trained(bench, method, kind, seed=0, miou=0.5, share=None, pixels=None, **fields):
    """A record trained from labels of ``kind``."""
    seen = {"kind": kind, "source": fields.pop("source", SOURCES.get(kind, f"derived: {kind}@1"))}
    seen |= {"labelled_fraction": share, "labelled_pixels_per_image": pixels}
    if kind == "none":
        seen |= {"after_training": "dense", "without_labels": {"variant": "unsupervised"}}
    return bench.record(method, seed, miou, data={"supervision": kind}, supervision=seen, **fields)


def across(bench, records, published="none"):
    return [t for t in build(records, bench.statistics, published=published) if t.protocol == "by-supervision"]


def number(table, label, kind, key="miou"):
    (row,) = [r for r in table.rows if r.label == label]
    found = [row.cells.get(c.key) for c in table.columns if c.labels.kind == kind and c.metric.key == key]
    assert len(found) <= 1
    return found[0] if found else None


def test_caption_says_source_share_and_number_of_labelled_pixels(bench):
    records = [
        trained(bench, "softmax", "points", 0, share=0.001, pixels=30.0),
        trained(bench, "softmax", "points", 1, share=0.002, pixels=50.0),
    ]
    (table,) = build(records, bench.statistics, published="none")
    assert "labels derived: points@1, 0.15 % of the pixels, 40 an image" in table.caption
    assert any("drawn from each run's seed" in rule for rule in table.rules)
    (dense,) = build([trained(bench, "softmax", "dense")], bench.statistics, published="none")
    assert "labels" not in dense.facts
    assert not any("seed" in rule and "labels" in rule for rule in dense.rules)


def test_dense_labels_that_a_record_does_not_name_are_the_dense_labels(bench):
    records = [
        bench.record("softmax"),
        trained(bench, "segsort", "dense"),
        bench.record("gss", status="failed", seen=None),
    ]
    (table,) = build(records, bench.statistics, published="none")
    assert {row.label for row in table.rows} == {"softmax", "segsort"}
    assert [item.label for item in table.incomplete] == ["gss"]


@pytest.mark.parametrize(
    ("kind", "source"), [("coarse", "derived: coarse@1"), ("points", "official: pascal_voc/point")]
)
def test_labels_with_nothing_random_have_no_footnote_on_seeds(bench, kind, source):
    (table,) = build([trained(bench, "softmax", kind, source=source)], bench.statistics, published="none")
    assert not any("Derived labels" in rule for rule in table.rules)


def test_methods_by_supervision_with_shares_of_dense(bench):
    records = [trained(bench, "softmax", "dense", s, m) for s, m in enumerate((0.58, 0.62))]
    records += [trained(bench, "softmax", "points", s, m, share=0.01) for s, m in enumerate((0.42, 0.48))]
    records += [trained(bench, "gmmseg", "dense", 0, 0.5), trained(bench, "gmmseg", "points", 0, 0.4, share=0.01)]
    records += [trained(bench, "agmm", "points", 0, 0.54, share=0.01)]
    (table,) = across(bench, records)
    assert [c.group for c in table.columns if c.metric.key == "miou"] == ["dense", "points (1 % labelled, derived)"]
    assert number(table, "softmax", "points").mean == pytest.approx(0.45)
    assert number(table, "softmax", "points", "share_of_own_dense").mean == pytest.approx(0.45 / 0.6)
    assert number(table, "softmax", "points", "share_of_own_dense").std == pytest.approx(0.06 / 2**0.5 / 0.6)
    assert number(table, "gmmseg", "points", "share_of_own_dense").mean == pytest.approx(0.8)
    assert number(table, "gmmseg", "points", "share_of_upper_line").mean == pytest.approx(0.4 / 0.6)
    assert number(table, "agmm", "points", "share_of_own_dense") is None
    assert number(table, "agmm", "points", "share_of_upper_line").mean == pytest.approx(0.9)
    assert number(table, "softmax", "dense", "share_of_own_dense") is None
    assert [number(table, m, "points").place for m in ("agmm", "softmax", "gmmseg")] == [1, 2, None]
    assert any("Upper line: softmax from dense labels, 60.00 ± 2.83 (2 seeds)" in rule for rule in table.rules)


def test_a_cell_of_fewer_seeds_than_its_row_shows_its_n_and_competes(bench):
    records = [trained(bench, "softmax", "dense", s, 0.6) for s in range(3)]
    records += [trained(bench, "softmax", "points", 1, 0.5), trained(bench, "gmmseg", "points", 0, 0.4)]
    (table,) = across(bench, records)
    assert "**50.00 (n=1)**" in render(table, "md")


def test_only_supervision_may_differ(bench, make):
    dense = trained(bench, "softmax", "dense")
    for other in (
        trained(bench, "softmax", "points", recipe={"steps": 301}),
        trained(bench, "softmax", "points", network={"encoder": "resnet18"}),
        trained(bench, "softmax", "points", seen=make.info(split="train", fingerprint="other")),
        trained(bench, "softmax", "points", protocols={"closed-set": make.closed_set(0.5, version="2")}),
        trained(bench, "softmax", "points", status="failed", reason="killed"),
    ):
        assert across(bench, [dense, other]) == []


def test_versions_of_the_protocol_have_tables_of_their_own(bench, make):
    records = [
        trained(bench, "softmax", kind, protocols={"closed-set": make.closed_set(0.5, version=version)})
        for kind in ("dense", "points")
        for version in ("1", "2")
    ]
    found = across(bench, records)
    assert [t.facts["protocol"] for t in found] == ["closed-set version 1", "closed-set version 2"]
    assert len({t.slug for t in found}) == 2
    assert [{len(c.values) for r in t.rows for c in r.cells.values()} for t in found] == [{1}] * 2


def test_other_images_are_another_column_without_a_share(bench, make):
    other = make.closed_set(0.5)
    other.targets["test"].dataset = make.info(fingerprint="0ther1ma9es")
    records = [trained(bench, "softmax", "dense"), trained(bench, "softmax", "points", protocols={"closed-set": other})]
    (table,) = across(bench, records)
    assert {c.metric.key for c in table.columns if c.labels.kind == "points"} == {"miou"}


def test_official_and_derived_labels_of_a_kind_are_columns_of_their_own(bench):
    records = [
        trained(bench, "softmax", "points", share=0.01),
        trained(bench, "softmax", "points", share=0.01, source="official: pascal_voc/point"),
    ]
    (table,) = across(bench, records)
    groups = [c.group for c in table.columns]
    assert len(set(groups)) == 2
    assert any("official: pascal_voc/point" in group for group in groups)


class TestUnsupervisedShare:
    """What segsort reaches without labels, of its supervised counterpart."""

    def records(self, bench, **counterpart):
        return [
            trained(bench, "softmax", "dense", 0, 0.6),
            trained(bench, "segsort", "dense", 0, 0.5, config={**SEGSORT, **counterpart}),
            trained(bench, "segsort", "none", 0, 0.38, share=0.0, config=BLIND),
        ]

    def test_share_of_the_same_settings_with_labels(self, bench):
        (table,) = across(bench, self.records(bench))
        assert number(table, "segsort", "none", "share_of_own_dense").mean == pytest.approx(0.76)
        assert any("variant=unsupervised" in note for note in table.notes)
        assert any("none: none in training, dense ones after it" in rule for rule in table.rules)

    def test_other_settings_are_no_counterpart(self, bench):
        (table,) = across(bench, self.records(bench, clusters=10))
        label = "segsort-unsupervised"
        assert number(table, label, "none").mean == 0.38
        assert number(table, label, "none", "share_of_own_dense") is None
        assert number(table, label, "none", "share_of_upper_line").mean == pytest.approx(0.38 / 0.6)

    def test_the_papers_share_stands_beside_it_as_published(self, bench):
        (table,) = across(bench, self.records(bench), published="matching")
        (entry,) = table.published
        assert (entry.method, entry.value, entry.trained_on) == ("segsort", "76", "pascal_voc")
        assert entry.source
        assert "share of supervised mIoU" in render(table, "md").replace("<br>", " ")
        (without,) = across(bench, [*self.records(bench)[:1], trained(bench, "segsort", "points")], "matching")
        assert without.published == []


@pytest.mark.parametrize("format", FILES)
def test_every_format_holds_the_table(bench, format):
    mious = {("softmax", "dense"): 0.5, ("softmax", "points"): 0.4, ("a_b", "dense"): 0.5, ("a_b", "points"): 0.3}
    records = [trained(bench, *which, 0, miou, share=0.01) for which, miou in mious.items()]
    (table,) = across(bench, records)
    text = render(table, format)
    assert "points" in text
    in_lines = {"tex": r"of\\{}own\\{}dense", "csv": "share_of_own_dense", "json": "share_of_own_dense"}
    assert in_lines.get(format, "of own dense") in text
    console = Console(width=60, record=True, file=io.StringIO())
    show([table], console)
    assert "of upper line" in console.export_text()


def test_csv_names_supervision_and_labels_of_each_number(bench):
    records = [trained(bench, "softmax", k, 0, m, share=0.01, pixels=9.0) for k, m in (("dense", 0.6), ("points", 0.3))]
    (table,) = across(bench, records)
    lines = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    found = {(line["supervision"], line["metric"]): line for line in lines}
    assert float(found["points", "share_of_own_dense"]["mean"]) == 0.5
    assert found["points", "miou"]["labels"] == "derived: points@1, 1 % of the pixels, 9 an image"
    assert found["dense", "miou"]["target"] == "test"
