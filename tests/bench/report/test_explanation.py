"""What ``bench explain`` shows: which segments, which training segments, how the bank is sampled and grouped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.cluster import AgglomerativeClustering

from bench.commands.cli import explain
from bench.config.tables import InferenceConfig
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.records.store import Store
from bench.report.explanation import bank, figures, report
from bench.report.explanation.query import Query, find
from bench.report.explanation.retrieval import Retrieved, choose, retrieve
from bench.report.explanation.tiles import ASPECT, TrainingImages, cut
from bench.runs import plan as planning
from datasets.base import ClassSet, MissingData, Sample
from methods.base import Features, Losses, Method, Network, Prediction
from methods.capabilities import Evidence, Explains, Explanation

CLASSES = ClassSet(
    "three", ("road", "a class of a very long name", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180))
)


def retrieved(predicted, shares, truth=None, k=2):
    count = len(predicted)
    truth = np.full(count, -1) if truth is None else np.array(truth)
    return Retrieved(
        segments=np.arange(count)[None],
        ids=np.arange(count),
        shares=np.array(shares, float),
        predicted=np.array(predicted),
        truth=truth,
        truth_shares=np.ones(count),
        rows=np.zeros((count, k), np.int64),
        cosines=np.ones((count, k), np.float32),
        classes=np.repeat(np.array(predicted)[:, None], k, axis=1),
    )


def test_segments_shown_are_the_largest_of_each_class_then_the_largest_errors():
    predicted, shares = [0, 0, 2, 0, 1, 2, 1], [0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]
    assert choose(retrieved(predicted, shares), 4) == [0, 2, 4, 1]
    truth = [0, 1, 2, 0, 1, 0, -1]
    assert choose(retrieved(predicted, shares, truth), 4) == [0, 2, 1, 5]
    assert choose(retrieved(predicted, shares, truth), 6) == [0, 2, 4, 6, 1, 5]
    assert choose(retrieved(predicted, shares, truth), 1) == [0]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=30), st.integers(1, 40))
def test_as_many_segments_are_shown_as_there_are_and_none_twice(pairs, count):
    predicted, truth = zip(*pairs, strict=True)
    shown = choose(retrieved(predicted, np.linspace(1, 0.1, len(pairs)), truth), count)
    assert len(shown) == len(set(shown)) == min(count, len(pairs))


class Known(Network):
    """Images are their own features, at half their size."""

    stride, out_channels, pyramid_channels, pyramid_strides = 2, 3, (), ()

    def forward(self, images):
        return Features(images[..., ::2, ::2], ())


class Columns(Explains, Method):
    """Segments are the cell columns 0, 1, 3 of four; classes 0, 1, 2 are predicted in them."""

    name = "columns"

    def losses(self, batch):
        return Losses({})

    def predict(self, images):
        segments = self.explain(images).segments
        logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 2])[segments], 3)
        return Prediction(logits.permute(0, 3, 1, 2).float())

    def evidence(self):
        raise NotImplementedError

    def explain(self, images):
        _, _, height, width = images.shape
        segments = torch.tensor([0, 1, 3, 3]).repeat(1, -(-height // 2), 1)
        assert segments.shape[2] == -(-width // 2)
        return Explanation(segments, torch.tensor([[[0, 1], [1, 2], [9, 9], [2, 0]]]), torch.rand(1, 4, 2))


def test_retrieval_knows_area_prediction_and_truth_of_every_segment():
    method = Columns(None, Known(), CLASSES)
    label = torch.tensor([[0, 0, 1, 255, 2, 2, 1, 2], [0, 254, 0, 0, 1, 1, 1, 1]])
    sample = Sample(torch.zeros(3, 2, 8, dtype=torch.uint8), label, "known")
    evidence = Evidence(torch.eye(3), torch.tensor([0, 1, 2]), torch.zeros(3).long(), torch.zeros(3).long())
    found = retrieve(Query(sample, True), evidence, Predictor(method, InferenceConfig(), torch.device("cpu")))
    assert found.ids.tolist() == [3, 0, 1]  # the largest first, and 2 has no cell
    assert found.segments.tolist() == [[1, 1, 2, 2, 0, 0, 0, 0]] * 2
    np.testing.assert_allclose(found.shares, [0.5, 0.25, 0.25])
    assert found.predicted.tolist() == [2, 0, 1]
    assert found.truth.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.truth_shares, [5 / 8, 1, 2 / 3])
    assert found.classes.tolist() == [[2, 0], [0, 1], [1, 2]]
    assert found.right().tolist() == [[False, False], [True, False], [False, False]]
    assert found.precision() == pytest.approx(1 / 6, abs=1e-4)
    blank = Query(sample._replace(label=torch.full_like(label, 255)), False)
    blind = retrieve(blank, evidence, Predictor(method, InferenceConfig(), torch.device("cpu")))
    assert blind.truth.tolist() == [-1, -1, -1]
    assert blind.precision() is None


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=300), st.integers(1, 120))
def test_the_sample_is_balanced_and_as_large_as_it_may_be(labels, limit):
    labels = np.array(labels)
    chosen = bank.balanced_sample(labels, limit)
    have, taken = np.bincount(labels, minlength=7), np.bincount(labels[chosen], minlength=7)
    assert (np.diff(chosen) > 0).all()
    quota = taken.max()
    assert (taken == np.minimum(have, quota)).all()
    assert len(chosen) <= max(limit, (have > 0).sum())
    assert len(chosen) == len(labels) or np.minimum(have, quota + 1).sum() > limit


def test_the_sample_of_a_class_is_evenly_spaced():
    assert np.flatnonzero(np.diff(bank.balanced_sample(np.zeros(1000, int), 10)) != 100).size == 0


def blobs(per_blob=30, dim=8, spread=0.1):
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(dim)[:4], per_blob, axis=0) + spread * rng.standard_normal((4 * per_blob, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(4), per_blob)


def test_groups_are_those_of_scikit_learn():
    features, _ = blobs(spread=0.4)
    for count in (1, 4, 9):
        groups, drawn = bank.hierarchy(features, count)
        assert sorted(np.concatenate(groups).tolist()) == list(range(len(features)))
        assert len(groups) == len(drawn["leaves"]) == count
        expected = AgglomerativeClustering(n_clusters=count, linkage="ward").fit_predict(features)
        assert sorted(sorted(g.tolist()) for g in groups) == sorted(
            np.flatnonzero(expected == k).tolist() for k in range(count)
        )


def test_representatives_are_nearest_to_the_mean_and_of_different_images():
    features, _ = blobs()
    images = np.arange(len(features)) // 3
    group = np.arange(10, 40)
    mean = features[group].mean(0)
    found = bank.central(features, images, group, 4)
    best = {image: max(group[images[group] == image], key=lambda r: features[r] @ mean) for image in images[group]}
    assert found.tolist() == sorted(best.values(), key=lambda r: -(features[r] @ mean))[:4]


def test_the_projection_keeps_blobs_apart_and_is_repeatable():
    features, labels = blobs()
    points = bank.project(features)
    assert np.array_equal(points, bank.project(features))
    distances = ((points[:, None] - points[None]) ** 2).sum(2) + np.diag(np.full(len(points), np.inf))
    assert (labels[distances.argmin(1)] == labels).all()
    assert np.isfinite(bank.project(np.ones((bank.LEAST, 3), np.float32))).all()


def test_too_little_evidence_has_no_layout():
    few = Evidence(torch.eye(3), torch.arange(3), torch.arange(3), torch.arange(3))
    assert bank.lay_out(few, 4, 2) is None


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(1, 60), st.data())
def test_a_tile_lies_in_the_image_and_shows_its_segment(height, width, data):
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask = np.zeros((height, width), bool)
    mask[top : data.draw(st.integers(top + 1, height)), left : data.draw(st.integers(left + 1, width))] = True
    positions = np.arange(height * width).reshape(height, width)
    tile = cut(np.stack([positions] * 3, axis=2), mask)
    assert tile.mask.sum() == mask.sum()
    assert (mask.flat[tile.pixels[..., 0]] == tile.mask).all()
    h, w = tile.mask.shape
    assert abs(w - ASPECT * h) <= 1.5 or h == height or w == width


def test_captions_fit_their_tiles():
    piece = figures.Piece(1, None, 0.5, True)
    wide, narrow = piece.caption(CLASSES, 4.0), piece.caption(CLASSES, 0.7)
    assert wide == "✓ a class of a very long name 0.50"
    name, cosine = narrow.split("\n")
    assert cosine == "0.50"
    assert name.endswith("…")
    assert len(name) * figures.CHARACTER <= 0.7


def test_every_colour_that_can_be_seen_in_a_bar_of_few_classes_has_a_name():
    shares = np.zeros((2, 19))
    shares[0, :5] = 0.5, 0.3, 0.1, 0.08, 0.02
    shares[1, 7:10] = 0.9, 0.04, 0.06
    assert figures.legend_classes(shares, {4}) == [0, 1, 2, 3, 4, 7, 8, 9]
    assert figures.legend_classes(shares, ()) == [0, 1, 2, 3, 7, 8, 9]


def test_of_too_many_classes_those_largest_in_a_bar_have_a_name():
    shares = np.full((2, 150), 0.0)
    shares[0, :20], shares[1, 20:40] = 0.04, 0.04
    shares[0, [3, 5]] = 0.2
    assert figures.legend_classes(shares, {149}) == [3, 5, 20, 21, 149]


# From here on: the command, on a run of two steps.


@pytest.fixture(scope="module")
def finished(finish):
    """A results folder with a finished run of segsort and one of the majority."""
    short = ("--encoder", "resnet18", "--set", "recipe.steps=2", "--protocol", "closed-set")
    return finish("run", "--method", "segsort", "--method", "majority", "--dataset", "toyscapes_mini", *short)


@pytest.fixture
def explained(bench, finished, tmp_path, monkeypatch):
    """Run ``bench explain`` quickly; what it left, with its JSON."""
    monkeypatch.setattr(bank, "SAMPLE", 60)
    monkeypatch.setattr(report, "RESOLUTION", 60)

    def call(image, *options):
        command = ["explain", "toyscapes_mini-dense-segsort", image, "--out", str(tmp_path / "out")]
        outcome = bench(*command, "--segments", "2", "--neighbours", "2", "--groups", "3", *options, results=finished)
        assert outcome.exit_code == 0, outcome.output
        files = {Path(line).name: Path(line) for line in outcome.stdout.splitlines()}
        return outcome, files, json.loads(files["explanation.json"].read_text())

    return call


def test_the_record_says_how_pure_and_how_large_the_bank_is(bench, finished):
    facts = Store(finished).find("toyscapes_mini-dense-segsort").method_facts
    assert 0 < facts["bank_purity"] <= 1
    assert facts["bank_prototypes"] >= facts["bank_centres"] > 0
    assert facts.keys() >= {"classes_without_prototype"}
    shown = bench("show", "toyscapes_mini-dense-segsort", "--results", str(finished))
    assert f"bank_purity = {facts['bank_purity']}" in shown.stdout


FILES = ["index.html", "segments.png", "retrieval.png", "projection.png", "groups.png", "explanation.json"]


def test_explaining_an_image_of_the_data_set(explained, data_root):
    _, files, facts = explained("test/0001", "--segments", "3", "--groups", "4")
    assert list(files) == FILES
    assert all(path.is_file() for path in files.values())
    for name in FILES[1:5]:
        assert name in files["index.html"].read_text()
        with Image.open(files[name]) as picture:
            assert picture.width == round(figures.WIDTH * 60)
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 50
    assert facts["labelled"]
    assert facts["image"] == "test/0001"
    assert sum(s["share_of_image"] for s in facts["segments"]) == pytest.approx(1, abs=1e-3)
    assert sorted(s["number"] for s in facts["segments"] if s["number"]) == [1, 2, 3]
    for segment in facts["segments"]:
        found = segment["retrieved"]
        assert len({len(column) for column in found.values() if column is not None}) == 1
        assert found["cosines"] == sorted(found["cosines"], reverse=True)
        assert found["classes"].count(segment["predicted"]) == max(map(found["classes"].count, found["classes"]))
        if segment["truth"] is not None:
            assert found["right"] == [c == segment["truth"] for c in found["classes"]]
        assert found["images"] == [f"train/{i:04d}" for i in found["image_indices"]]
    groups = facts["bank"]["groups"]
    assert len(groups) == 4
    assert sum(g["size"] for g in groups) == facts["bank"]["sampled"] <= 60
    assert all(sum(g["classes"].values()) == g["size"] for g in groups)


def test_a_training_image_finds_its_own_segments(explained):
    _, files, facts = explained("train/0002")
    own = [s for s in facts["segments"] if s["truth_share"] == 1]
    hits = ["train/0002" in s["retrieved"]["images"][:1] for s in own]
    assert np.mean(hits) > 0.9
    assert "training image, so segments find themselves" in files["index.html"].read_text()


def test_a_file_has_no_right_and_wrong(explained, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "street.png")
    _, files, facts = explained(str(tmp_path / "street.png"))
    assert not facts["labelled"]
    assert facts["precision"] is None
    assert {s["truth"] for s in facts["segments"]} == {None}
    assert "nothing is marked right or wrong" in files["index.html"].read_text()


def test_a_path_into_the_data_set_has_its_labels(data_root):
    source = registry.datasets.get("toyscapes_mini")
    by_id = find(source, data_root, "test/0003")
    assert f"such as {by_id.sample.id}, " in " ".join((explain.help or "").split()), "the help's example is one"
    by_path = find(source, data_root, str(next(data_root.glob("toyscapes_mini/*/test/images/0003.png"))))
    assert by_id.labelled
    assert by_path.labelled
    assert by_path.sample.id == "test/0003"
    assert torch.equal(by_id.sample.label, by_path.sample.label)


def test_labels_of_an_anomaly_split_are_no_classes(data_root):
    found = find(registry.datasets.get("toyscapes_mini"), data_root, "anomaly/0003")
    assert not found.labelled
    assert (found.sample.label == 255).all()


def test_without_its_training_data_classes_are_shown(explained, monkeypatch):
    def opener(*_):
        def open_(*_):
            raise MissingData("toyscapes_mini: nothing is there")

        return open_

    monkeypatch.setattr(report.planning, "opener", opener)
    outcome, files, facts = explained("test/0001")
    assert list(files) == FILES
    assert "without their pictures: toyscapes_mini: nothing is there" in outcome.stderr
    assert facts["segments"][0]["retrieved"]["images"] is None
    assert "only classes are shown" in files["index.html"].read_text()


def test_other_data_than_the_run_was_trained_on_is_not_shown(finished, data_root, capsys):
    record = Store(finished).find("toyscapes_mini-dense-segsort")
    open_ = planning.opener(data_root, False)
    assert len(TrainingImages.of(record, open_, None).ids) == record.data.images
    record.data.fingerprint = "another"
    training = TrainingImages.of(record, open_, None)
    assert training.ids is None
    assert training.tiles([(0, 0)]) == {}
    assert "not the data that the run was trained on" in capsys.readouterr().err


def test_pictures_go_into_the_runs_folder_by_default(bench, results, monkeypatch):
    monkeypatch.setattr(bank, "SAMPLE", 20)
    outcome = bench("explain", "toyscapes_mini-dense-segsort", "test/0001", "--segments", "1", "--groups", "2")
    assert outcome.exit_code == 0, outcome.output
    assert len(list((results / "runs").glob("*segsort*/explanations/test-0001/index.html"))) == 1


MISTAKES = {
    "unknown run": (("nothing", "test/0001"), ["nothing", "toyscapes_mini-dense-segsort"]),
    "not by retrieval": (("toyscapes_mini-dense-majority", "test/0001"), ["majority", "segsort"]),
    "unknown id": (("toyscapes_mini-dense-segsort", "test/001"), ["test/001", "did you mean", "test/0001"]),
    "like no id": (("toyscapes_mini-dense-segsort", "?"), ["'?'", "ids are like test/0000"]),
    "unreadable file": (("toyscapes_mini-dense-segsort", "README.md"), ["README.md", "cannot be decoded"]),
    "a folder": (("toyscapes_mini-dense-segsort", "bench"), ["bench", "cannot be decoded"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_sentence_with_exit_code_2(bench, finished, tmp_path, name):
    arguments, words = MISTAKES[name]
    outcome = bench("explain", *arguments, "--out", str(tmp_path / "out"), results=finished)
    assert outcome.exit_code == 2, outcome.output
    (message,) = outcome.stderr.strip().splitlines()
    assert message.startswith("error: ")
    assert all(word in message for word in words), message
    assert not (tmp_path / "out").exists()


def test_scikit_learn_is_asked_for_by_name_where_it_is_missing(bench, finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    command = ["explain", "toyscapes_mini-dense-segsort", "test/0001", "--out", str(tmp_path / "out")]
    outcome = bench(*command, results=finished)
    assert outcome.exit_code == 2
    assert outcome.stderr.splitlines()[-1].endswith("pip install 'genseg-bench[explain]'")
    assert not (tmp_path / "out").exists()
