import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from methods.agmm import mixture
from methods.agmm.mixture import (
    centres,
    energies,
    find_pairs,
    label_mass,
    labelled_points,
    mean_absolute_difference,
    present_classes,
    valid_cells,
)
from methods.base import upsample


def test_pairs_name_the_classes_of_each_image():
    labels = torch.tensor([[[2, 254, 0]], [[255, 254, 255]], [[1, 1, 2]]])
    present = present_classes(labels, 3)
    assert present.tolist() == [[True, False, True], [False] * 3, [False, True, True]]
    pairs = find_pairs(present)
    assert pairs.image.tolist() == [0, 0, 2, 2]
    assert pairs.label.tolist() == [0, 2, 1, 2]
    assert pairs.slot.tolist() == [0, 1, 0, 1]
    assert pairs.slots == 2


def test_moving_between_pairs_slots_and_classes_keeps_values():
    pairs = find_pairs(torch.tensor([[True, False, True], [False, True, False]]))
    values = torch.arange(1.0, 7).view(3, 2)
    assert pairs.to_slots(values).tolist() == [[[1, 2], [3, 4]], [[5, 6], [0, 0]]]
    torch.testing.assert_close(pairs.of_slot(pairs.to_slots(values)), values)
    torch.testing.assert_close(pairs.of_class(pairs.to_classes(values)), values)
    assert (pairs.to_classes(values)[0, 1] == 0).all()


@pytest.mark.parametrize(
    ("label_size", "size"), [((32, 40), (8, 10)), ((33, 46), (9, 12)), ((30, 30), (7, 9)), ((5, 7), (5, 7))]
)
def test_points_read_a_map_as_the_enlarged_map_has_it(label_size, size):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 6, *size, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, *label_size), generator=generator)
    points = labelled_points(labels, 4, size, torch.float64)
    read = (maps.flatten(2)[points.image.unsqueeze(1), :, points.cells] * points.weights.unsqueeze(2)).sum(1)
    image, row, column = (labels < 4).nonzero(as_tuple=True)
    torch.testing.assert_close(read, upsample(maps, label_size)[image, :, row, column])
    assert torch.equal(points.label, labels[image, row, column])


@pytest.mark.parametrize("label_size", [(32, 40), (33, 46)])
def test_a_centre_is_the_mean_of_the_enlarged_features(label_size):
    size = (-(-label_size[0] // 4), -(-label_size[1] // 4))
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 6, *size, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, *label_size), generator=generator)
    labels[labels == 4] = 254
    pairs = find_pairs(present_classes(labels, 4))
    mass = label_mass(labelled_points(labels, 4, size, torch.float64), pairs, size[0] * size[1])
    found = pairs.of_slot(centres(features.flatten(2).transpose(1, 2), mass))
    large = upsample(features, label_size)
    expected = [large[b][:, labels[b] == k].mean(1) for b, k in zip(pairs.image, pairs.label, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_the_centre_of_a_single_labelled_pixel_is_its_feature():
    features = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(2)) + 3
    labels = torch.full((1, 24, 24), 254)
    labels[0, 10, 13] = 1
    pairs = find_pairs(present_classes(labels, 3))
    mass = label_mass(labelled_points(labels, 3, (6, 6)), pairs, 36)
    centre = centres(features.flatten(2).transpose(1, 2), mass)[0, 0]
    torch.testing.assert_close(centre, upsample(features, (24, 24))[0, :, 10, 13], rtol=2e-6, atol=0)


def test_void_borders_share_cells_bilinearly():
    labels = torch.zeros(1, 8, 10, dtype=torch.long)
    labels[:, :, 6:] = 255
    labels[:, 0] = 254
    assert valid_cells(labels, (2, 3)).view(2, 3).tolist() == [[1, 0.5, 0]] * 2


@pytest.mark.parametrize("chunk", [1, 1 << 17])
def test_mean_absolute_differences_have_the_gradients_of_cdist(monkeypatch, chunk):
    monkeypatch.setitem(mixture.CHUNK_ELEMENTS, "cpu", chunk)
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(2, 17, 5, generator=generator, dtype=torch.float64).relu_().requires_grad_()
    means = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    found, expected = mean_absolute_difference(rows, means), torch.cdist(rows, means, p=1) / 5
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    for one, two in zip(
        torch.autograd.grad((found * weight).sum(), (rows, means)),
        torch.autograd.grad((expected * weight).sum(), (rows, means)),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("distance", ["l1mean", "l2", "diag"])
def test_affinity_is_one_at_the_centre_and_falls_with_distance(distance):
    rows = torch.linspace(0, 3, 31).view(1, 31, 1).expand(1, 31, 4).contiguous()
    weights = None if distance != "diag" else torch.ones(1, 31, 1)
    affinity = (-energies(rows, torch.ones(1, 1, 4), weights, distance)).exp().flatten()
    assert affinity.max() <= 1
    assert affinity.min() > 0
    assert affinity.argmax() == 10
    assert affinity[10] == pytest.approx(1, abs=1e-4)
    assert (affinity[10:].diff() < 0).all()


def test_a_uniform_variance_makes_affinities_independent_of_the_features_scale():
    generator = torch.Generator().manual_seed(5)
    rows, means = torch.rand(1, 40, 8, generator=generator), torch.rand(1, 2, 8, generator=generator)
    weights = torch.ones(1, 40, 2)
    one = energies(rows, means, weights, "l1mean")
    torch.testing.assert_close(one, energies(10 * rows, 10 * means, weights, "l1mean"), rtol=1e-3, atol=1e-3)


def test_a_variance_has_no_gradient():
    rows = torch.rand(1, 9, 4, generator=torch.Generator().manual_seed(6)).requires_grad_()
    weights = torch.ones(1, 9, 1)
    energies(rows, torch.zeros(1, 1, 4), weights, "l1mean").sum().backward()
    # with gradient, the sum of d^2 / (2 mean d^2) is constant
    assert rows.grad.abs().min() > 0


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and not func.is_view and "expand" not in func.name():
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize("distance", ["l1mean", "l2", "diag"])
def test_no_tensor_has_a_row_of_channels_per_pixel_and_class(distance):
    rows = torch.rand(2, 1024, 64, requires_grad=True)
    means, weights = torch.rand(2, 16, 64, requires_grad=True), torch.rand(2, 1024, 16)
    with Largest() as largest:
        energies(rows, means, weights, distance).sum().backward()
    assert largest.numel <= max(rows.numel(), mixture.CHUNK_ELEMENTS["cpu"])
