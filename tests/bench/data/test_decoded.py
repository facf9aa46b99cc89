"""A data set that is decoded once."""

import copy
import pickle

import pytest
import torch
from PIL import Image

from bench.config.tables import AugmentationConfig, InferenceConfig
from bench.data.batches import Augmentation, TrainingSet
from bench.data.decoded import decoded
from datasets.base import DataError
from datasets.toyscapes_mini import ToyscapesMini


def silent(items, *_):
    return items


@pytest.fixture
def made(mini, tmp_path):
    return decoded(mini, "facts", tmp_path, silent, pytest.fail)


def test_samples_are_those_of_the_data_set(mini, made):
    assert len(made) == len(mini)
    for one, other in zip(made, mini, strict=True):
        assert one.id == other.id
        for plane, expected in ((one.image, other.image), (one.label, other.label)):
            assert torch.equal(plane, expected)
            assert (plane.dtype, plane.is_contiguous()) == (torch.uint8, True)


def test_training_examples_are_those_of_the_data_set(mini, made):
    augmentation = Augmentation(AugmentationConfig(crop=(48, 64)), InferenceConfig())
    for index in range(len(mini)):
        one, other = (TrainingSet(samples, augmentation, 3)[7, index] for samples in (made, mini))
        assert one.id == other.id
        assert all(map(torch.equal, (one.image, one.label, one.present), (other.image, other.label, other.present)))


def test_images_of_other_sizes_follow_each_other(mini, tmp_path):
    changed = copy.copy(mini)
    item = mini.items[0]._replace(image=tmp_path / "image.png", label=tmp_path / "label.png")
    Image.new("RGB", (5, 3), (1, 2, 3)).save(item.image)
    Image.new("L", (5, 3), 1).save(item.label)
    changed.items = [item, *mini.items[1:]]
    first, second, *_ = decoded(changed, "", tmp_path, silent, pytest.fail)
    assert (first.image.shape, first.image[:, 2, 4].tolist()) == ((3, 3, 5), [1, 2, 3])
    assert torch.equal(second.image, mini[1].image)


def test_nothing_is_decoded_twice(mini, made, tmp_path, monkeypatch):
    monkeypatch.setattr(ToyscapesMini, "__getitem__", lambda *_: pytest.fail("it was decoded"))
    again = decoded(mini, "facts", tmp_path, silent, pytest.fail)
    assert len(pickle.dumps(again)) < 10_000, "another process maps the file"
    assert torch.equal(again[3].image, made[3].image)


@pytest.mark.parametrize("change", ["facts", "table", "file"])
def test_what_samples_depend_on_tells_files_apart(mini, made, tmp_path, change):
    changed, facts = copy.copy(mini), "facts"
    if change == "facts":
        facts = "others"
    elif change == "table":
        changed.label_ids = lambda: {**mini.label_ids(), 0: 1}
    else:
        image = tmp_path / "image.png"
        Image.open(mini.items[2].image).rotate(180).save(image)
        changed.items = [*mini.items[:2], mini.items[2]._replace(image=image), *mini.items[3:]]
    assert decoded(changed, facts, tmp_path, silent, pytest.fail).path != made.path


def test_a_damaged_image_leaves_no_file_behind(mini, tmp_path):
    broken = copy.copy(mini)
    image = tmp_path / "broken.png"
    image.write_bytes(mini.items[4].image.read_bytes()[:200])
    broken.items = [*mini.items[:4], mini.items[4]._replace(image=image), *mini.items[5:]]
    with pytest.raises(DataError, match=r"broken\.png"):
        decoded(broken, "", tmp_path / "cache", silent, pytest.fail)
    assert not [*(tmp_path / "cache").iterdir()]
