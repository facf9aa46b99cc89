import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bench.config.tables import AugmentationConfig, InferenceConfig, Recipe
from bench.data import batches as data
from bench.data.fingerprint import describe
from datasets.base import IGNORE, UNLABELLED, DataError
from datasets.regions import RegionMaps
from methods.base import Batch


def recipe(**fields):
    return Recipe(steps=6, batch_size=2, augmentation=AugmentationConfig(crop=(48, 64), scale=(0.5, 2.0)), **fields)


def batches(dataset, recipe, **kwargs):
    return list(data.training_batches(dataset, recipe, 3, torch.device("cpu"), **kwargs))


def same(one, two):
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.ids == b.ids
        for a, b in zip(one, two, strict=True)
    )


def test_batches_are_the_same_with_and_without_loader_processes(mini):
    assert same(batches(mini, recipe(workers=0)), batches(mini, recipe(workers=2)))


def test_a_later_start_sees_what_an_uninterrupted_run_sees(mini):
    everything = batches(mini, recipe(workers=0, accumulate=2))
    assert same(everything[8:], batches(mini, recipe(workers=0, accumulate=2), first_step=4))


def test_another_seed_gives_other_batches(mini):
    other = list(data.training_batches(mini, recipe(workers=0), 4, torch.device("cpu")))
    assert not same(batches(mini, recipe(workers=0)), other)


def test_ranks_share_an_epoch_without_overlap(mini):
    drawn = [i for rank in (0, 1) for b in data.Addresses(12, recipe(), 0, rank, 2, 0, None) for _, i in b]
    assert sorted(drawn) == [*range(12)]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_of_one_rank_in_its_order(mini, world):
    six = recipe(workers=0, accumulate=2).model_copy(update={"batch_size": 6})
    shares = zip(*(batches(mini, six, rank=rank, world=world) for rank in range(world)), strict=True)
    for batch, parts in zip(batches(mini, six), shares, strict=True):
        assert torch.equal(batch.images, torch.cat([part.images for part in parts]))
        assert torch.equal(batch.labels, torch.cat([part.labels for part in parts]))


def test_loading_leaves_the_global_generator_alone(mini):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    batches(mini, recipe(workers=0))
    assert torch.equal(torch.rand(3), expected)


