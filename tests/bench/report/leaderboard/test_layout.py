"""What is shown of a table: rows that are the same as one, and no column that tells nothing; files keep all of it."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from bench.report.leaderboard import build, render
from bench.report.leaderboard.layout import condensed
from bench.report.leaderboard.model import Table
from bench.report.leaderboard.published import load
from bench.schema.record import ProtocolResult, Scores, Training

TARGET = "road_anomaly/test"
COMPONENTS = {"f1_star_oracle": 0.3, "siou_oracle": 0.4, "ppv_oracle": 0.5}


@pytest.fixture
def table(bench):
    def of(records):
        (found,) = build(records, bench.statistics, published="none", resamples=0)
        return found

    return of


def headings(table):
    return [column.metric.key for column in condensed(table).columns]


def names(table):
    return [(row.label, row.score) for row in condensed(table).rows]


class TestRows:
    """Rows with the same weights and the same numbers."""

    def two(self, bench, hashes=("a", "a"), mious=(0.5, 0.5)):
        return [
            bench.record("gss", miou=miou, config={"samples": samples}, checkpoint_hash=digest)
            for samples, miou, digest in zip((1, 2), mious, hashes, strict=True)
        ]

    def test_are_one_that_names_both_configurations(self, bench, table):
        assert names(table([*self.two(bench), bench.record("softmax", miou=0.4)])) == [
            ("gss (samples=1) = gss (samples=2)", ""),
            ("softmax", ""),
        ]

    @pytest.mark.parametrize("other", [{"hashes": ("a", "b")}, {"hashes": (None, None)}, {"mious": (0.5, 0.500001)}])
    def test_are_two_if_weights_or_numbers_differ_or_weights_are_unknown(self, bench, table, other):
        assert names(table(self.two(bench, **other))) == [("gss (samples=1)", ""), ("gss (samples=2)", "")]

    def test_are_two_if_one_number_of_them_is_shown_and_differs(self, bench, make, table):
        records = [
            bench.record("gss", config={"samples": n}, checkpoint_hash="a", protocols={"anomaly": make.anomaly(scores)})
            for n, scores in ((1, {"msp": {"ap": 0.1, "auroc": 0.6}}), (2, {"msp": {"ap": 0.1, "auroc": 0.7}}))
        ]
        assert len(names(table(records))) == 2

    def test_are_one_that_names_all_scores_of_a_checkpoint(self, bench, make, table):
        scores = {"energy": {"ap": 0.1}, "entropy": {"ap": 0.1}, "msp": {"ap": 0.2}}
        records = [bench.record("majority", checkpoint_hash="a", protocols={"anomaly": make.anomaly(scores)})]
        assert names(table(records)) == [("majority", "msp"), ("majority", "energy = entropy")]

    def test_are_one_in_what_is_read_and_two_in_what_programs_read(self, bench, table):
        found = table(self.two(bench))
        for format in ("md", "tex", "html"):
            assert "gss (samples=1) = gss (samples=2)" in re.sub(r"\$?=\$?", "=", render(found, format)), format
        variants = ["gss (samples=1)", "gss (samples=2)"]
        assert [line["variant"] for line in csv.DictReader(io.StringIO(render(found, "csv")))] == variants
        assert [line["variant"] for line in json.loads(render(found, "json"))] == variants


class TestColumns:
    """Columns that tell nothing."""

    def test_the_same_in_all_rows_are_said_once(self, bench, table):
        cost = {"steps": 10, "parameters": 4_220_000, "peak_memory_mb": 1600.0}
        records = [
            bench.record(method, miou=miou, training=Training(seconds=seconds, images_per_second=3.0, **cost))
            for method, miou, seconds in (("softmax", 0.5, 60.0), ("gmmseg", 0.6, 120.0))
        ]
        found = table(records)
        assert headings(found) == ["miou", "seconds"]
        assert condensed(found).rules[-1] == (
            "The same in all rows: Parameters (M) 4.22; Training images/s 3.0; Peak memory (MB) 1600."
        )
        assert {"parameters", "peak_memory_mb"} <= {line["metric"] for line in json.loads(render(found, "json"))}

    def test_that_rank_stay_even_if_all_rows_tie(self, bench, table):
        assert headings(table([bench.record(method, miou=0.5) for method in ("softmax", "gmmseg")])) == ["miou"]

    def test_of_a_single_row_stay(self, bench, make, table):
        record = bench.record(protocols={"closed-set": make.closed_set(0.5, pixel_accuracy=0.6)})
        assert headings(table([record])) == ["miou", "pixel_accuracy"]

    def test_that_no_row_shown_has_a_number_in_are_left_out(self, bench, make, table):
        found = table(
            [
                bench.record("softmax", miou=0.6),
                bench.record("gmmseg", protocols={"closed-set": make.closed_set(0.5, pixel_accuracy=0.6)}),
            ]
        )
        del found.rows[1:]
        assert headings(found) == ["miou"]

    def test_of_components_are_shown_for_all_rows_or_none(self, bench, make, table):
        def scored(method, *readings):
            by_score = {name: {"ap": 0.1 + 0.1 * i, **values} for i, (name, values) in enumerate(readings)}
            return bench.record(method, protocols={"anomaly": make.anomaly(by_score, TARGET)})

        other = {key: value / 2 for key, value in COMPONENTS.items()}
        every = table([scored("softmax", ("msp", COMPONENTS)), scored("gmmseg", ("msp", other))])
        assert headings(every) == ["ap", *COMPONENTS]
        some = table([scored("softmax", ("msp", COMPONENTS)), scored("gmmseg", ("msp", {}), ("gmm_nll", other))])
        assert headings(some) == ["ap"]
        assert "F1* of components (oracle threshold) (road_anomaly/test)" in condensed(some).rules[-1]
        kept = [line["metric"] for line in json.loads(render(some, "json"))]
        assert kept.count("f1_star_oracle") == 2

    def test_across_domains_without_mass_that_maps_nowhere_say_so_in_a_sentence(self, bench, table):
        def scored(method, miou, seed=0):
            targets = {
                f"toyscapes/{name}": Scores(
                    dataset=bench.record().data, metrics={"miou": miou, "source_miou": 0.8, "unmapped_mass": 0.0}
                )
                for name in ("fog", "rain")
            }
            protocols = {"cross-domain": ProtocolResult(version="1", targets=targets)}
            return bench.record(method, seed=seed, protocols=protocols)

        found = table([scored("softmax", 0.5), scored("gmmseg", 0.6), scored("gmmseg", 0.6, seed=1)])
        assert "unmapped_mass" not in headings(found)
        assert "The same in all rows: Unmapped mass 0.00 (toyscapes/fog, toyscapes/rain)." in condensed(found).rules


class TestWidth:
    """Markdown tables and a page of 120 characters."""

    def widths(self, text):
        """Of each table as it is read: lines of a heading stand below each other."""
        found = []
        for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
            rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in block.splitlines()]
            columns = zip(rows[0], *rows[2:], strict=True)
            texts = [[re.sub(r"\*\*|</?u>", "", piece) for cell in c for piece in cell.split("<br>")] for c in columns]
            found.append(1 + sum(3 + max(map(len, column)) for column in texts))
        return found

    def test_a_table_of_many_targets_is_divided_into_tables_of_a_pages_width(self, bench, table):
        def scored(method, miou, seed=0):
            targets = {
                f"data_set_with_a_name/split_{i}": Scores(
                    dataset=bench.record().data, metrics={"miou": miou - 0.01 * i, "source_miou": 0.8}
                )
                for i in range(12)
            }
            protocols = {"cross-domain": ProtocolResult(version="1", targets=targets)}
            return bench.record(method, seed=seed, protocols=protocols)

        found = table([scored("softmax", 0.5), scored("gmmseg", 0.6), scored("gmmseg", 0.6, seed=1)])
        text = render(found, "md")
        widths = self.widths(text)
        assert len(widths) > 1
        assert max(widths) <= 120
        assert text.count("| softmax |") == len(widths)
        for column in condensed(found).columns:
            heading = "".join(f"{column.group}{column.metric.heading}".split())
            assert re.sub(r"<br>|\s", "", text).count(f"|{heading}|") == 1, heading

    def test_published_figures_fit_a_page_with_their_sources_below(self):
        text = render(Table("Published figures", "published", {}, published=load()), "md")
        assert max(self.widths(text)) <= 120
        assert "| 1 |" in text
        assert "\n1. " in text
        for entry in load():
            assert entry.source in text
            assert entry.note in text

    def test_an_arrow_stays_beside_its_word(self, bench, make, table):
        result = ProtocolResult(version="1", targets={"a/b": Scores(dataset=make.info(), metrics={"miou": 0.5})})
        text = render(table([bench.record(protocols={"cross-domain": result})]), "md")
        assert "<br>↑" not in text
        assert "Harmonic mean<br>mIoU ↑" in text

    def test_failed_runs_are_named_once(self, bench, make, table):
        targets = {
            f"set_{i}/val": Scores(dataset=make.info(), metrics={"miou": 0.5, "source_miou": 0.7}) for i in range(12)
        }
        failed = bench.record("gmmseg", protocols={}, status="failed", reason="the loss is not finite")
        result = ProtocolResult(version="1", targets=targets)
        text = render(table([bench.record(protocols={"cross-domain": result}), failed]), "md")
        assert text.count("the loss is not finite") == 1
