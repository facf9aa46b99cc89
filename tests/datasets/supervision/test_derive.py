"""The rules by which sparse labels follow from dense ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from datasets.base import IGNORE, UNLABELLED
from datasets.supervision import parse
from datasets.supervision.derive import derive, generator
from datasets.supervision.regions import brush_width, minimum_area, regions

DERIVED = ("points", "scribbles", "clicks-20", "clicks-3", "coarse", "fraction-0.01", "fraction-1", "none")
OF_REGIONS = ("points", "scribbles", "coarse")


def make(kind: str, label: np.ndarray, seed: int = 0, image: str = "image") -> np.ndarray:
    return derive(parse(kind), label, generator(seed, image, parse(kind)))


def street(height: int = 120, width: int = 180) -> np.ndarray:
    """Sky, a building, a road narrowing to the horizon, a pole, a round sign and a void corner."""
    rows, columns = np.mgrid[:height, :width]
    label = np.zeros((height, width), np.uint8)
    label[height // 4 :, : width // 3] = 1
    label[(rows > height // 2) & (abs(columns - width // 2) < (rows - height // 3))] = 2
    label[height // 8 : -height // 8, width - 20 : width - 16] = 3
    label[(rows - 30) ** 2 + (columns - 120) ** 2 < 15**2] = 4
    label[-12:, -12:] = IGNORE
    return label


def blobs(seed: int, classes: int = 5, size: tuple[int, int] = (60, 90)) -> np.ndarray:
    """Smooth random regions with some void."""
    noise = np.random.default_rng(seed).standard_normal((classes + 1, *size))
    label = ndimage.gaussian_filter(noise, (0, 5, 5)).argmax(0).astype(np.uint8)
    label[label == classes] = IGNORE
    return label


def check(kind: str, label: np.ndarray, sparse: np.ndarray) -> None:
    """What holds for every kind."""
    assert sparse.shape == label.shape
    assert sparse.dtype == np.uint8
    assert ((sparse == IGNORE) == (label == IGNORE)).all()
    labelled = sparse < UNLABELLED
    assert (sparse[labelled] == label[labelled]).all()
    valid = int((label != IGNORE).sum())
    count = int(labelled.sum())
    present = set(np.unique(label)) - {IGNORE}
    if kind == "none":
        assert count == 0
    elif kind.startswith("clicks"):
        assert count == min(int(kind.removeprefix("clicks-")), valid)
        assert len(np.unique(sparse[labelled])) >= min(count, len(present))
    elif kind.startswith("fraction"):
        share = float(kind.removeprefix("fraction-"))
        assert count == min(max(1, round(share * valid)), valid)
    else:
        assert set(np.unique(sparse[labelled])) == present


@pytest.mark.parametrize("kind", DERIVED)
@settings(max_examples=25, deadline=None)
@given(
    label=arrays(
        np.uint8,
        st.tuples(st.integers(1, 24), st.integers(1, 24)),
        elements=st.sampled_from([0, 1, 2, 149, IGNORE]),
        fill=st.sampled_from([0, 1, IGNORE]),
    ),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_kind_keeps_its_word_on_any_label_map(kind, label, seed):
    before = label.copy()
    check(kind, label, make(kind, label, seed))
    assert (label == before).all()


@pytest.mark.parametrize("kind", DERIVED)
def test_every_kind_keeps_its_word_on_regions(kind):
    check(kind, street(), make(kind, street()))
    for seed in range(8):
        check(kind, blobs(seed), make(kind, blobs(seed), seed))


@pytest.mark.parametrize("kind", DERIVED)
def test_labels_depend_on_seed_image_and_kind_alone(kind):
    label = blobs(1)
    one = make(kind, label)
    make(kind, label, 5, "another in between")
    assert (make(kind, label) == one).all()
    if kind in ("none", "coarse", "fraction-1"):  # nothing random is in them
        return
    assert (make(kind, label, seed=1) != one).any()
    assert (make(kind, label, image="other") != one).any()


@pytest.mark.parametrize("kind", OF_REGIONS)
def test_every_region_of_the_minimum_area_is_annotated(kind):
    label = street()
    sparse = make(kind, label)
    for class_id in range(5):
        numbered, count = ndimage.label(label == class_id, structure=np.ones((3, 3)))
        for number in range(1, count + 1):
            region = numbered == number
            if region.sum() >= minimum_area(label.shape):
                assert (sparse[region] == class_id).any()


def test_specks_are_left_out_unless_their_class_has_nothing_larger():
    label = np.zeros((100, 100), np.uint8)
    label[50, 50] = 1
    label[20:40, 20:40], label[80, 80] = 2, 2
    found = [(r.class_id, int(r.mask.sum())) for r in regions(label)]
    assert sorted(found) == [(0, 10000 - 1 - 400 - 1), (1, 1), (2, 400)]


def test_diagonal_neighbours_are_one_region():
    label = np.full((40, 40), IGNORE, np.uint8)
    label[np.arange(40), np.arange(40)] = 3
    assert [int(r.mask.sum()) for r in regions(label)] == [40]


def test_a_point_is_one_disc_inside_its_region_and_away_from_the_boundary():
    label = np.zeros((375, 500), np.uint8)
    label[100:200, 200:400] = 1
    for seed in range(20):
        sparse = make("points", label, seed)
        for class_id in (0, 1):
            rows, columns = np.nonzero(sparse == class_id)
            assert len(rows) == 9
            assert np.ptp(rows) == np.ptp(columns) == 2
        assert 123 <= np.nonzero(sparse == 1)[0].mean() <= 176


def test_points_differ_from_seed_to_seed_and_cover_the_interior():
    label = np.zeros((100, 100), np.uint8)
    centres = np.array([np.argwhere(make("points", label, seed) == 0).mean(0) for seed in range(60)])
    assert centres.min() >= 24
    assert centres.max() <= 75
    assert (np.ptp(centres, axis=0) > 35).all()


def test_strokes_are_as_wide_as_the_image_is_large():
    assert [brush_width(s) for s in ((64, 128), (128, 256), (360, 480), (375, 500), (500, 375))] == [1, 1, 3, 3, 3]
    assert brush_width((1024, 2048)) == 9


def extent(mask: np.ndarray) -> float:
    """The larger side of the bounding box."""
    rows, columns = np.nonzero(mask)
    return float(max(np.ptp(rows), np.ptp(columns)) + 1)


@pytest.mark.parametrize("seed", range(6))
def test_a_scribble_runs_through_its_region(seed):
    label = street()
    sparse = make("scribbles", label, seed)
    for class_id in range(5):
        region, scribble = label == class_id, sparse == class_id
        assert not (scribble & ~region).any()
        assert extent(scribble) >= 0.4 * extent(region), class_id
        assert scribble.sum() <= 0.4 * region.sum() or class_id == 3, "a line, not an area"
        _, pieces = ndimage.label(scribble, structure=np.ones((3, 3)))
        _, parts = ndimage.label(region, structure=np.ones((3, 3)))
        assert pieces == parts


def test_a_scribble_follows_a_bend_and_stays_in_the_middle():
    label = np.full((200, 200), IGNORE, np.uint8)
    rows, columns = np.mgrid[:200, :200]
    radius = np.hypot(rows - 199, columns - 100)
    label[(radius > 60) & (radius < 90)] = 0
    for seed in range(5):
        sparse = make("scribbles", label, seed)
        drawn = radius[sparse == 0]
        assert drawn.min() > 64
        assert drawn.max() < 86
        assert extent(sparse == 0) > 120, "a quarter turn or more, where a straight line would leave the arch"


def test_scribbles_are_not_straight_and_not_alike():
    label = np.zeros((120, 300), np.uint8)
    drawn = [make("scribbles", label, seed) for seed in range(4)]
    assert all(np.ptp(np.nonzero(d == 0)[0]) > 4 for d in drawn)
    assert len({d.tobytes() for d in drawn}) == 4


def test_a_scribble_looks_over_specks_but_does_not_label_them():
    label = np.zeros((200, 300), np.uint8)
    label[::20, ::20] = IGNORE
    sparse = make("scribbles", label)
    assert extent(sparse == 0) > 150
    assert (sparse[::20, ::20] == IGNORE).all()


def test_coarse_labels_keep_away_from_boundaries_but_not_from_the_edge_of_the_image():
    label = np.zeros((200, 300), np.uint8)
    label[:, 150:] = 1
    sparse = make("coarse", label)
    assert (sparse[:, 146:154] == UNLABELLED).all()
    assert (sparse[:, :140] == 0).all()
    assert (sparse[:, 160:] == 1).all()


def test_coarse_labels_go_round_objects():
    label = np.zeros((200, 300), np.uint8)
    label[80:120, 120:180] = 1
    sparse = make("coarse", label)
    assert (sparse[90:110, 130:170] == 1).all()
    ring = ndimage.binary_dilation(label == 1, iterations=2) ^ ndimage.binary_erosion(label == 1, iterations=2)
    assert (sparse[ring] == UNLABELLED).all()
    assert 0.85 < (sparse < UNLABELLED).mean() < 0.98


def test_an_image_of_one_class_is_coarsely_labelled_throughout():
    assert (make("coarse", np.full((30, 40), 7, np.uint8)) == 7).all()


def test_clicks_beyond_one_per_class_are_uniform():
    label = np.zeros((100, 100), np.uint8)
    label[:, 90:] = 1
    shares = [(make("clicks-100", label, seed) == 1).sum() for seed in range(30)]
    assert 8 < np.mean(shares) < 14


def test_with_fewer_clicks_than_classes_small_classes_have_the_same_chance():
    label = np.zeros((60, 60), np.uint8)
    label[0, :10] = np.arange(10)
    seen = [set(np.unique(make("clicks-5", label, seed))) - {UNLABELLED} for seed in range(200)]
    assert all(len(classes) == 5 for classes in seen)
    assert all(60 < sum(c in classes for classes in seen) < 140 for c in range(10))


@pytest.mark.parametrize("kind", DERIVED)
def test_an_image_of_void_has_no_labels(kind):
    assert (make(kind, np.full((12, 12), IGNORE, np.uint8)) == IGNORE).all()
