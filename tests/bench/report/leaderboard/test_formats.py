"""Markdown, CSV, LaTeX, HTML and the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench.common.errors import UserError
from bench.common.text import cell
from bench.report.leaderboard import FILES, build, render, show, write
from bench.report.leaderboard.figures import per_class_svg
from bench.report.leaderboard.model import Cell

NASTY = "a_b & 50% of #1 {x} <script>alert(1)</script> | $y^2~\\ [bold] “π → ü”\nnext"


@pytest.fixture
def table(bench, make):
    def run(method, seed, miou, **fields):
        result = make.closed_set(miou)
        result.targets["test"].per_class["iou"] = {"road": miou, "traffic sign": None if seed else 0.25}
        return bench.record(method, seed, protocols={"closed-set": result}, **fields)

    records = [
        run("softmax", 0, 0.5, environment={"dirty": True}),
        run("softmax", 1, 0.52),
        run("gmm_seg", 0, 0.6),
        run("majority", 0, 0.1),
        bench.record("segsort", 0, protocols={}, status="failed", reason=NASTY),
    ]
    (found,) = build(records, bench.statistics, published="none")
    return found


def test_golden_markdown(table):
    lines = render(table, "md").splitlines()
    assert lines[:11] == [
        "## Closed-set segmentation: toyscapes, dense, fpn/mobilenet_v2, quick",
        "",
        "Data set toyscapes; supervision dense; network fpn/mobilenet_v2; encoder weights scratch; "
        f"recipe {table.facts['recipe']}; inference whole@native; protocol closed-set version 1; "
        "training data 100 images (feedface); hardware CPU; commits 01234567, 01234567 (dirty).",
        "",
        "| # | Method | n | test<br>mIoU ↑ |",
        "| ---: | --- | ---: | ---: |",
        "| (1) | gmm_seg | 1 | **60.00** |",
        "| 2 | softmax | 2 | <u>51.00 ± 1.41</u> |",
        "| 3 | majority | 1 | 10.00 |",
        "| – | segsort | – | seed 0 failed: a_b & 50% of #1 {x} &lt;script&gt;alert(1)&lt;/script&gt; "
        "\\| $y^2~\\\\ \\[bold\\] “π → ü” next |",
        "",
    ]


@pytest.mark.parametrize("note", ["a map of our own", "a map of our own."])
def test_a_latex_caption_ends_every_note_with_one_full_stop(table, note):
    table.notes.append(note)
    assert r" Note: a map of our own.\par}" in render(table, "tex")


def test_golden_latex(table):
    text = render(table, "tex")
    assert r"\textbf{60.00}" in text
    assert r"\underline{51.00 $\pm$ 1.41}" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr){4-4}"):
        assert rule in text
    assert r"(1) & gmm\_seg & 1 & \textbf{60.00} \\" in text
    assert r"segsort & seed 0 failed: a\_b \& 50\% of \#1 \{x\} \textless{}script" in text
    assert text.isascii()
    body = text.replace(r"\%", "").replace(r"\&", "").replace(r"\#", "").replace(r"\$", "")
    assert "%" not in body
    assert "#" not in body
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert not re.search(r"(?<!\\)_", re.sub(r"\\label\{.*?\}", "", body))
    numbers, status = text.split(r"\end{tabular}")[:2]
    for tabular, columns in ((numbers, 4), (status, 2)):
        rows = [line for line in tabular.splitlines() if line.endswith(r"\\") and not line.startswith(" &")]
        assert len(rows) > 1
        assert all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in rows)


def test_csv_holds_raw_numbers(table):
    lines = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    (line,) = [x for x in lines if x["method"] == "softmax" and x["metric"] == "miou"]
    assert float(line["mean"]) == pytest.approx(0.51, abs=1e-15)
    assert float(line["std"]) == pytest.approx(0.02 / 2**0.5)
    assert (line["n"], line["seeds"], line["values"]) == ("2", "0 1", "0=0.5 1=0.52")
    assert line["protocol"] == "closed-set version 1"
    (sign,) = [x for x in lines if x["method"] == "softmax" and x["metric"] == "iou/traffic sign"]
    assert (sign["mean"], sign["std"], sign["n"]) == ("0.25", "", "1")
    assert sign["note"] == "undefined for seed 1"
    (failed,) = [x for x in lines if x["kind"] == "failed"]
    assert failed["mean"] == ""
    assert failed["variant"] == "segsort"
    assert "**" not in render(table, "csv")


def test_json_holds_what_csv_does_with_numbers_as_numbers(table):
    of_csv = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    of_json = json.loads(render(table, "json"))
    assert [{key: value for key, value in line.items() if value != ""} for line in of_csv] == [
        {key: cell(value) for key, value in line.items()} for line in of_json
    ]
    assert {type(line[key]) for line in of_json for key in ("mean", "std") if key in line} == {float}


def test_html_is_escaped_and_marked(table):
    text = render(table, "html")
    assert "<strong>60.00</strong>" in text
    assert "<u>51.00 ± 1.41</u>" in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_write_makes_one_file_a_format(table, tmp_path):
    paths = write([table], ["md", "csv", "json", "tex", "html", "md"], tmp_path / "new")
    assert [p.name for p in paths] == list(FILES.values())
    report = paths[4].read_text(encoding="utf-8")
    assert "<svg" in report
    assert "traffic sign</text>" in report, "figures hold text, not its outlines"
    assert "traffic sign" in report
    # Self-contained: nothing is loaded from elsewhere; "data:," is the icon that it has not.
    assert not re.search(r'(src|href)="(?!#|data:,")', report.replace('xlink:href="#', ""))
    assert paths[3].read_text(encoding="utf-8").startswith("% Needs")
    assert not list((tmp_path / "new").glob("*.part"))
    again = [p.read_bytes() for p in paths]
    write([table], ["md", "csv", "json", "tex", "html"], tmp_path / "new")
    assert [p.read_bytes() for p in paths] == again


def test_a_figure_survives_that_no_seed_has_a_class_and_is_whole_xml(table):
    drawn = ElementTree.fromstring(per_class_svg(table))
    names = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    row = next(r for r in table.rows if r.per_class)
    (target,) = row.per_class
    assert set(row.per_class[target]) < set(names)
    row.per_class[target] = {name: Cell({}) for name in row.per_class[target]}
    assert row.label in per_class_svg(table)


def test_write_nothing(tmp_path):
    paths = write([], ["md", "csv", "tex", "html"], tmp_path)
    assert "There are no runs to compare" in paths[3].read_text(encoding="utf-8")


def test_unknown_format_and_unwritable_folder_are_user_errors(table, tmp_path):
    with pytest.raises(UserError, match="unknown format 'latex'"):
        render(table, "latex")
    with pytest.raises(UserError, match="unknown format 'docx'"):
        write([table], ["docx"], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write([table], ["md"], tmp_path / "file")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_show(table, width):
    console = Console(width=width, record=True, file=io.StringIO())
    show([table], console)
    text = console.export_text()
    assert "60.00" in text
    assert "failed" in text
    assert "[bold]" in text  # not read as markup


def test_show_splits_wide_tables_by_target(bench, make):
    scores = {"msp": {"auroc": 0.9, "ap": 0.5, "fpr95": 0.1}}
    result = make.anomaly(scores)
    for name in ("fishyscapes/val", "obstacle/val"):
        result.targets |= make.anomaly(scores, target=name).targets
    (table,) = build([bench.record(protocols={"anomaly": result})], bench.statistics)
    console = Console(width=90, record=True, file=io.StringIO())
    show([table], console)
    text = console.export_text()
    assert text.count("Method") > 1
    assert all(len(line) <= 90 for line in text.splitlines())
    for parts in (("fishyscapes/", "val"), ("obstacle/val",), ("road_", "anomaly/test")):
        assert all(re.search(rf" {part}( |$)", text, re.MULTILINE) for part in parts)


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_has_the_whole_name_of_a_target_and_every_number_in_one_piece(bench, make, width):
    result = make.anomaly({"msp": {"auroc": 0.9, "ap": 0.5, "fpr95": 0.1}}, target="fishyscapes_lost_and_found/test")
    (table,) = build([bench.record(seed=seed, protocols={"anomaly": result}) for seed in (0, 1)], bench.statistics)
    console = Console(width=width, record=True, file=io.StringIO())
    show([table], console)
    lines = console.export_text().splitlines()
    (first,) = [
        place for place, line in enumerate(lines) if line.endswith(" fishyscapes_") or " fishyscapes_ " in line
    ][:1]
    assert [line.split()[0] for line in lines[first : first + 3]] == ["fishyscapes_", "lost_and_", "found/test"]
    assert "…" not in "".join(lines)
    assert sum(line.count("± 0.00") for line in lines) == 3


def test_show_nothing():
    console = Console(record=True, file=io.StringIO())
    show([], console)
    assert "no runs to compare" in console.export_text()