def test_batch_is_what_methods_expect(mini):
    batch = batches(mini, recipe(workers=0))[0]
    assert batch.images.shape == (2, 3, 48, 64)
    assert batch.images.dtype == torch.float32
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
    assert batch.labels.shape == (2, 48, 64)
    assert batch.labels.dtype == torch.int64
    assert batch.present.shape == (2, len(mini.classes))
    for labels, present in zip(batch.labels, batch.present, strict=True):
        assert present[labels[labels != IGNORE].unique()].all()


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(8, 80), st.integers(8, 80)),
    st.tuples(st.integers(32, 64), st.integers(32, 64)),
    st.floats(0.4, 2.5),
    st.integers(0, 1000),
)
def test_image_and_labels_stay_aligned_under_any_crop(size, crop, factor, seed):
    config = AugmentationConfig(crop=crop, scale=(factor, factor), colour=0.0)
    label = torch.randint(0, 2, size, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    label = label.repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = (label[None].repeat(3, 1, 1) * 255).to(torch.uint8)
    torch.manual_seed(seed)
    image, label = data.Augmentation(config, InferenceConfig())(image, label)
    assert image.shape == (3, *crop)
    assert label.shape == crop
    inside = label != IGNORE
    clear = inside & ((image[0] < 64) | (image[0] > 191))
    agreement = ((image[0] > 127).to(torch.uint8) == label)[clear].float().mean()
    assert not clear.any() or agreement > 0.97
    reach = 2 * math.ceil(max(factor, 1.0)) + 3  # of the resize filter, in pixels of the crop
    touched = F.max_pool2d(inside.float()[None, None], reach, stride=1, padding=reach // 2)[0, 0] > 0
    assert not image[:, ~touched].any()


@settings(max_examples=30, deadline=None)
@given(st.floats(0.4, 2.5), st.integers(0, 1000))
def test_region_maps_go_the_way_of_the_label(factor, seed):
    config = AugmentationConfig(crop=(48, 64), scale=(factor, factor))
    label = torch.randint(0, 19, (50, 40), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    image = torch.zeros(3, 50, 40, dtype=torch.uint8)
    torch.manual_seed(seed)
    _, cropped, regions = data.Augmentation(config, InferenceConfig())(image, label, label.int() * 70_000)
    inside = cropped != IGNORE
    assert inside.any()
    assert torch.equal(regions[inside], cropped[inside].int() * 70_000)
    assert not regions[~inside].any()
    torch.manual_seed(seed)
    assert torch.equal(data.Augmentation(config, InferenceConfig())(image, label)[1], cropped), (
        "the draws are those of a run without"
    )


def test_batches_carry_the_region_maps_of_their_images(mini, tmp_path):
    for index, item in enumerate(mini.items):
        (tmp_path / item.id).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{item.id}.npy", mini.label(index).numpy() + np.int32(1000))
    regions = RegionMaps(tmp_path, mini)
    for workers in (0, 1):
        for batch in batches(mini, recipe(workers=workers), regions=regions)[:2]:
            inside = batch.labels != IGNORE
            assert torch.equal(batch.regions[inside], batch.labels[inside] + 1000)
    assert all(batch.regions is None for batch in batches(mini, recipe(workers=0))[:1])


def test_a_damaged_region_map_is_the_users_error_also_from_a_loader_process(mini, tmp_path):
    for item in mini.items:
        (tmp_path / item.id).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{item.id}.npy", np.zeros((3, 3), np.uint8))
    with pytest.raises(DataError, match="3x3"):
        batches(mini, recipe(workers=1), regions=RegionMaps(tmp_path, mini))


def test_images_are_trained_on_at_the_scale_at_which_they_are_predicted():
    config = AugmentationConfig(crop=(36, 64), scale=(1.0, 1.0), colour=0.0, flip=0.0)
    label = torch.zeros(108, 192, dtype=torch.uint8)
    label[:, 96:] = 1
    image = (label[None].repeat(3, 1, 1) * 255).to(torch.uint8)
    shrunk, labels = data.Augmentation(config, InferenceConfig(short_side=36))(image, label)
    assert torch.equal(labels, torch.arange(64).ge(32).to(torch.uint8).expand(36, 64)), "the whole image is one crop"
    assert ((shrunk[0] > 127) == (labels == 1)).all()
    own = data.Augmentation(config.model_copy(update={"short_side": 108}), InferenceConfig(short_side=36))
    edge = torch.zeros(108, 192, dtype=torch.uint8)
    edge[0] = edge[-1] = 1
    assert own(image, edge)[1].sum() in (0, 64), "a crop of the image as it is sees one border at most"


def test_points_outlast_the_shrinking_of_every_image_by_a_recipe():
    label = torch.full((400, 600), UNLABELLED, dtype=torch.uint8)
    label[10::50, 10::50] = torch.arange(96, dtype=torch.uint8).view(8, 12)
    config = AugmentationConfig(crop=(100, 150), scale=(1.0, 1.0), colour=0.0, flip=0.0)
    augment = data.Augmentation(config, InferenceConfig(short_side=100))
    _, labels = augment(torch.zeros(3, 400, 600, dtype=torch.uint8), label)
    assert set(labels.unique().tolist()) == {*range(96), UNLABELLED}


def test_outside_of_the_image_is_void():
    config = AugmentationConfig(crop=(64, 64), scale=(1.0, 1.0), colour=0.0, flip=0.0)
    _, label = data.Augmentation(config, InferenceConfig())(
        torch.ones(3, 20, 30, dtype=torch.uint8), torch.ones(20, 30, dtype=torch.uint8)
    )
    assert int((label == 1).sum()) == 600
    assert int((label == IGNORE).sum()) == 64 * 64 - 600


def test_unlabelled_pixels_do_not_count_as_a_class_of_which_a_crop_has_too_much():
    labels = torch.full((64, 96), UNLABELLED, dtype=torch.uint8)
    labels[:, :10], labels[:, 10:18] = 0, 1
    assert data._largest_share(labels) == pytest.approx(10 / 18)
    for empty in (UNLABELLED, IGNORE):
        assert data._largest_share(torch.full((4, 4), empty, dtype=torch.uint8)) == 1


def test_class_balanced_sampling_draws_classes_alike():
    presence = np.zeros((100, 2), bool)
    presence[:, 0] = True
    presence[:2, 1] = True
    addresses = data.Addresses(100, Recipe(steps=500, batch_size=4, class_balanced=True), 0, 0, 1, 0, presence)
    drawn = [i for batch in addresses for _, i in batch]
    share = np.mean([i < 2 for i in drawn])
    assert 0.45 < share < 0.57  # half of the draws ask for the rare class, and 2 % of the others hit it too


def test_presence_is_counted_once_and_cached(mini, tmp_path):
    calls = []

    def progress(items, *_):
        calls.append(1)
        return items

    first = data.class_presence(mini, describe(mini), tmp_path, progress, pytest.fail)
    second = data.class_presence(mini, describe(mini), tmp_path, progress, pytest.fail)
    assert np.array_equal(first, second)
    assert len(calls) == 1
    for row, index in zip(first, range(len(mini)), strict=True):
        labels = mini.label(index)
        assert set(np.flatnonzero(row)) == set(labels[labels != IGNORE].unique().tolist())


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_image_in_a_loader_process_is_still_one_sentence(mini, tmp_path, workers):
    import copy

    damaged = copy.copy(mini)
    broken = tmp_path / "broken.png"
    broken.write_bytes(mini.items[0].image.read_bytes()[:100])
    damaged.items = [item._replace(image=broken) for item in mini.items]
    with pytest.raises(DataError, match=r"broken\.png") as caught:
        batches(damaged, recipe(workers=workers))
    assert "\n" not in str(caught.value)


def test_a_batch_is_widened_once_on_its_device():
    images = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    labels = torch.randint(256, (2, 4, 5), dtype=torch.uint8)
    regions = torch.arange(40, dtype=torch.int32).view(2, 4, 5)
    made = Batch(images, labels, ("a", "b"), torch.ones(2, 3, dtype=torch.bool), regions).to(torch.device("cpu"))
    assert torch.equal(made.images, images.float() / 255)
    assert (made.images.dtype, made.labels.dtype, made.regions.dtype) == (torch.float32, torch.int64, torch.int64)
    assert torch.equal(made.labels, labels.long())
    again = made.to(torch.device("cpu"))
    assert torch.equal(again.images, made.images)
    assert again.ids == ("a", "b")
    assert Batch(images, labels).to(torch.device("cpu")).regions is None
