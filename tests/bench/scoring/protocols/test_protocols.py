"""The protocols on hand-made data, against definitions written out."""

from __future__ import annotations

import copy
import errno
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from bench.common.errors import RunFailed
from bench.config.tables import InferenceConfig
from bench.model.predictor import Predictor
from bench.runs.rescore import in_order, summarise, target_names
from bench.schema.record import ProtocolResult
from bench.scoring.metrics.boundary import (
    F1_TOLERANCE,
    boundary_f1,
    boundary_f1_counts,
    boundary_iou,
    boundary_iou_counts,
)
from bench.scoring.metrics.components import component_f1, image_components
from bench.scoring.metrics.decomposition import DecompositionMeter
from bench.scoring.protocols import Anomaly, Boundary, Calibration, ClosedSet, CrossDomain, Evaluation
from bench.scoring.protocols.base import Image, ReadingCounts
from bench.scoring.protocols.cross_domain import Mapping
from bench.scoring.score import score
from datasets.base import IGNORE, ClassMap, ClassSet, ComponentSizes, Item, Sample, Target
from methods.base import Losses, Method, Prediction, upsample
from methods.capabilities import Diagnoses, Diagnosis, Relabels

SOURCE = ClassSet("source", ("road", "car", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
OTHER = ClassSet("other", ("ground", "vehicle", "boat"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))

OF_THE_SOURCE = (ClosedSet, Calibration, Boundary)
"""Protocols that score the splits of the data set of training."""


class Oracle(Method):
    """Logits are read from the image's channels, so that what is predicted is known exactly."""

    name = "oracle"

    def losses(self, batch):
        return Losses({})

    def predict(self, images):
        logits = (images * 255 - 128) / 16
        return Prediction(logits, log_density=-(images * 255), anomaly={"red": images[:, 0]})


class TwoReadings(Oracle):
    """Beside its own prediction, one with the class scores reversed."""

    def predict(self, images):
        prediction = super().predict(images)
        prediction.readings["reversed"] = prediction.logits.flip(1)
        return prediction


class InMemory:
    """The part of a data set that protocols use."""

    train_split, task, components = "train", "segmentation", None

    def __init__(self, name, split, classes, samples, folder):
        self.name, self.split, self.classes, self.samples = name, split, classes, samples
        self.items = []
        for sample in samples:
            path = folder / f"{name}-{split}-{sample.id}.bin"
            path.write_bytes(sample.label.numpy().tobytes())
            self.items.append(Item(sample.id, path, path))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def samples(seed, count=3, classes=3, size=(13, 17), prefix="i"):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(count):
        image = torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8)
        label = torch.randint(0, classes + 1, size, generator=generator)
        label[label == classes] = IGNORE
        made.append(Sample(image, label, f"{prefix}{i}"))
    return made


@pytest.fixture
def evaluation(tmp_path):
    def make(data: dict, source, method=Oracle):
        network = nn.Module()
        network.stride = 1
        predictor = Predictor(method(None, network, SOURCE), InferenceConfig(), torch.device("cpu"))
        opened = {key: InMemory(*key, classes, content, tmp_path) for key, (classes, content) in data.items()}
        return Evaluation(
            predictor=predictor, source=source, open=lambda n, s: opened[n, s], scratch=tmp_path, density_score="nll"
        )

    return make


def run(protocol, e, targets):
    """The result of one protocol alone; ``e.statistics`` gets its arrays."""
    result, e.statistics = ProtocolResult(version=protocol.version), {}
    for outcome in (outcome for outcomes in score(e, {protocol: targets}) for outcome in outcomes):
        assert outcome.scores is not None, outcome.reason
        result.targets[outcome.target] = outcome.scores
        e.statistics |= outcome.statistics
    result.targets = in_order(result.targets, target_names(protocol, e.source))
    summarise(protocol, result, e.results)
    return result


def source(**fields):
    defaults = {"name": "src", "classes": SOURCE, "eval_splits": ("test",), "cross_domain": (), "anomaly": ()}
    return SimpleNamespace(**{**defaults, **fields})


def count(predicted, label, classes, columns):
    matrix = np.zeros((classes, columns), int)
    for p, t in zip(predicted.flatten().tolist(), label.flatten().tolist(), strict=True):
        if t < classes:
            matrix[t, p] += 1
    return matrix


def miou(matrix):
    values = []
    for c in range(matrix.shape[0]):
        union = matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]
        if union:
            values.append(matrix[c, c] / union)
    return np.mean(values)


