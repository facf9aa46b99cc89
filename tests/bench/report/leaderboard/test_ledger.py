"""Every number is in the ledger once, says what it is, and follows from others where it can."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from bench.common.errors import UserError
from bench.common.text import cell
from bench.records.ledger import COLUMNS, TRAINING, export, ledger
from bench.records.store import Store
from bench.report import summary
from bench.report.leaderboard import FILES, build, curves, render, show
from bench.schema.record import ProtocolResult, Scores, Training

ROOT = Path(__file__).parents[4]
HEADLINES = ("miou", "ece", "boundary_iou")
"""Metrics that a summary repeats from a target."""
KEY = ["run", "group", "protocol", "version", "target", "data", "reading", "metric", "part"]


@pytest.fixture(scope="module")
def records():
    return Store(ROOT / "results").records()


@pytest.fixture(scope="module")
def frame(records):
    return ledger(records)


def stored(records):
    """((run, protocol, target, reading, metric), value) of all numbers in the records, the derivable ones included."""
    for record in records:
        for protocol, result in record.protocols.items():
            places = {"": ({"": result.summary, **result.summary_by_reading})}
            for target, scores in result.targets.items():
                places[target] = {"": scores.metrics, **scores.by_reading, **scores.by_score}
            for target, readings in places.items():
                for reading, metrics in readings.items():
                    for key, value in metrics.items():
                        yield (record.run_id, protocol, target, reading, key), value


def test_every_number_of_the_committed_records_is_there_to_the_last_digit(records, frame):
    found = frame[frame["part"] == ""].set_index(["run", "protocol", "target", "reading", "metric"])["value"].to_dict()
    count = 0
    for key, value in stored(records):
        if key[2] == "" and key[4] in HEADLINES:
            continue
        assert found[key] == value or (value is None and pd.isna(found[key])), key
        count += 1
    assert count > 4000


def test_what_follows_from_other_numbers_is_derived_and_not_read(records, frame):
    def without(result):
        """The result without what can be derived, but for the drops' and means' sources."""
        targets = {
            name: scores.model_copy(
                update={
                    "metrics": {k: v for k, v in scores.metrics.items() if k != "drop"},
                    "by_reading": {
                        r: {k: v for k, v in m.items() if k != "drop"} for r, m in scores.by_reading.items()
                    },
                }
            )
            for name, scores in result.targets.items()
        }
        kept = {k: v for k, v in result.summary.items() if k in HEADLINES}  # they tell which split is the headline
        return result.model_copy(update={"targets": targets, "summary": kept, "summary_by_reading": {}})

    bare = [r.model_copy(update={"protocols": {n: without(p) for n, p in r.protocols.items()}}) for r in records]
    columns = [*KEY, "value"]
    ours, full = (f[columns].sort_values(KEY).reset_index(drop=True) for f in (ledger(bare), frame))
    pd.testing.assert_frame_equal(ours, full, check_exact=True)
    assert {"drop", "retention", "mean_drop", "mean_retention", "harmonic_mean", "closed_set_miou"} <= {*ours["metric"]}


def test_a_number_is_there_once_and_every_column_is_documented(frame):
    assert not frame.duplicated(KEY).any()
    assert [*COLUMNS] == [column for column in frame.columns if column in COLUMNS]
    page = (ROOT / "docs" / "ledger.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)) == COLUMNS
    text = frame[[*COLUMNS]].drop(columns=["labelled_share", "labelled_pixels", "value"])
    assert not text.isna().any().any(), "what is not known is empty"


def test_runs_and_protocols_without_numbers_have_a_row_with_the_reason(bench, make):
    skipped = ProtocolResult(version="1", status="skipped", reason="no data")
    records = [
        bench.record("softmax", protocols={"closed-set": make.closed_set(0.5), "anomaly": skipped}),
        bench.record("gmmseg", protocols={}, status="failed", reason="killed"),
    ]
    empty = ledger(records).query("metric == ''").set_index("method")
    assert empty.loc["softmax", ["protocol", "status", "reason"]].tolist() == ["anomaly", "skipped", "no data"]
    assert empty.loc["gmmseg", ["protocol", "run_status", "run_reason"]].tolist() == ["", "failed", "killed"]
    assert empty["value"].isna().all()


def test_a_run_that_failed_before_it_saw_its_data_stands_in_every_group_that_fits(bench, make):
    seen = make.info(split="train", images=9)
    records = [
        bench.record(),
        bench.record(seen=seen),
        bench.record("gmmseg", seen=None, status="failed", protocols={}),
    ]
    found = ledger(records)
    assert found.loc[found["method"] == "gmmseg", "group"].nunique() == 2
    assert {*found["group"]} == {*found.loc[found["method"] == "softmax", "group"]}


def test_units_directions_and_costs(bench, make):
    cost = Training(seconds=60.0, steps=10, parameters=4_220_000, images_per_second=3.0, peak_memory_mb=1600.0)
    protocols = {"closed-set": make.closed_set(0.5, ece=0.1, new_thing=3.0)}
    record = bench.record(training=cost, inference_seconds=0.25, protocols=protocols)
    found = ledger([record]).set_index("metric")
    assert found.loc["miou", ["unit", "direction"]].tolist() == ["share", "higher"]
    assert found.loc["ece", ["unit", "direction"]].tolist() == ["share", "lower"]
    assert found.loc["new_thing", ["unit", "direction"]].tolist() == ["", ""]
    assert found.loc["parameters", ["protocol", "unit", "value"]].tolist() == [TRAINING, "million", 4.22]
    assert found.loc["inference_seconds", ["unit", "value"]].tolist() == ["ms", 250.0]


def test_a_reading_that_not_all_targets_have_has_no_mean_over_them(bench, make):
    def scores(readings):
        other = {reading: {"miou": 0.2, "source_miou": 0.5} for reading in readings}
        return Scores(dataset=make.info(), metrics={"miou": 0.4, "source_miou": 0.5}, by_reading=other)

    targets = {"a/val": scores(("soft", "bank swap")), "b/val": scores(("soft",))}
    record = bench.record(protocols={"cross-domain": ProtocolResult(version="1", targets=targets)})
    means = ledger([record]).query("metric == 'mean_drop'").set_index("reading")["value"]
    assert means.to_dict() == pytest.approx({"": 0.1, "soft": 0.3})


class TestPartialData:
    """Runs that accepted fewer images than a data set's release has."""

    def table(self, bench, partial=(True,)):
        records = [bench.record("softmax", s, 0.5, data={"allow_partial": p}) for s, p in enumerate(partial)]
        (table,) = build(records, bench.statistics, published="none")
        return table

    @pytest.mark.parametrize("format", FILES)
    def test_are_marked_in_every_format(self, bench, format):
        assert "softmax on partial data" in render(self.table(bench), format)

    def test_are_marked_on_the_terminal_and_the_images_scored_are_said(self, bench):
        console = Console(width=200, record=True, file=io.StringIO())
        show([self.table(bench)], console)
        text = console.export_text()
        assert "softmax on partial data" in text
        assert "fewer images than a release has. Scored here: test 20 images." in text

    def test_are_no_seeds_of_complete_ones(self, bench):
        table = self.table(bench, (False, True))
        assert {row.label: row.seeds for row in table.rows} == {"softmax": (0,), "softmax on partial data": (1,)}

    def test_are_marked_across_supervisions(self, bench):
        kinds = [bench.record("softmax", data={"supervision": k, "allow_partial": True}) for k in ("dense", "points")]
        (table,) = [t for t in build(kinds, bench.statistics) if t.protocol == "by-supervision"]
        assert [row.label for row in table.rows] == ["softmax on partial data"]
        assert any("Scored here: test 20 images" in rule for rule in table.rules)

    def test_are_marked_in_the_title_of_a_curve(self, bench):
        records = [bench.record(config={"dim": dim}, data={"allow_partial": True}) for dim in (8, 16)]
        (panel,) = curves.build(records, "method.dim")
        assert panel.title.endswith("quick, on partial data")

    def test_are_marked_in_the_summary_of_a_run(self, bench, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        summary.show([bench.record(data={"allow_partial": True}), bench.record()])
        assert capsys.readouterr().err.count("test (20 images of partial data)") == 1

    def test_complete_ones_have_no_mark(self, bench):
        assert "partial" not in render(self.table(bench, (False,)), "md")


NUMBERS = ("value", "labelled_share", "labelled_pixels")
"""Columns in which an unknown number is empty, as docs/ledger.md has it."""
READERS = {
    "csv": lambda path: pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in NUMBERS}),
    "json": lambda path: pd.DataFrame(json.loads(path.read_text())),
    "parquet": pd.read_parquet,
}


