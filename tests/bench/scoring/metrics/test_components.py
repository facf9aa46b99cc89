"""Component metrics against a slow port of the definition, pixel sets and all, and hand-made cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scoring.metrics.components import (
    LEVELS,
    ComponentMeter,
    component_f1,
    component_metrics,
    image_components,
)
from bench.scoring.metrics.images import DuplicateImage, NonFiniteScore


def flood(mask):
    """Components of a mask as sets of pixels, neighbours being the eight around."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        component, front = set(), [left.pop()]
        while front:
            y, x = front.pop()
            component.add((y, x))
            for pixel in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if pixel in left:
                    left.remove(pixel)
                    front.append(pixel)
        found.append(component)
    return found


def by_definition(scores, labels, threshold, min_segment, min_instance):
    """sIoU of ground truth and of predictions, and PPV, each one written as the set formula of the paper."""
    predicted = [c for c in flood((scores > threshold) & (labels != 255)) if len(c) >= min_segment]
    truth, roi = [], set(map(tuple, np.argwhere(labels != 255).tolist()))
    for component in flood(labels == 1):
        if len(component) < min_instance:
            roi -= component
        else:
            truth.append(component)
    predicted = [c & roi for c in predicted if c & roi]

    def siou(component, peers, opposite):
        touching = set().union(*(c for c in opposite if c & component))
        others = set().union(*(c for c in peers if c is not component))
        return len(component & touching) / len((component | touching) - (touching & others))

    anomalous = set().union(*truth)
    return (
        [siou(c, truth, predicted) for c in truth],
        [siou(c, predicted, truth) for c in predicted],
        [len(c & anomalous) / len(c) for c in predicted],
    )


