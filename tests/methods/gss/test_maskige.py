import pytest
import torch

from methods.gss.maskige import ConvInverse, WindowInverse, nearest_colour, paint, palette_distance
from methods.gss.palette import make_palette, minimum_distance


def tau_of(palette):
    return 0.1 * minimum_distance(palette) ** 2


@pytest.mark.parametrize("kind", ["max_distance", "grid"])
@pytest.mark.parametrize("classes", [1, 2, 19, 150, 194, 254])
def test_clean_colours_come_back_as_their_classes(kind, classes, tiny_classes):
    palette = make_palette(kind, tiny_classes(classes), seed=0)
    labels = torch.randperm(classes, generator=torch.Generator().manual_seed(0)).view(1, 1, classes)
    scores = nearest_colour(paint(labels, palette), palette, 0.01)
    assert scores.shape == (1, classes, 1, classes)
    assert torch.equal(scores.argmax(1), labels)


def test_the_most_crowded_8_bit_palette_is_still_exact():
    palette = torch.cartesian_prod(*[torch.arange(250.0, 256)] * 3)[:200] / 255
    labels = torch.arange(200).view(1, 10, 20)
    assert torch.equal(nearest_colour(paint(labels, palette), palette, 1.0).argmax(1), labels)


def test_scores_are_squared_distances_up_to_a_constant():
    generator = torch.Generator().manual_seed(0)
    palette, colours = torch.rand(7, 3, generator=generator), torch.rand(2, 3, 4, 5, generator=generator)
    expected = -(colours.double()[:, None] - palette.double()[None, :, :, None, None]).square().sum(2) / 0.05
    found = nearest_colour(colours, palette, 0.05).log_softmax(1)
    torch.testing.assert_close(found.double(), expected.log_softmax(1), atol=1e-4, rtol=1e-4)


def test_a_clean_colour_is_ten_nats_ahead_of_its_nearest_neighbour(tiny_classes):
    palette = make_palette("max_distance", tiny_classes(12), seed=0)
    scores = nearest_colour(paint(torch.arange(12).view(1, 1, 12), palette), palette, tau_of(palette))
    best, second = scores.topk(2, dim=1).values.unbind(1)
    assert (best - second).min().item() == pytest.approx(10, abs=0.01)


def test_distance_to_the_palette_is_its_definition():
    generator = torch.Generator().manual_seed(0)
    palette, colours = torch.rand(9, 3, generator=generator), torch.rand(2, 3, 6, 5, generator=generator)
    expected = torch.cdist(colours.movedim(1, -1).flatten(0, 2).double(), palette.double()).amin(1)
    torch.testing.assert_close(palette_distance(colours, palette).flatten().double(), expected, atol=1e-6, rtol=1e-5)
    assert not palette_distance(paint(torch.arange(9).view(1, 3, 3), palette), palette).any()


def test_painting_is_differentiable_in_the_colours():
    palette = torch.rand(3, 3, requires_grad=True)
    paint(torch.tensor([[[0, 2], [2, 2]]]), palette).sum().backward()
    assert palette.grad.tolist() == [[1.0] * 3, [0.0] * 3, [3.0] * 3]


@pytest.mark.parametrize("make", [lambda: ConvInverse(5), lambda: WindowInverse(5, 2)], ids=["conv", "window"])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 13)])
def test_trained_inverses_keep_the_size_and_pass_gradients(make, size):
    torch.manual_seed(0)
    inverse = make()
    colours = torch.rand(2, 3, *size)
    scores = inverse(colours)
    assert scores.shape == (2, 5, *size)
    scores.square().sum().backward()
    assert all(parameter.grad is not None for parameter in inverse.parameters())


def test_trained_inverses_are_as_small_as_published():
    # "0.9K to 466.7K parameters"
    for inverse in (ConvInverse(150), WindowInverse(150, 2)):
        assert 900 <= sum(parameter.numel() for parameter in inverse.parameters()) <= 466_700


def test_an_image_does_not_change_another_of_its_batch():
    torch.manual_seed(0)
    inverse, colours = WindowInverse(4, 2), torch.rand(3, 3, 15, 10)
    torch.testing.assert_close(inverse(colours)[1:2], inverse(colours[1:2]), atol=1e-5, rtol=1e-5)
