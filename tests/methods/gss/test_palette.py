import pytest
import torch

from methods.base import MethodError
from methods.gss.palette import make_palette, minimum_distance

KINDS = ("max_distance", "grid", "random", "dataset")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("classes", "distance"), [(19, 130), (150, 55), (194, 50)])
def test_max_distance_reaches_the_spread_it_promises(classes, distance, seed, tiny_classes):
    palette = make_palette("max_distance", tiny_classes(classes), seed=seed)
    assert palette.shape == (classes, 3)
    assert 255 * minimum_distance(palette) >= distance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [1, 2, 7, 19])
def test_palettes_are_8_bit_colours_and_repeat(kind, classes, tiny_classes):
    palette = make_palette(kind, tiny_classes(classes), seed=3)
    assert palette.dtype == torch.float32
    assert palette.shape == (classes, 3)
    assert palette.min() >= 0
    assert palette.max() <= 1
    torch.testing.assert_close(palette * 255, (palette * 255).round(), atol=1e-4, rtol=0)
    assert torch.equal(palette, make_palette(kind, tiny_classes(classes), seed=3))


@pytest.mark.parametrize("kind", ["max_distance", "grid", "random"])
def test_the_seed_decides(kind, tiny_classes):
    assert not torch.equal(make_palette(kind, tiny_classes(9), seed=0), make_palette(kind, tiny_classes(9), seed=1))


def test_a_palette_handed_out_can_be_changed_without_harm(tiny_classes):
    make_palette("max_distance", tiny_classes(5), seed=0).zero_()
    assert minimum_distance(make_palette("max_distance", tiny_classes(5), seed=0)) > 0.5


@pytest.mark.parametrize("classes", [1, 5, 8, 9, 19, 150, 194, 254])
def test_grid_has_a_colour_for_every_class(classes, tiny_classes):
    palette = make_palette("grid", tiny_classes(classes), seed=0)
    assert len(palette.unique(dim=0)) == classes


def test_grid_is_as_spread_as_the_published_palettes(tiny_classes):
    # 20.0 and 18.7 are what the released palettes reach.
    assert 255 * minimum_distance(make_palette("grid", tiny_classes(150), seed=0)) > 12
    assert 255 * minimum_distance(make_palette("grid", tiny_classes(194), seed=0)) > 12


def test_shared_colours_are_refused_by_name(tiny_classes):
    classes = tiny_classes(3)
    classes.colours = ((1, 2, 3), (4, 5, 6), (1, 2, 3))
    with pytest.raises(MethodError, match=r"'class 0' and 'class 2' have the same colour \(1, 2, 3\)"):
        make_palette("dataset", classes, seed=0)


def test_minimum_distance_is_its_definition():
    palette = torch.tensor([[0.0, 0, 0], [0, 0.3, 0.4], [1, 1, 1]])
    assert minimum_distance(palette) == pytest.approx(0.5)
