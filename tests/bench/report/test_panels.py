"""Which images stand for a target, and what is kept of them for the page."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from bench.common.errors import UserError
from bench.report import panels
from bench.report.panels import Panel, Panels, Picture, Scored
from bench.scoring.metrics import ranking
from bench.scoring.metrics.catalogue import metric
from bench.scoring.protocols.anomaly import Anomaly
from bench.scoring.protocols.closed_set import ClosedSet
from tests.bench.report.leaderboard.conftest import Bench

MIOU = metric("miou", "closed-set")


def made(record, **changes):
    picture = Picture.of("image", np.zeros((4, 8, 3), np.uint8))
    given = {
        "title": "toyscapes", "protocol": "closed-set", "target": "test", "rule": "Of 2 images.",
        "classes": {"road": "#804080"}, "runs": {record.run_id: record.checkpoint_hash},
        "images": [Panel(heading="worst: a", columns=[[picture]])],
    }  # fmt: skip
    return Panels(**{**given, **changes})


@pytest.fixture
def record():
    return Bench().record("softmax", 0, protocols={}, checkpoint_hash="ab" * 32)


def test_an_image_is_scored_by_what_its_protocol_is_judged_on():
    confusion = np.array([[[4, 0], [0, 4]], [[2, 2], [0, 4]], [[0, 0], [0, 0]]])
    arrays = {"closed-set/test/confusion": confusion, "closed-set/test/ids": np.array(["a", "b", "void"])}
    found = panels.scored(ClosedSet, "test", arrays, "")
    assert found.metric == MIOU
    assert found.by_image == {"a": 1.0, "b": pytest.approx((2 / 4 + 4 / 6) / 2)}


def test_an_image_is_scored_by_the_average_precision_of_its_own_pixels_alone():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 9, (3, 50)).astype(np.float32)
    labels = generator.integers(0, 2, (3, 50))
    labels[2] = 0
    first = ranking.PositiveScores()
    for name, values, truth in zip("abc", scores, labels, strict=True):
        first.update(name, values, truth)
    second = ranking.NegativeCounts(first.finish())
    for name, values, truth in zip("abc", scores, labels, strict=True):
        second.update(name, values, truth)
    histogram = second.histogram
    arrays = {"anomaly/x/msp/histogram": histogram.counts, "anomaly/x/msp/edges": histogram.edges}
    found = panels.scored(Anomaly, "x", {**arrays, "anomaly/x/ids": np.array(["a", "b", "c"])}, "msp")
    assert found.metric.key == "ap"
    expected = {name: ranking.ranking_metrics(scores[i], labels[i]).ap for i, name in enumerate("ab")}
    assert found.by_image == pytest.approx(expected), "c has no anomaly"


def test_without_statistics_no_image_has_a_score():
    assert panels.scored(ClosedSet, "test", {}, "") is None


def test_images_go_from_the_worst_to_the_best_mean_of_those_that_every_run_scored():
    one, other = Scored(MIOU, {"a": 0.9, "b": 0.1, "c": 0.5}), Scored(MIOU, {"a": 0.1, "b": 0.3, "d": 0.0})
    assert panels.worst_to_best([one, other]) == ["b", "a"]
    ece = metric("ece", "calibration")
    assert panels.worst_to_best([Scored(ece, {"a": 0.9, "b": 0.1})]) == ["a", "b"]


def test_ends_and_middle_have_names():
    assert [panels.place(rank, 5) for rank in range(5)] == ["worst", "2 of 5", "median", "4 of 5", "best"]
    assert panels.place(0, 1) == "best"


def test_what_was_written_is_read_if_its_models_are_still_those_of_the_records(record, tmp_path, capsys):
    panels.write(made(record), tmp_path / "toyscapes" / "toyscapes-test.json")
    assert panels.read(tmp_path, [record]) == [made(record)]
    assert capsys.readouterr().err == ""
    for records in ([], [record.model_copy(update={"checkpoint_hash": "cd" * 32})]):
        assert panels.read(tmp_path, records) == []
        assert "toyscapes-test.json" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["", "{", '{"title": 1}', "["])
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "toyscapes").mkdir()
    (tmp_path / "toyscapes" / "x.json").write_text(damage)
    with pytest.raises(UserError, match=r"x\.json is damaged; draw it again with `bench pictures`"):
        panels.read(tmp_path, [])


@pytest.mark.parametrize("changes", [{"classes": {"road": "red;} *"}}, {"runs": [1]}])
def test_what_is_no_colour_or_no_run_is_refused(record, changes):
    with pytest.raises(ValueError, match="validation error"):
        made(record, **changes)


def test_a_picture_is_webp_and_nothing_else_in_base_64():
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    picture = Picture.of("noise", pixels)
    with Image.open(io.BytesIO(base64.b64decode(picture.webp))) as image:
        assert (image.format, image.size) == ("WEBP", (30, 20))
    with pytest.raises(ValueError, match="pattern"):
        Picture(caption="", webp='"><script>')
