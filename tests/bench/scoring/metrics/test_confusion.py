"""Confusion matrices against a triple loop, torchmetrics, and their own sums."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

from bench.scoring.metrics.confusion import (
    ConfusionMeter,
    class_accuracy,
    class_iou,
    confusion_matrix,
    harmonic_mean,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from bench.scoring.metrics.images import DuplicateImage


def triple_loop(predictions, labels, classes, columns):
    counts = np.zeros((classes, columns), np.int64)
    for row_p, row_l in zip(predictions.tolist(), labels.tolist(), strict=True):
        for prediction, label in zip(row_p, row_l, strict=True):
            for c in range(classes):
                if label == c:
                    counts[c, prediction] += 1
    return counts


def random_maps(seed, classes, columns=None, shape=(17, 23), void=True):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes + (2 if void else 0), shape, generator=generator)
    labels[labels == classes] = 255
    labels[labels == classes + 1] = 254
    return torch.randint(0, columns or classes, shape, generator=generator), labels


@pytest.mark.parametrize("label_type", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("prediction_type", [torch.uint8, torch.int32, torch.int64])
def test_matrix_is_that_of_a_triple_loop(label_type, prediction_type):
    predictions, labels = random_maps(0, 5, 6)
    counts = confusion_matrix(predictions.to(prediction_type), labels.to(label_type), 5, 6)
    assert counts.dtype == torch.int64
    np.testing.assert_array_equal(counts.numpy(), triple_loop(predictions, labels, 5, 6))


def test_negative_and_huge_labels_are_dropped():
    labels = torch.tensor([[-1, 0, 2**32, 1]])
    counts = confusion_matrix(torch.tensor([[0, 0, 0, 0]]), labels, 2)
    assert counts.tolist() == [[1, 0], [1, 0]]


def test_scores_agree_with_torchmetrics():
    predictions, labels = random_maps(1, 7)
    counts = confusion_matrix(predictions, labels, 7)
    labels = torch.where(labels >= 7, 255, labels)
    reference = multiclass_confusion_matrix(predictions, labels, 7, ignore_index=255)
    np.testing.assert_array_equal(counts, reference)
    jaccard = multiclass_jaccard_index(predictions, labels, 7, average="none", ignore_index=255)
    np.testing.assert_allclose(class_iou(counts), jaccard.numpy(), rtol=1e-6)


def test_absent_class_is_no_part_of_the_mean():
    counts = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    np.testing.assert_allclose(class_iou(counts), [3 / 4, 4 / 5, np.nan])
    np.testing.assert_allclose(class_accuracy(counts), [3 / 4, 1, np.nan])
    assert mean_iou(counts) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert mean_accuracy(counts) == pytest.approx(7 / 8)
    assert pixel_accuracy(counts) == pytest.approx(7 / 8)


def test_class_that_is_only_predicted_counts_as_zero():
    counts = np.array([[3, 1], [0, 0]])
    np.testing.assert_allclose(class_iou(counts), [3 / 4, 0])


def test_nothing_counted_is_nan_without_a_warning(recwarn):
    counts = np.zeros((3, 3), np.int64)
    assert np.isnan([mean_iou(counts), mean_accuracy(counts), pixel_accuracy(counts)]).all()
    assert not recwarn.list


def test_no_class_is_a_miss_and_no_false_alarm():
    counts = np.array([[4, 0, 2], [1, 3, 0]])
    np.testing.assert_allclose(class_iou(counts), [4 / 7, 3 / 4])
    assert pixel_accuracy(counts) == pytest.approx(7 / 10)


def test_scores_take_many_matrices_at_once():
    counts = np.random.default_rng(0).integers(0, 9, (4, 5, 3, 3))
    assert class_iou(counts).shape == (4, 5, 3)
    assert mean_iou(counts)[2, 1] == pytest.approx(float(mean_iou(counts[2, 1])))


def test_narrow_counts_do_not_overflow():
    counts = np.full((2, 2), 2**31 - 1, np.int32)
    np.testing.assert_allclose(class_iou(counts), [1 / 3, 1 / 3])


@pytest.mark.parametrize(("values", "mean"), [([1, 1 / 3], 0.5), ([0.4, 0], 0), ([], np.nan), ([0.3, np.nan], np.nan)])
def test_harmonic_mean(values, mean):
    assert harmonic_mean(values) == pytest.approx(mean, nan_ok=True)


def test_harmonic_means_of_many_columns_are_those_of_each():
    values = np.array([[0.5, 0.4, 0.0], [0.25, 0.4, 0.3]])
    assert harmonic_mean(values).tolist() == [harmonic_mean(column) for column in values.T]


def test_harmonic_mean_of_a_negative_is_an_error():
    with pytest.raises(ValueError, match="non-negative"):
        harmonic_mean([0.5, -0.1])


@pytest.mark.parametrize("wrong", [-1, 5])
def test_prediction_out_of_range_is_an_error(wrong):
    with pytest.raises(ValueError, match="predictions span"):
        confusion_matrix(torch.tensor([[0, wrong]]), torch.tensor([[0, 255]]), 5)


def test_maps_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match="resize"):
        confusion_matrix(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 2, dtype=torch.long), 2)
    with pytest.raises(TypeError, match="integer"):
        confusion_matrix(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.long), 2)
    with pytest.raises(ValueError, match="P >= C"):
        class_iou(np.zeros((3, 2)))


def meter_of(images, columns=None):
    meter = ConfusionMeter(4, columns)
    for name, (predictions, labels) in images.items():
        meter.update(name, predictions, labels)
    return meter


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 5), order=st.permutations(range(5)))
def test_shards_and_order_do_not_matter(seed, cut, order):
    images = {f"{i}": random_maps(seed + i, 4, 5, (5, 6)) for i in range(5)}
    whole = meter_of(images, 5)
    shuffled = [f"{i}" for i in order]
    first = meter_of({i: images[i] for i in shuffled[:cut]}, 5)
    first.merge(meter_of({i: images[i] for i in shuffled[cut:]}, 5))
    np.testing.assert_array_equal(first.total, whole.total)
    assert first.ids == shuffled
    np.testing.assert_array_equal(first.per_image[np.argsort(shuffled)], whole.per_image)
    np.testing.assert_array_equal(whole.per_image.sum(0), whole.total)
    scores = class_iou(whole.total)
    assert ((scores >= 0) & (scores <= 1) | np.isnan(scores)).all()


def test_empty_meter_has_shapes():
    meter = ConfusionMeter(3)
    assert meter.per_image.shape == (0, 3, 3)
    assert np.isnan(mean_iou(meter.total))


def test_image_counts_once():
    images = {"a": random_maps(0, 4)}
    meter = meter_of(images)
    with pytest.raises(DuplicateImage, match="'a'"):
        meter.update("a", *images["a"])
    with pytest.raises(DuplicateImage, match="'a'"):
        meter.merge(meter_of(images))
    np.testing.assert_array_equal(meter.total, meter_of(images).total)


def test_meters_of_different_classes_do_not_merge():
    with pytest.raises(ValueError, match="cannot merge"):
        ConfusionMeter(3).merge(ConfusionMeter(3, 4))