def test_closed_set_counts_every_valid_pixel_once(evaluation):
    content = samples(0)
    e = evaluation({("src", "test"): (SOURCE, content)}, source())
    result = run(ClosedSet, e, [("src", "test")])
    matrix = sum(count(s.image.float().argmax(0), s.label, 3, 3) for s in content)
    scores = result.targets["test"]
    assert scores.metrics["miou"] == pytest.approx(miou(matrix), abs=1e-12)
    assert scores.metrics["pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum(), abs=1e-12)
    assert result.summary["miou"] == scores.metrics["miou"]
    assert np.array_equal(e.statistics["closed-set/test/confusion"].sum(0), matrix)
    assert e.statistics["closed-set/test/ids"].tolist() == ["i0", "i1", "i2"]


class Explained(Diagnoses, Oracle):
    """Its other reading is right but in class 2; every second pixel of class 0 counts as a hit."""

    def diagnose(self, images, labels):
        assert images.shape[2:] == labels.shape[1:]
        return Diagnosis({"other": labels.clamp(max=1)}, {"even": (int((labels == 0).sum()) // 2, labels.numel())})


def test_closed_set_adds_up_what_a_method_says_of_its_errors(evaluation):
    content = samples(0)
    e = evaluation({("src", "test"): (SOURCE, content)}, source(), Explained)
    scores = run(ClosedSet, e, [("src", "test")]).targets["test"]
    found = scores.decomposition
    matrix = sum(count(s.label.clamp(max=1), s.label, 3, 3) for s in content)
    right = np.trace(matrix) / matrix.sum()
    own = scores.metrics
    assert found["miou"] == {"other": pytest.approx(miou(matrix)), "prediction": own["miou"]}
    assert found["pixel_accuracy"] == {"other": pytest.approx(right), "prediction": own["pixel_accuracy"]}
    edges = sum(boundary_f1_counts(s.label.clamp(max=1), s.label, 3, F1_TOLERANCE) for s in content)
    assert found["boundary_f1"] == {"other": pytest.approx(np.nanmean(boundary_f1(edges)))}
    hits = sum(int((s.label == 0).sum()) // 2 for s in content)
    assert found["share"] == {"even": pytest.approx(hits / sum(s.label.numel() for s in content))}


class Undeclared(Oracle):
    def diagnose(self, images, labels):
        pytest.fail("asked")


def test_a_method_that_does_not_declare_the_ability_is_not_asked(evaluation):
    e = evaluation({("src", "test"): (SOURCE, samples(0))}, source(), Undeclared)
    assert run(ClosedSet, e, [("src", "test")]).targets["test"].decomposition == {}


def test_the_parts_of_two_shards_add_up_to_the_whole(evaluation):
    content = samples(0, count=4)
    whole, parts = DecompositionMeter(3), [DecompositionMeter(3), DecompositionMeter(3)]
    predictor = evaluation({}, source(), Explained).predictor
    for i, sample in enumerate(content):
        diagnosis = predictor.diagnose(sample.image, sample.label)
        whole.update(sample.id, diagnosis, sample.label)
        parts[i % 2].update(sample.id, diagnosis, sample.label)
    merged = DecompositionMeter(3)  # a rank without any image
    for part in parts:
        merged.merge(part)
    assert merged.summary() == whole.summary()
    assert whole.select(["i0", "i2"]).summary() == parts[0].summary()


@pytest.mark.parametrize("protocol", OF_THE_SOURCE)
def test_split_within_a_split_is_not_predicted_twice(evaluation, monkeypatch, protocol):
    content = samples(0, count=4)
    e = evaluation({("src", "test"): (SOURCE, content)}, source(eval_splits=("test", "part")))
    whole = e.open("src", "test")
    part = InMemory("src", "part", SOURCE, [content[2], content[0]], e.scratch)
    part.items = [whole.items[2], whole.items[0]]
    calls = []
    predict = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, image: calls.append(1) or predict(self, image))
    e.open = lambda n, s: whole if s == "test" else part
    result = run(protocol, e, [("src", "test"), ("src", "part")])
    assert len(calls) == 4
    alone = evaluation({("src", "test"): (SOURCE, [content[2], content[0]])}, source())
    expected = run(protocol, alone, [("src", "test")]).targets["test"]
    assert result.targets["part"].metrics == pytest.approx(expected.metrics, abs=1e-12)
    assert result.summary[protocol.headline()] == result.targets["test"].metrics[protocol.headline()]
    of_the_part = {k.removeprefix(f"{protocol.name}/part/"): v for k, v in e.statistics.items() if "/part/" in k}
    of_it_alone = {k.removeprefix(f"{protocol.name}/test/"): v for k, v in alone.statistics.items()}
    assert of_the_part["ids"].tolist() == ["i2", "i0"]
    assert of_the_part.keys() == of_it_alone.keys()
    assert all(np.array_equal(of_the_part[kind], of_it_alone[kind]) for kind in of_the_part)


def test_calibration_is_that_of_the_softmax_of_all_valid_pixels(evaluation):
    content = samples(3)
    e = evaluation({("src", "test"): (SOURCE, content)}, source(), TwoReadings)
    result = run(Calibration, e, [("src", "test")])
    scores = result.targets["test"]
    for found, flip in ((scores.metrics, False), (scores.by_reading["reversed"], True)):
        logits = torch.cat([(s.image.double() - 128).div(16).flatten(1).T for s in content])
        labels = torch.cat([s.label.flatten() for s in content])
        p, y = (logits.flip(1) if flip else logits).softmax(1)[labels < 3], labels[labels < 3]
        reference = multiclass_calibration_error(p, y, 3, n_bins=15, norm="l1")
        assert found["ece"] == pytest.approx(float(reference), abs=1e-5)
        assert found["nll"] == pytest.approx(float(F.nll_loss(p.log(), y)), rel=1e-5)
        assert found["brier"] == pytest.approx(float((p - F.one_hot(y, 3)).square().sum(1).mean()), rel=1e-5)
    assert result.summary == {"ece": scores.metrics["ece"]}


def test_boundaries_are_those_of_the_counts_of_all_images(evaluation):
    content = samples(4)
    e = evaluation({("src", "test"): (SOURCE, content)}, source(), TwoReadings)
    scores = run(Boundary, e, [("src", "test")]).targets["test"]
    for found, channels in ((scores.metrics, (0, 1, 2)), (scores.by_reading["reversed"], (2, 1, 0))):
        predicted = [s.image[list(channels)].int().argmax(0) for s in content]
        near = sum(boundary_iou_counts(p, s.label, 3) for p, s in zip(predicted, content, strict=True))
        edges = sum(boundary_f1_counts(p, s.label, 3) for p, s in zip(predicted, content, strict=True))
        assert found["boundary_iou"] == pytest.approx(np.nanmean(boundary_iou(near)))
        assert found["boundary_f1"] == pytest.approx(np.nanmean(boundary_f1(edges)))
    assert list(scores.per_class["boundary_iou"]) == list(SOURCE.names)


def test_probabilities_that_are_not_numbers_fail_the_run_and_name_the_image(evaluation):
    class Infinite(Oracle):
        def predict(self, images):
            return Prediction(super().predict(images).logits.index_fill(1, torch.tensor([0]), torch.inf))

    e = evaluation({("src", "test"): (SOURCE, samples(1))}, source(), Infinite)
    with pytest.raises(RunFailed, match="'i0': non-finite probability"):
        run(Calibration, e, [("src", "test")])


def test_cross_domain_sums_probabilities_over_the_classes_that_map(evaluation):
    table = ClassMap("source", "other", (0, 1, 0))
    content = {("src", "test"): (SOURCE, samples(0)), ("far", "val"): (OTHER, samples(1, prefix="f"))}
    far = Target("far", "val", table)
    e = evaluation(content, source(cross_domain=(far,)))
    scores = run(CrossDomain, e, [("far", "val")]).targets["far/val"]

    def expected(content, to_other):
        matrix = np.zeros((2, 3), int)
        for s in content:
            p = F.softmax((s.image.double() - 128) / 16, 0)
            predicted = torch.stack([p[0] + p[2], p[1]]).argmax(0)
            label = torch.tensor([0, 1, 0, *[255] * 253])[s.label] if to_other else s.label
            matrix += count(predicted, label, 2, 3)
        return miou(matrix)

    assert scores.metrics["miou"] == pytest.approx(expected(content["far", "val"][1], False), abs=1e-9)
    assert scores.metrics["source_miou"] == pytest.approx(expected(content["src", "test"][1], True), abs=1e-9)
    assert scores.metrics["drop"] == pytest.approx(scores.metrics["source_miou"] - scores.metrics["miou"], abs=1e-12)
    assert set(scores.per_class["iou"]) == {"ground", "vehicle"}
    assert scores.metrics["unmapped_mass"] == pytest.approx(0, abs=1e-6)


def test_unmapped_mass_never_becomes_class_zero():
    mapping = Mapping(ClassMap("source", "other", (IGNORE, 1, IGNORE)), SOURCE, OTHER)
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0], [0.0, 0.0]]).view(3, 1, 2)
    predicted, unmapped = mapping.predict(logits)
    assert predicted.tolist() == [[3, 1]]  # no class, then the only mapped one
    assert unmapped[0, 0] == pytest.approx(1)
    assert unmapped[0, 1] == pytest.approx(2 / 3)
    assert mapping.kept == [1]
    assert mapping.labels(torch.tensor([[0, 1, 2, IGNORE, 254]])).tolist() == [[IGNORE, 1, IGNORE, IGNORE, IGNORE]]


def test_no_class_is_a_wrong_prediction():
    mapping = Mapping(ClassMap("source", "other", (IGNORE, 1, IGNORE)), SOURCE, OTHER)
    matrix = np.zeros((3, 4), int)
    matrix[1, 1], matrix[1, 3] = 6, 2
    assert miou(np.array(matrix[mapping.scored])) == pytest.approx(6 / 8)


def test_map_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="does not fit"):
        Mapping(ClassMap("source", "other", (0, 1)), SOURCE, OTHER)
    with pytest.raises(ValueError, match="class map is needed"):
        Mapping(None, SOURCE, OTHER)