@pytest.mark.parametrize("format", READERS)
def test_an_export_reads_back_with_every_digit(frame, tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    export(frame, tmp_path / "numbers", format)
    found = READERS[format](tmp_path / "numbers")
    assert [*found.columns] == [*COLUMNS]
    for column in NUMBERS:
        assert found[column].tolist() == pytest.approx(frame[column].tolist(), abs=0, rel=0, nan_ok=True)
    for column in ("run", "group", "configuration", "data", "notes", "part"):
        expected = frame[column].map(cell) if format == "csv" else frame[column]  # no formulas, no line breaks
        assert found[column].tolist() == expected.tolist()


def test_parquet_without_pyarrow_is_one_sentence_with_the_extra(frame, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'genseg-bench\[parquet\]'") as caught:
        export(frame, tmp_path / "numbers.parquet", "parquet")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_records_no_rows():
    assert ledger([]).empty


def test_a_side_file_is_read_for_what_a_table_compares_and_not_otherwise(bench, make):
    asked = []

    def statistics(run_id, under):
        asked.append((run_id, under))
        return {}

    scores = make.anomaly({"msp": {"ap": 0.1}})
    pair = [bench.record(m, protocols={"closed-set": make.closed_set(0.5)}) for m in ("a", "b")]
    alone = bench.record("a", data={"supervision": "points"}, protocols={"anomaly": scores})
    build([*pair, alone], statistics, published="none")
    assert asked == [(record.run_id, "closed-set/") for record in pair]
