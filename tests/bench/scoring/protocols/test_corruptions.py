"""mIoU under corruptions, against every corrupted split scored by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.checks.method import TinyNetwork
from bench.checks.protocol import Guess
from bench.common.errors import UserError
from bench.config.tables import InferenceConfig
from bench.data.corruptions import CORRUPTIONS, GROUPS, STRENGTHS, corrupt, seed_of
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.runs import plan as planning
from bench.schema import side_file
from bench.scoring.metrics.confusion import ConfusionMeter, mean_iou
from bench.scoring.protocols.base import OWN, Evaluation
from bench.scoring.protocols.corruptions import Corruptions
from bench.scoring.score import score

SOURCE = registry.datasets.get("toyscapes_mini")


@pytest.fixture(scope="module")
def evaluation(data_root, tmp_path_factory):
    predictor = Predictor(Guess(None, TinyNetwork(), SOURCE.classes), InferenceConfig(), torch.device("cpu"))
    return Evaluation(predictor, SOURCE, planning.opener(data_root, False), tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def outcome(evaluation):
    (found,) = (o for outcomes in score(evaluation, {Corruptions: Corruptions.targets(SOURCE)}) for o in outcomes)
    assert found.scores is not None, found.reason
    return found


def test_it_is_scored_on_the_headline_split_where_it_is_asked_for():
    assert Corruptions.targets(SOURCE) == [("toyscapes_mini", "test")]
    assert Corruptions.targets(registry.datasets.get("camvid")) == [("camvid", "test")]
    assert not Corruptions.by_default


def test_its_numbers_are_those_of_every_corrupted_split_scored_by_itself(evaluation, outcome):
    dataset = evaluation.open(*Corruptions.targets(SOURCE)[0])

    def miou(corruption=None, strength=None):
        meter = ConfusionMeter(len(SOURCE.classes))
        for sample in (dataset[index] for index in range(len(dataset))):
            image = sample.image
            if corruption:
                pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
                made = corrupt(pixels, corruption, strength, seed_of(sample.id, corruption, strength))
                image = torch.from_numpy(made.copy()).permute(2, 0, 1)
            logits = evaluation.predictor(image).logits(tuple(sample.label.shape))
            meter.update(sample.id, logits.argmax(0), sample.label)
        return float(mean_iou(meter.total))

    found = outcome.scores.metrics
    chosen = ("impulse_noise", "glass_blur", "frost", "pixelate")
    for corruption in chosen:
        assert found[corruption] == pytest.approx(np.mean([miou(corruption, strength) for strength in STRENGTHS]))
    assert found["clean_miou"] == pytest.approx(miou())
    for group, names in GROUPS.items():
        assert found[group] == pytest.approx(np.mean([found[name] for name in names]))
    assert found["corrupted_miou"] == pytest.approx(np.mean([found[name] for name in CORRUPTIONS]))
    assert found["retention"] == pytest.approx(found["corrupted_miou"] / found["clean_miou"])
    assert outcome.scores.dataset.images == len(dataset)


def test_every_reading_is_scored_and_every_image_kept(evaluation, outcome):
    scores = outcome.scores
    assert [*scores.by_reading] == ["reversed"]
    assert scores.by_reading["reversed"].keys() == scores.metrics.keys()
    assert {*scores.per_class["iou"]} == {*SOURCE.classes.names}
    kept = side_file.of(outcome.statistics, ["margins"], "corruptions", "test", OWN)["margins"]
    assert kept.shape == (scores.dataset.images, 76, 3, len(SOURCE.classes))


def test_without_labels_nothing_is_defined():
    empty = Corruptions.metrics({"margins": np.zeros((2, 76, 3, 4))})
    assert all(np.shape(value) == (2,) and np.isnan(value).all() for value in empty.values())


def test_a_missing_package_is_said_before_anything_is_trained(data_root, monkeypatch):
    def missing():
        raise UserError("pip install it")

    monkeypatch.setattr("bench.scoring.protocols.corruptions.require_installed", missing)
    with pytest.raises(UserError, match="pip install it"):
        planning.plan(SOURCE, ["corruptions"], planning.opener(data_root, False))
    assert "corruptions" not in planning.plan(SOURCE, None, planning.opener(data_root, False)).targets
