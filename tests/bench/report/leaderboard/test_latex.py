"""LaTeX that a paper can take: nothing wider or higher than the page, nothing scaled, labels unique."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from bench.report.leaderboard import build, render, write
from bench.schema.record import Training

TARGETS = ("fishyscapes_lost_and_found/val", "road_anomaly/test", "road_obstacle_21/val")
LONG_NETWORK = {
    "encoder": "resnet18",
    "decoder": {"decoder_pyramid_channels": 96, "decoder_segmentation_channels": 64},
}
COST = Training(seconds=60.0, steps=10, parameters=4_220_000, images_per_second=3.0, peak_memory_mb=1600.0)


def anomaly_table(bench, make, scores=4, configs=({"dim": 64},)):
    """Two seeds of each configuration, ``scores`` scores on three targets, runs of a long network."""

    def result(seed):
        values = {f"a_score_{i}": {"auroc": 0.9 - i / 99 - seed / 77, "ap": 0.5, "fpr95": 0.1} for i in range(scores)}
        made = make.anomaly(values, target=TARGETS[0])
        for name in TARGETS[1:]:
            made.targets |= make.anomaly(values, target=name).targets
        return made

    records = [
        bench.record(seed=seed, config=config, network=LONG_NETWORK, protocols={"anomaly": result(seed)})
        for seed in (0, 1)
        for config in configs
    ]
    (table,) = build(records, bench.statistics, published="none")
    return table


def closed_table(bench, make, **fields):
    records = [
        bench.record(
            m,
            s,
            training=COST.model_copy(update={"parameters": int(1e6 * v)}),
            protocols={"closed-set": make.closed_set(v + s / 99)},
            **fields,
        )
        for m, v in (("softmax", 0.5), ("gmmseg", 0.6))
        for s in (0, 1)
    ]
    (table,) = build(records, bench.statistics, published="none")
    return table


def tabulars(text):
    return re.findall(r"\\begin\{tabular\}\{@\{\}[rl]+@\{\}\}(.*?)\\bottomrule", text, re.DOTALL)


def rows(tabular):
    return [line for line in tabular.partition(r"\midrule")[2].splitlines() if line.endswith(r"\\")]


def labels(text):
    return re.findall(r"\\label\{(.*?)\}", text)


def test_a_wide_table_is_divided_by_target_and_never_scaled(bench, make):
    text = render(anomaly_table(bench, make), "tex")
    assert "resizebox" not in text
    found = tabulars(text)
    for name in TARGETS:
        (holding,) = [t for t in found if name.replace("_", r"\_") in t]
        assert "AUROC" in holding
        assert "FPR95" in holding
    assert all(len(rows(t)) == 4 for t in found if "AUROC" in t)
    assert all(len(re.findall("AUROC", t)) < 3 for t in found)


def test_many_rows_are_divided_into_tabulars_and_floats_of_a_page(bench, make):
    text = render(anomaly_table(bench, make, scores=80), "tex")
    found = [rows(t) for t in tabulars(text) if "AUROC" in t]
    assert all(len(t) <= 35 for t in found)
    assert sum(map(len, found)) % 80 == 0
    assert max(map(len, found)) - min(map(len, found)) <= 1, "much the same length, not a remainder of a row or two"
    floats = text.split(r"\begin{table*}")[1:]
    assert 1 < max(sum(len(rows(t)) for t in tabulars(float_)) for float_ in floats) <= 60
    assert len(set(labels(text))) == len(labels(text)) == text.count(r"\caption[") > 2


def test_what_all_scores_of_a_checkpoint_share_is_printed_once_for_it(bench, make):
    (own,) = [t for t in tabulars(render(anomaly_table(bench, make, scores=9), "tex")) if "Closed-set" in t]
    assert rows(own) == [r"softmax & 2 & 60.00 \\"]


def test_costs_are_a_float_of_their_own(bench, make):
    text = render(closed_table(bench, make), "tex")
    first, second = text.split(r"\begin{table*}")[1:]
    assert "Parameters" not in first
    assert "mIoU" in first
    assert "Parameters" in second
    assert "mIoU" not in second
    assert labels(second) == [labels(first)[0] + ":cost"]
    assert rf"\ref{{{labels(first)[0]}}}" in second


def test_the_network_is_named_once_in_the_captions(bench, make):
    text = render(closed_table(bench, make, network=LONG_NETWORK), "tex")
    assert len(re.findall(r"decoder\\_pyramid\\_channels", text)) == 1
    assert len(re.findall(r"decoder\\_pyramid\\_channels", render(anomaly_table(bench, make, scores=80), "tex"))) == 1


def test_long_settings_are_spelled_out_below_the_rows(bench, make):
    configs = [{"an_option": f"{i}_value", "another_option": i, "dim": 64} for i in (1, 2)]
    table = anomaly_table(bench, make, scores=1, configs=configs)
    text = render(table, "tex")
    (first, second) = sorted({row.label for row in table.rows})
    assert len(first) > 20
    for name in ("[a]", "[b]"):
        assert len([r for t in tabulars(text) for r in rows(t) if f"softmax {name} &" in r]) >= len(TARGETS)
    for label in (first, second):
        assert len(re.findall(re.escape(label.replace("_", r"\_")), text)) == 1


def test_notes_stand_below_in_footnote_size_and_not_in_the_caption(bench, make):
    table = closed_table(bench, make)
    table.notes.append("a map of our own")
    text = render(table, "tex")
    assert r"{\footnotesize\raggedright Note: a map of our own.\par}" in text
    captions = re.findall(r"\\caption\[.*", text)
    assert not any("our own" in caption or "standard deviation" in caption for caption in captions)


def test_a_table_without_columns_and_one_without_rows(bench):
    (table,) = build([bench.record(protocols={}, status="failed", reason="a & b")], bench.statistics, published="none")
    text = render(table, "tex")
    assert r"seed 0 failed: a \& b \\" in text
    assert tabulars(text) == []


def test_a_line_of_a_heading_may_begin_with_a_bracket(bench, make):
    table = closed_table(bench, make)
    table.columns = [replace(column, group="a_long_target_name [abcdef01, val]") for column in table.columns]
    assert not re.search(r"\\\\\s*[\[*]", render(table, "tex"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_every_table_fits_the_page_of_the_narrowest_class(bench, make, tmp_path):
    configs = [{"an_option": f"value_{i}", "another_option": i, "dim": 64} for i in (1, 2)]
    tables = [
        anomaly_table(bench, make, scores=30, configs=configs),
        closed_table(bench, make, network=LONG_NETWORK),
    ]
    tables[1].title += " of another network"
    tables[1].notes += [f"a sentence of some length about method number {i} and its settings" for i in range(60)]
    (path,) = write(tables, ["tex"], tmp_path)
    needed = re.findall(r"\\[a-z]+(?:=\d+|(?:\{[a-z0-9,]+\}))", "".join(path.read_text().partition("\n\n")[0]))
    preamble = r"\documentclass{article}" + "".join(needed)
    (tmp_path / "main.tex").write_text(preamble + rf"\begin{{document}}\input{{{path.name}}}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert outcome.returncode == 0, outcome.stdout[-2000:]
    assert "Overfull" not in outcome.stdout
    assert "too large" not in outcome.stdout
