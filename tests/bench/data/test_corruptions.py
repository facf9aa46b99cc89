"""The corruptions of ImageNet-C: the same for everyone, stronger with strength, and none of them on labels."""

from __future__ import annotations

import builtins
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from bench.common.errors import UserError
from bench.data.corruptions import CORRUPTIONS, GROUPS, STRENGTHS, Corrupted, corrupt, require_installed, seed_of
from bench.data.reading import read_ahead
from bench.plugins import registry
from datasets.base import DataError

SEED = seed_of("an image", "fog", 3)


@pytest.fixture(scope="module")
def clean(data_root):
    return registry.datasets.get("toyscapes_mini")(data_root, "test")


@pytest.fixture(scope="module")
def corrupted(clean):
    return Corrupted(clean)


@pytest.fixture(scope="module")
def picture(clean):
    return np.ascontiguousarray(clean[0].image.permute(1, 2, 0).numpy())


def squared_error(one, other):
    return float(((one.astype(float) - other) ** 2).mean())


def test_they_are_the_fifteen_of_the_library():
    imagecorruptions = pytest.importorskip("imagecorruptions")
    assert list(CORRUPTIONS) == imagecorruptions.get_corruption_names()
    for group, names in GROUPS.items():
        assert list(names) == imagecorruptions.get_corruption_names(group)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_an_image_is_corrupted_the_same_way_by_its_seed_and_more_by_its_strength(corruption, picture):
    before = picture.copy()
    images = [corrupt(picture, corruption, strength, SEED) for strength in STRENGTHS]
    errors = [squared_error(image, picture) for image in images]
    assert all(image.shape == picture.shape and image.dtype == np.uint8 for image in images)
    assert min(errors) > 1
    # By their definitions glass blur shuffles pixels less often at strength 2, and frost covers less at strength 4.
    assert errors[-1] > errors[0]
    assert all(a < b for a, b in pairwise(errors)) or corruption in ("glass_blur", "frost")
    np.testing.assert_array_equal(corrupt(picture, corruption, 4, SEED), images[3])
    np.testing.assert_array_equal(picture, before)


DRAWN = [
    name
    for name in CORRUPTIONS
    if name not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
]


@pytest.mark.parametrize("corruption", DRAWN)
def test_another_seed_draws_another_corruption(corruption, picture):
    assert (corrupt(picture, corruption, 3, SEED) != corrupt(picture, corruption, 3, SEED + 1)).any()


def test_seeds_differ_by_image_corruption_and_strength():
    seeds = [
        seed_of(image, corruption, strength)
        for image in ("a", "b")
        for corruption in CORRUPTIONS
        for strength in STRENGTHS
    ]
    assert len({*seeds}) == 2 * 15 * 5
    assert seed_of("a", "fog", 1) == 2611627540


def test_the_random_numbers_of_others_stay_as_they_were(picture):
    np.random.seed(3)
    expected = np.random.uniform()
    np.random.seed(3)
    corrupt(picture, "fog", 5, SEED)
    assert np.random.uniform() == expected


def test_all_images_under_all_corruptions_have_the_labels_of_the_clean_ones(clean, corrupted):
    assert len(corrupted) == 75 * len(clean)
    assert len({item.id for item in corrupted.items}) == len(corrupted)
    assert corrupted.items[0].id == f"gaussian_noise-1/{clean.items[0].id}"
    assert corrupted.items[-1].id == f"jpeg_compression-5/{clean.items[-1].id}"
    for index in range(0, len(corrupted), 41):
        sample, whole = corrupted[index], clean[index % len(clean)]
        assert torch.equal(sample.label, whole.label)
        assert sample.image.shape == whole.image.shape
        assert not torch.equal(sample.image, whole.image)
        assert sample.id == corrupted.items[index].id


def test_every_process_makes_the_same_image(corrupted):
    again = pickle.loads(pickle.dumps(corrupted))
    assert torch.equal(again[100].image, corrupted[100].image)


def test_images_that_are_read_ahead_by_threads_are_those_that_are_read_alone(corrupted):
    every = range(0, len(corrupted), len(corrupted.clean) * len(STRENGTHS))
    for index, ahead in zip(every, read_ahead(corrupted, every), strict=True):
        assert torch.equal(ahead.image, corrupted[index].image), ahead.id


def test_an_image_that_is_too_small_is_named(clean):
    class Small:
        def __getitem__(self, index):
            return clean[index]._replace(image=torch.zeros(3, 20, 40, dtype=torch.uint8))

        def __getattr__(self, name):
            return getattr(clean, name)

        def __len__(self):
            return len(clean)

    with pytest.raises(DataError, match=r"40x20.*at least 32") as caught:
        Corrupted(Small())[0]
    assert clean.items[0].id in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_library_one_sentence_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "imagecorruptions":
            raise ImportError("No module named 'imagecorruptions'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install 'genseg-bench\[corruptions\]'") as caught:
        require_installed()
    assert "\n" not in str(caught.value)