def test_identity_target_takes_the_source_from_the_closed_set(evaluation):
    content = {("src", "test"): (SOURCE, samples(0)), ("src", "night"): (SOURCE, samples(2, prefix="n"))}
    e = evaluation(content, source(cross_domain=(Target("src", "night"),)))
    e.results = {"closed-set": run(ClosedSet, e, [("src", "test")])}
    result = run(CrossDomain, e, [("src", "night")])
    assert result.targets["src/night"].metrics["source_miou"] == e.results["closed-set"].summary["miou"]
    assert result.summary["harmonic_mean"] == pytest.approx(result.targets["src/night"].metrics["miou"])


def test_every_reading_is_scored_beside_the_methods_own_prediction(evaluation):
    content = samples(11)
    data = {("src", "test"): (SOURCE, content), ("oth", "val"): (OTHER, samples(12))}
    table = ClassMap("source", "other", (0, 1, IGNORE))
    e = evaluation(data, source(cross_domain=(Target("oth", "val", table),)), TwoReadings)
    closed = run(ClosedSet, e, [("src", "test")])
    expected = sum(count(s.image.flip(0).int().argmax(0), s.label, 3, 3) for s in content)
    assert closed.targets["test"].by_reading["reversed"]["miou"] == pytest.approx(miou(expected))
    assert np.array_equal(e.statistics["closed-set/test/reversed/confusion"].sum(0), expected)
    plain = run(ClosedSet, evaluation(data, source()), [("src", "test")])
    assert closed.targets["test"].metrics == plain.targets["test"].metrics

    crossed = run(CrossDomain, e, [("oth", "val")])
    reading = crossed.targets["oth/val"].by_reading["reversed"]
    mirrored = Target("oth", "val", ClassMap("source", "other", (IGNORE, 1, 0)))
    posterior = run(CrossDomain, evaluation(data, source(cross_domain=(mirrored,))), [("oth", "val")])
    unmapped = posterior.targets["oth/val"].metrics["unmapped_mass"]
    # Channel 2 of the reversed scores is road's, which the mirrored map leaves out.
    assert reading["unmapped_mass"] == pytest.approx(unmapped)
    assert crossed.summary_by_reading["reversed"]["harmonic_mean"] == pytest.approx(reading["miou"])