def blobs(seed, shape=(16, 20)):
    """Scores and labels with components of many sizes, overlaps, and void."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    scores = rng.normal(size=shape)
    for _ in range(rng.integers(0, 6)):
        y, x, h, w = rng.integers(0, 14), rng.integers(0, 17), rng.integers(1, 6), rng.integers(1, 7)
        labels[y : y + h, x : x + w] = 1
        dy, dx = rng.integers(-2, 3, 2)
        scores[max(0, y + dy) : y + h, max(0, x + dx) : x + w] += 2
    labels[rng.random(shape) < 0.08] = 255
    return scores.astype(np.float32), labels


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 6]), st.sampled_from([1, 4, 9]))
def test_agrees_with_the_definition(seed, min_segment, min_instance):
    scores, labels = blobs(seed)
    found = image_components(scores, labels, 0.7, min_segment, min_instance)
    expected = by_definition(scores, labels, np.float32(0.7), min_segment, min_instance)
    for ours, theirs in zip((found.siou_gt, found.siou_pred, found.ppv), expected, strict=True):
        np.testing.assert_allclose(np.sort(ours), np.sort(theirs), rtol=0, atol=1e-12)
        assert ((ours >= 0) & (ours <= 1)).all()
    counts = [
        (sum(s >= t for s in expected[0]), sum(s < t for s in expected[0]), sum(p < t for p in expected[2]))
        for t in LEVELS
    ]
    np.testing.assert_array_equal(found.counts, np.transpose(counts))


def canvas(*boxes, shape=(20, 30), value=1, background=0, dtype=np.uint8):
    values = np.full(shape, background, dtype)
    for top, left, height, width in boxes:
        values[top : top + height, left : left + width] = value
    return values


def result_of(scores, labels, min_segment=1, min_instance=1, threshold=0.5):
    meter = ComponentMeter(threshold, min_segment, min_instance)
    meter.update("image", scores.astype(np.float32), labels)
    return meter.result()


def test_levels_are_the_nearest_floats():
    assert LEVELS.tolist() == [0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]


def test_perfect_prediction():
    labels = canvas((2, 2, 4, 4), (10, 10, 5, 5))
    result = result_of(labels, labels)
    assert (result.f1_star, result.siou_gt, result.siou_pred, result.ppv) == (1, 1, 1, 1)
    assert (result.components_gt, result.components_pred) == (2, 2)


def test_one_prediction_over_two_objects_is_forgiven():
    labels = canvas((2, 2, 4, 4), (2, 10, 4, 4))
    result = result_of(canvas((2, 2, 4, 12)), labels)
    # Of the prediction's 48 pixels 16 lie on the other object: 16 / (48 + 16 - 16 - 16).
    assert result.siou_gt == 0.5
    assert result.ppv == pytest.approx(32 / 48)
    np.testing.assert_array_equal(result.counts[0], np.where(LEVELS <= 0.5, 2, 0))
    np.testing.assert_array_equal(result.counts[2], np.where(LEVELS <= 32 / 48, 0, 1))


def test_false_positives_are_judged_by_ppv():
    # The prediction covers a quarter of a large object: a miss, but all of it is right, so not false.
    result = result_of(canvas((0, 0, 5, 6)), canvas((0, 0, 10, 15)))
    assert result.ppv == 1
    assert result.counts[2].tolist() == [0] * 11
    assert result.siou_gt == pytest.approx(0.2)
    assert result.f1_star == 0


def test_diagonal_neighbours_are_one_component():
    labels = np.eye(6, dtype=np.uint8)
    assert result_of(labels, labels).components_gt == 1


def test_threshold_is_strict():
    scores, labels = canvas((0, 0, 2, 2), dtype=np.float32), canvas((0, 0, 2, 2))
    assert result_of(scores, labels, threshold=1.0).components_pred == 0
    below = float(np.nextafter(np.float32(1), np.float32(0)))
    assert result_of(scores, labels, threshold=below).f1_star == 1


def test_small_predictions_are_dropped_by_their_size_without_void():
    labels = canvas((0, 0, 4, 4))
    labels[0:4, 4:8] = 255
    scores = canvas((0, 0, 4, 8))
    assert result_of(scores, labels, min_segment=16).f1_star == 1
    assert result_of(scores, labels, min_segment=17).components_pred == 0


def test_small_objects_leave_the_region_of_interest():
    labels = canvas((0, 0, 4, 4), (10, 10, 2, 2))
    scores = canvas((0, 0, 4, 4), (10, 10, 2, 2), (9, 20, 3, 3))
    result = result_of(scores, labels, min_instance=5)
    assert (result.components_gt, result.components_pred) == (1, 2)
    assert (result.siou_gt, result.ppv) == (1, 0.5)


def test_no_prediction_has_no_ppv_and_zero_f1():
    result = result_of(np.zeros((20, 30)), canvas((0, 0, 4, 4)))
    assert np.isnan(result.ppv)
    assert (result.f1_star, result.siou_gt) == (0, 0)


def test_no_ground_truth_has_f1_from_false_components_alone():
    result = result_of(canvas((0, 0, 4, 4)), np.zeros((20, 30), np.uint8))
    assert (result.f1_star, result.ppv) == (0, 0)
    assert np.isnan(result.siou_gt)
    nothing = result_of(np.zeros((20, 30)), np.zeros((20, 30), np.uint8))
    assert np.isnan([nothing.f1_star, nothing.siou_gt, nothing.ppv]).all()
    assert np.isnan(ComponentMeter(0.5, 1, 1).result().f1_star)


def test_means_are_over_components_and_counts_add():
    meter = ComponentMeter(0.5, 1, 1)
    one, two = canvas((0, 0, 4, 4)), canvas((0, 0, 4, 4), (8, 8, 4, 4))
    meter.update("one", np.zeros(one.shape, np.float32), one)
    meter.update("two", two.astype(np.float32), two)
    result = meter.result()
    assert result.siou_gt == pytest.approx(2 / 3)
    assert result.f1_star == pytest.approx(4 / 5)
    np.testing.assert_array_equal(meter.per_image.sum(0), result.counts)
    np.testing.assert_array_equal(component_f1(meter.per_image)[1], np.ones(11))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_counts_of_images_give_the_metrics_of_any_choice_of_them(seed):
    images = [blobs(seed + i) for i in range(4)]
    whole, some = ComponentMeter(0.7, 3, 4), ComponentMeter(0.7, 3, 4)
    for i, image in enumerate(images):
        whole.update(f"{i}", *image)
    for i in (2, 0):
        some.update(f"{i}", *images[i])
    kept, expected = whole.of_images(["2", "0"]), some.result()
    found = component_metrics(kept["components"].sum(0), kept["overlaps"].sum(0))
    for name, value in (("f1_star", expected.f1_star), ("siou", expected.siou_gt), ("ppv", expected.ppv)):
        np.testing.assert_allclose(found[f"{name}_oracle"], value, rtol=1e-12)
    twice = component_metrics(2.0 * kept["components"][None], 2.0 * kept["overlaps"][None])
    assert {array.shape for array in twice.values()} == {(1, 2)}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 5), order=st.permutations(range(5)))
def test_shards_order_void_and_monotone_transforms_change_nothing(seed, cut, order):
    images = [blobs(seed + i) for i in range(5)]
    whole, first, second = (ComponentMeter(0.7, 3, 4) for _ in range(3))
    cubed = ComponentMeter(0.7**3, 3, 4)
    for i, (scores, labels) in enumerate(images):
        whole.update(f"{i}", scores, labels)
        hidden = np.where(labels == 255, np.float32(np.nan), scores)
        cubed.update(f"{i}", hidden.astype(np.float64) ** 3, labels)
    for place, i in enumerate(order):
        (first if place < cut else second).update(f"{i}", *map(torch.from_numpy, images[i]))
    first.merge(second)
    ours, expected = first.result(), whole.result()
    for result in (ours, cubed.result()):
        np.testing.assert_array_equal(result.counts, expected.counts)
        np.testing.assert_allclose(
            [result.f1_star, result.siou_gt, result.ppv],
            [expected.f1_star, expected.siou_gt, expected.ppv],
            rtol=1e-12,
        )
    assert first.ids == [f"{i}" for i in order]


def test_input_that_does_not_fit_is_an_error():
    scores, labels = blobs(0)
    meter = ComponentMeter(0.5, 1, 1)
    broken = np.where(labels == 0, np.float32(np.nan), scores)
    with pytest.raises(NonFiniteScore, match="'frame'"):
        meter.update("frame", broken, labels)
    with pytest.raises(ValueError, match="label 2"):
        meter.update("frame", scores, np.where(labels == 0, 2, labels))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        meter.update("frame", scores[0], labels[0])
    with pytest.raises(TypeError, match="floating"):
        meter.update("frame", labels, labels)
    meter.update("frame", scores, labels)
    with pytest.raises(DuplicateImage):
        meter.update("frame", scores, labels)
    with pytest.raises(ValueError, match="cannot merge"):
        meter.merge(ComponentMeter(0.6, 1, 1))
