"""``bench data``: what lies on this machine, whether it is whole, how it looks and how fast it is read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import pytest
from PIL import Image

from bench.plugins import registry
from datasets.camvid import CamVid
from tests.datasets.miniatures import MINIATURES

COUNTS = {"train": 3, "val": 2, "test": 3, "test-seq05vd": 2, "test-0001tp": 1}
REAL = ("camvid", "idd_lite", "road_anomaly", "road_obstacle_21", "fishyscapes_lost_and_found")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """CamVid in miniature, made to be the whole release."""
    MINIATURES["camvid"]["png"](tmp_path / "data")
    splits = {name: replace(facts, count=COUNTS[name]) for name, facts in CamVid.splits.items()}
    monkeypatch.setattr(registry.datasets.get("camvid"), "splits", splits)
    return tmp_path / "data"


@pytest.fixture
def data(bench, root):
    return lambda *arguments: bench("data", *arguments, "--data-root", str(root))


def test_list_says_where_each_data_set_lies(data, root, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets, and rows are broken to it
    rows = {row["name"]: row for row in json.loads(data("list", "--json").stdout)}
    assert [*rows] == registry.datasets.names()
    assert rows["camvid"] == {"name": "camvid", "title": "CamVid", "folder": str(root / "camvid")}
    assert rows["cityscapes"]["folder"] is None
    lines = data("list").stdout.splitlines()
    assert len(lines) == len(rows)
    (line,) = [line for line in lines if line.startswith("camvid ")]
    assert line.split() == ["camvid", "CamVid", str(root / "camvid")]


def test_list_fits_the_terminal_and_names_each_folder_in_one_piece(data, root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = data("list").stdout.splitlines()
    folder = str(root / "camvid")
    assert [line for line in lines if len(line) > 80 and line.strip() != folder] == []
    assert [line for line in lines if line.endswith(folder)] != []


def test_of_several_roots_the_first_that_has_it_counts(bench, root, tmp_path, monkeypatch):
    MINIATURES["idd_lite"]["direct"](tmp_path / "other")
    MINIATURES["camvid"]["png"](tmp_path / "last")
    monkeypatch.setenv("BENCH_DATA", os.pathsep.join(map(str, (tmp_path / "other", root, tmp_path / "last"))))
    rows = {row["name"]: row["folder"] for row in json.loads(bench("data", "list", "--json").stdout)}
    assert rows["idd_lite"] == str(tmp_path / "other/idd_lite")
    assert rows["camvid"] == str(root / "camvid")
    assert rows["cityscapes"] is None


def test_info_says_what_it_is_and_how_much_of_it_is_there(data, root):
    (root / "camvid/valannot").rename(root / "camvid/elsewhere")
    outcome = data("info", "camvid")
    assert outcome.exit_code == 0
    text = " ".join(outcome.stdout.split())
    for part in (CamVid.home, CamVid.licence, CamVid.layout, CamVid.citation):
        assert part in text
    told = {"labels": "0..10 are the classes, 11 is void", "pitfalls": "the splits are drives, and they overlap"}
    facts = json.loads(data("info", "camvid", "--json").stdout)
    for heading, part in told.items():
        assert f"{heading.capitalize()}: {part}" in text
        assert facts[heading].startswith(part)
    assert f"train: 3 of 3 images with labels in {root / 'camvid'}" in outcome.stdout
    assert f"val: 0 of 2 images with labels in {root / 'camvid'}" in outcome.stdout


@pytest.mark.parametrize("command", ["info", "verify"])
def test_what_is_not_there_is_said_once(data, root, command):
    outcome = data(command, "cityscapes")
    assert outcome.exit_code == (command == "verify")
    assert outcome.stdout.count(f"there is no folder {root / 'cityscapes'}") == {"info": 1, "verify": 2}[command]
    if command == "verify":
        assert outcome.stderr.startswith("error: cityscapes has 1 problem, listed above;")


@pytest.mark.parametrize("width", [80, 120])
def test_what_people_read_fits_their_terminal(data, bench, tmp_path, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    MINIATURES["coco_stuff_10k"]["official"](tmp_path)
    for command in ("info", "verify"):
        outcome = bench("data", command, "coco_stuff_10k", "--data-root", str(tmp_path))
        lines = [
            line for line in outcome.stdout.splitlines() if str(tmp_path) not in line and "fingerprint" not in line
        ]
        assert width - 40 < max(map(len, lines)) < width
    shares = [line for line in lines if line.startswith(("  labels", " " * 10))]
    assert len(shares) > 2
    assert all(line[-1] in ",%" for line in shares), "a line ends within a class"


def test_verify_of_a_whole_data_set_succeeds(data):
    outcome = data("verify", "camvid")
    assert outcome.exit_code == 0, outcome.output
    assert "train: 3 of 3 images, 32x24, in" in outcome.stdout
    assert re.search(r"labels: sky [\d.]+%, building .*, void [\d.]+%", " ".join(outcome.stdout.split()))
    assert "FAIL" not in outcome.stdout


def test_verify_names_a_cut_image_and_a_missing_label(data, root):
    cut, lost = root / "camvid/train/0001TP_006690.png", root / "camvid/testannot/Seq05VD_f00030.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    lost.unlink()
    outcome = data("verify", "camvid")
    assert outcome.exit_code == 1
    assert f"FAIL  {cut} cannot be decoded (the file is cut off)" in outcome.stdout
    assert f"FAIL  Seq05VD_f00030: there is no {lost}" in outcome.stdout
    assert outcome.stderr.startswith("error: camvid has 2 problems, listed above;")
    assert CamVid.home in outcome.stderr
    found = json.loads(data("verify", "camvid", "--json").stdout)
    assert {split: len(report["problems"]) for split, report in found.items() if report["problems"]} == {
        "train": 1,
        "test": 1,
        "test-seq05vd": 1,
    }
    assert data("verify", "camvid", "--split", "val").exit_code == 0


def test_prepare_says_what_is_ready_and_what_it_made(data, bench, tmp_path, monkeypatch):
    outcome = data("prepare", "camvid")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.startswith("train: 3 images are ready in ")
    MINIATURES["fishyscapes_static"]["archive"](tmp_path)
    plugin = registry.datasets.get("fishyscapes_static")
    monkeypatch.setattr(plugin, "splits", {"val": replace(plugin.splits["val"], count=2)})
    outcome = bench("data", "prepare", "fishyscapes_static", "--data-root", str(tmp_path))
    assert outcome.exit_code == 0, outcome.output
    assert f"made {tmp_path / 'fishyscapes_static/images'} of 2 files" in outcome.stdout


@pytest.mark.parametrize("command", ["info", "verify", "prepare", "sheet", "speed"])
def test_a_wrong_name_is_one_sentence(data, command):
    outcome = data(command, "camvit")
    assert outcome.exit_code == 2
    assert "did you mean camvid" in outcome.stderr


@pytest.mark.parametrize("command", ["prepare", "sheet", "speed"])
def test_what_is_not_there_is_one_sentence(data, command, tmp_path):
    outcome = data(command, "cityscapes", *(["--out", str(tmp_path / "x.png")] if command == "sheet" else []))
    assert outcome.exit_code == 2
    assert "error: cityscapes: no image of split" in outcome.stderr
    assert not (tmp_path / "x.png").exists()


def test_the_sheet_has_a_row_for_each_image_and_its_colours(data, tmp_path):
    assert data("sheet", "camvid", "--count", "2", "--out", str(tmp_path / "sheet.png")).exit_code == 0
    with Image.open(tmp_path / "sheet.png") as whole:
        size, colours = whole.size, {colour for _, colour in whole.convert("RGB").getcolors(2**24)}
    rows = 4 * 2 + 1  # 0001TP has one image in test
    assert size[0] == 3 * 320 + 2 * 4
    assert size[1] == pytest.approx(rows * (240 + 14 + 4) + 32, abs=16)
    assert {*CamVid.classes.colours} <= colours


def test_the_sheet_leaves_what_is_as_usual_in_its_colours(bench, tmp_path):
    MINIATURES["road_anomaly"]["mirror"](tmp_path)
    arguments = ["--data-root", str(tmp_path), "--count", "1", "--out", str(tmp_path / "sheet.png")]
    outcome = bench("data", "sheet", "road_anomaly", *arguments)
    assert outcome.exit_code == 0, outcome.output
    with Image.open(tmp_path / "sheet.png") as whole:
        image, both = whole.crop((0, 14, 320, 254)), whole.crop((648, 14, 968, 254))
        labels = whole.crop((324, 14, 644, 254))
    usual = [i for i, colour in enumerate(labels.get_flattened_data()) if colour == (255, 255, 255)]
    before, after = [*image.get_flattened_data()], [*both.get_flattened_data()]
    assert usual
    assert all(before[i] == after[i] for i in usual)
    assert before != after


def test_speed_sets_decoding_and_loading_beside_what_training_needs(data):
    outcome = data("speed", "camvid", "--images", "16", "--device", "cpu")
    assert outcome.exit_code == 0, outcome.output
    rates = [float(line.split()[0]) for line in outcome.stdout.splitlines()]
    assert len(rates) == 4
    assert all(rate > 0 for rate in rates)
    assert "training steps of softmax" in outcome.stdout


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_photographs_are_clean(bench, name):
    if "BENCH_REAL_DATA" not in os.environ:
        pytest.skip("BENCH_REAL_DATA names no folder of real data")
    outcome = bench("data", "verify", name, "--data-root", os.environ["BENCH_REAL_DATA"])
    assert outcome.exit_code == 0, outcome.output