class Relabelled(Relabels, Oracle):
    """Can answer in the target's classes: it then predicts the one that the table gives the brightest channel."""

    relabelling = "bank swap"

    def __init__(self, *args):
        super().__init__(*args)
        self.table, self.size = [0, 1, 2], 3

    def relabel(self, table, num_classes):
        self.table, self.size = list(table), num_classes

    def predict(self, images):
        scores = images.new_full((len(images), self.size, *images.shape[2:]), -1.0)
        for c, t in enumerate(self.table):
            if 0 <= t < self.size:
                scores[:, t] = torch.maximum(scores[:, t], images[:, c])
        return Prediction(scores)


def test_a_method_that_can_be_relabelled_is_also_scored_in_the_targets_classes(evaluation):
    table = ClassMap("source", "other", (1, 1, IGNORE))
    data = {("src", "test"): (SOURCE, samples(21)), ("oth", "val"): (OTHER, samples(22))}
    e = evaluation(data, source(cross_domain=(Target("oth", "val", table),)), Relabelled)
    result = run(CrossDomain, e, [("oth", "val")])
    swap = result.targets["oth/val"].by_reading["bank swap"]
    matrix = sum(count(torch.ones_like(s.label), s.label, 3, 4) for s in samples(22))[[1]][:, [1, 3]]
    assert swap["miou"] == pytest.approx(matrix[0, 0] / matrix.sum())
    assert "unmapped_mass" not in swap
    assert swap["drop"] == pytest.approx(swap["source_miou"] - swap["miou"])
    assert result.summary_by_reading["bank swap"]["harmonic_mean"] == pytest.approx(swap["miou"])
    assert e.predictor.method.table == [0, 1, 2], "the method answers in its own classes again"


def test_relabelling_is_undone_although_the_evaluation_fails(evaluation):
    class Breaks(Relabelled):
        def predict(self, images):
            if self.table != [0, 1, 2]:
                raise RuntimeError("broken")
            return super().predict(images)

    data = {("src", "test"): (SOURCE, samples(21)), ("oth", "val"): (OTHER, samples(22))}
    e = evaluation(
        data, source(cross_domain=(Target("oth", "val", ClassMap("source", "other", (1, 1, IGNORE))),)), Breaks
    )
    with pytest.raises(RuntimeError, match="broken"):
        run(CrossDomain, e, [("oth", "val")])
    assert e.predictor.method.table == [0, 1, 2]


def test_identity_target_has_no_bank_swap(evaluation):
    data = {("src", "test"): (SOURCE, samples(21)), ("src", "night"): (SOURCE, samples(22))}
    e = evaluation(data, source(cross_domain=(Target("src", "night", None),)), Relabelled)
    assert run(CrossDomain, e, [("src", "night")]).targets["src/night"].by_reading == {}


def test_readings_of_ranks_merge_though_one_saw_no_image():
    with_image, without = (ReadingCounts(lambda image: {"b": {"right": np.array([image.label.sum()])}}) for _ in "ab")
    with_image.update(Image(samples(0)[0], None))
    without.merge(with_image)
    assert without.readings["b"].stacked(["i0"])["right"].tolist() == [[int(samples(0)[0].label.sum())]]


def anomaly_samples(seed, count=3):
    return [s._replace(label=torch.where(s.label == 2, IGNORE, s.label)) for s in samples(seed, count, 3)]


def test_anomaly_equals_scikit_learn_on_pooled_pixels(evaluation):
    content = anomaly_samples(5)
    e = evaluation({("odd", "val"): (SOURCE, content)}, source(anomaly=(Target("odd", "val"),)))
    scores = run(Anomaly, e, [("odd", "val")]).targets["odd/val"]
    labels = np.concatenate([s.label[s.label != IGNORE].numpy() for s in content])
    maps = {"nll": [s.image.float().amin(0) for s in content], "red": [s.image[0].float() for s in content]}
    maps["max_logit"] = [-s.image.float().amax(0) for s in content]
    for name, images in maps.items():
        values = np.concatenate([m[s.label != IGNORE].numpy() for m, s in zip(images, content, strict=True)])
        false, true, _ = roc_curve(labels, values, drop_intermediate=False)
        found = scores.by_score[name]
        assert found["auroc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
        assert found["ap"] == pytest.approx(average_precision_score(labels, values), abs=1e-12)
        assert found["fpr95"] == pytest.approx(false[np.argmax(true >= 0.95)], abs=1e-12)
    assert scores.metrics["prevalence"] == pytest.approx(labels.mean())
    assert {"msp", "max_logit", "entropy", "energy", "nll", "red"} == set(scores.by_score)
    histogram = e.statistics["anomaly/odd/val/nll/histogram"]
    assert histogram[:, 1].sum() == labels.sum()
    assert histogram.sum() == len(labels)
    assert [p.name for p in e.scratch.glob("predictions-*")] == []


class Coarse(Oracle):
    """Predicts on cells of four pixels."""

    def predict(self, images):
        found = super().predict(images)
        logits, density, red = (
            F.avg_pool2d(m, 4, ceil_mode=True) for m in (found.logits, found.log_density, images[:, :1])
        )
        return Prediction(logits, log_density=density, anomaly={"red": red[:, 0]})


class Enlarged(Coarse):
    """The same, enlarged by itself."""

    def predict(self, images):
        found, size = super().predict(images), tuple(images.shape[-2:])
        logits, density, red = (
            upsample(m, size) for m in (found.logits, found.log_density, found.anomaly["red"][:, None])
        )
        return Prediction(logits, log_density=density, anomaly={"red": red[:, 0]})


def test_components_are_matched_above_the_threshold_of_the_best_f1(evaluation, monkeypatch):
    content = anomaly_samples(5)
    data = {("odd", "val"): (SOURCE, content)}
    ends = source(anomaly=(Target("odd", "val"),))
    plain = run(Anomaly, evaluation(data, ends), [("odd", "val")]).targets["odd/val"].by_score["red"]
    assert "f1_star_oracle" not in plain
    monkeypatch.setattr(InMemory, "components", ComponentSizes(predicted=3, labelled=2))
    found = run(Anomaly, evaluation(data, ends), [("odd", "val")]).targets["odd/val"].by_score["red"]
    assert {name: found[name] for name in plain} == plain

    reds = [s.image[0].float().numpy() / 255 for s in content]
    scores = np.concatenate([r[s.label != IGNORE] for r, s in zip(reds, content, strict=True)])
    labels = np.concatenate([s.label[s.label != IGNORE].numpy() for s in content])

    def f1(threshold):
        hits = labels[scores >= threshold].sum()
        return 2 * hits / ((scores >= threshold).sum() + labels.sum())

    best = max(np.unique(scores[labels == 1]), key=lambda t: (f1(t), t))
    assert f1(best) == pytest.approx(found["best_f1_oracle"])
    images = [image_components(r, s.label, np.nextafter(best, -1), 3, 2) for r, s in zip(reds, content, strict=True)]
    assert found["siou_oracle"] == pytest.approx(np.concatenate([i.siou_gt for i in images]).mean())
    assert found["ppv_oracle"] == pytest.approx(np.concatenate([i.ppv for i in images]).mean())
    assert found["f1_star_oracle"] == pytest.approx(component_f1(sum(i.counts for i in images)).mean())
    assert 0 < found["f1_star_oracle"] < 1


def test_the_side_file_keeps_components_of_each_image_where_they_are_scored(evaluation, monkeypatch):
    data = {("odd", "val"): (SOURCE, anomaly_samples(5))}
    plain = evaluation(data, source(anomaly=(Target("odd", "val"),)))
    run(Anomaly, plain, [("odd", "val")])
    assert Anomaly.kept(plain.statistics, "odd/val", "red").keys() == {"histogram"}
    monkeypatch.setattr(InMemory, "components", ComponentSizes(predicted=3, labelled=2))
    scored = evaluation(data, source(anomaly=(Target("odd", "val"),)))
    recorded = run(Anomaly, scored, [("odd", "val")]).targets["odd/val"].by_score["red"]
    kept = Anomaly.kept(scored.statistics, "odd/val", "red")
    assert {kind: array.shape for kind, array in kept.items() if kind != "histogram"} == {
        "components": (3, 3, 11),
        "overlaps": (3, 3),
    }
    found = Anomaly.metrics(Anomaly.condensed({kind: array.sum(0) for kind, array in kept.items()}))
    for name in ("f1_star_oracle", "siou_oracle", "ppv_oracle"):
        assert found[name] == pytest.approx(recorded[name], rel=1e-12), name


def test_whichever_is_smaller_waits_on_disk_for_the_second_pass(evaluation, monkeypatch):
    content = anomaly_samples(5)
    found, kept, save = {}, {}, torch.save
    for method in (Coarse, Enlarged):
        monkeypatch.setattr(
            torch, "save", lambda state, path, m=method: kept.update({m: set(state)}) or save(state, path)
        )
        e = evaluation({("odd", "val"): (SOURCE, content)}, source(anomaly=(Target("odd", "val"),)), method)
        found[method] = run(Anomaly, e, [("odd", "val")]).targets["odd/val"]
    assert kept == {Coarse: {"logits", "log_density", "anomaly", "size"}, Enlarged: {"scores"}}
    assert found[Coarse].by_score.keys() == found[Enlarged].by_score.keys()
    for name, numbers in found[Coarse].by_score.items():
        assert found[Enlarged].by_score[name] == pytest.approx(numbers, abs=1e-6)


class Constant(Oracle):
    """The same class scores everywhere, as of a method that looks at no image; enlarging them rounds nothing."""

    def predict(self, images):
        grid = (len(images), -1, images.shape[-2] // 4, images.shape[-1] // 4)
        return Prediction((torch.arange(15)[None, :, None, None] / 8).expand(grid))


def test_pixels_of_equal_class_scores_are_tied_in_both_passes(evaluation):
    content = [s._replace(label=s.label % 2) for s in samples(5, size=(64, 64))]
    e = evaluation({("odd", "val"): (SOURCE, content)}, source(anomaly=(Target("odd", "val"),)), Constant)
    found = run(Anomaly, e, [("odd", "val")]).targets["odd/val"]
    for numbers in found.by_score.values():
        assert numbers["auroc"] == 0.5
        assert numbers["ap"] == pytest.approx(found.metrics["prevalence"], abs=1e-12)


def test_a_full_disk_between_the_passes_is_told_as_one(evaluation, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    e = evaluation({("odd", "val"): (SOURCE, anomaly_samples(5))}, source(anomaly=(Target("odd", "val"),)))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        run(Anomaly, e, [("odd", "val")])
    assert [p.name for p in e.scratch.glob("predictions-*")] == []


def test_non_finite_score_names_the_image(evaluation):
    class Broken(Oracle):
        def predict(self, images):
            prediction = super().predict(images)
            prediction.anomaly["red"] = prediction.anomaly["red"] / 0.0
            return prediction

    e = evaluation({("odd", "val"): (SOURCE, anomaly_samples(5))}, source(anomaly=(Target("odd", "val"),)), Broken)
    with pytest.raises(RunFailed, match="i0"):
        run(Anomaly, e, [("odd", "val")])
    assert [p.name for p in Path(e.scratch).glob("predictions-*")] == []


@pytest.mark.parametrize("protocol", [*OF_THE_SOURCE, CrossDomain, Anomaly])
def test_a_rank_without_an_image_has_the_scores_of_all(evaluation, monkeypatch, protocol):
    content = anomaly_samples(5)
    table = ClassMap("source", "other", (0, 1, IGNORE))
    ends = source(anomaly=(Target("far", "val"),), cross_domain=(Target("far", "val", table),))
    data = {("src", "test"): (SOURCE, content), ("far", "val"): (OTHER, content)}
    targets = [("src", "test")] if protocol in OF_THE_SOURCE else [("far", "val")]
    gathered = []

    def record(value):
        gathered.append(copy.deepcopy(value))
        return [value]

    monkeypatch.setattr("bench.scoring.score.gather_one", record)
    first = run(protocol, evaluation(data, ends), targets)
    of_the_first = iter(gathered)
    monkeypatch.setattr("bench.scoring.score.gather_one", lambda value: [next(of_the_first), value])
    idle = evaluation(data, ends)
    idle.rank, idle.world = len(content), len(content) + 1
    assert run(protocol, idle, targets).targets == first.targets


@pytest.mark.parametrize("protocol", [*OF_THE_SOURCE, CrossDomain])
@pytest.mark.parametrize("reading", ["", "other"])
def test_class_scores_that_are_not_numbers_fail_the_run_and_name_the_image(evaluation, protocol, reading):
    class Broken(Oracle):
        def predict(self, images):
            prediction = super().predict(images)
            broken = prediction.logits.clone()
            broken[:, :, :1] = torch.nan
            if not reading:
                return Prediction(broken)
            return Prediction(prediction.logits, readings={reading: broken})

    data = {("src", "test"): (SOURCE, samples(1)), ("oth", "val"): (OTHER, samples(2))}
    table = ClassMap("source", "other", (0, 1, IGNORE))
    e = evaluation(data, source(cross_domain=(Target("oth", "val", table),)), Broken)
    with pytest.raises(RunFailed, match=f"'i0': class scores{f' .{reading}.' if reading else ''} that are not numbers"):
        run(protocol, e, [("src", "test")] if protocol in OF_THE_SOURCE else [("oth", "val")])


def test_split_without_anomalies_is_an_error_not_a_number(evaluation):
    content = [s._replace(label=torch.zeros_like(s.label)) for s in samples(1)]
    e = evaluation({("odd", "val"): (SOURCE, content)}, source(anomaly=(Target("odd", "val"),)))
    with pytest.raises(RunFailed, match="odd/val"):
        run(Anomaly, e, [("odd", "val")])
