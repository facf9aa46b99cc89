import numpy as np
import pytest
import torch
from PIL import Image

from datasets.base import DataError
from datasets.regions import RegionMaps, fingerprint
from datasets.toyscapes_mini import ToyscapesMini


@pytest.fixture(scope="module")
def mini(data_root):
    return ToyscapesMini(data_root, "val")


@pytest.fixture
def folder(mini, tmp_path):
    """Region maps that number the pixels' columns, as 16-bit PNG and one as .npy."""
    for index, item in enumerate(mini.items):
        height, width = mini.label(index).shape
        regions = np.tile(np.arange(width, dtype=np.uint16) * 300, (height, 1))
        (tmp_path / item.id).parent.mkdir(exist_ok=True)
        if index == 0:
            np.save(tmp_path / f"{item.id}.npy", regions)
        else:
            Image.fromarray(regions).save(tmp_path / f"{item.id}.png")
    return tmp_path


def test_ids_of_both_formats_come_back_as_written(mini, folder):
    maps = RegionMaps(folder, mini)
    for index in (0, 1):
        regions = maps.of(index, mini[index])
        assert regions.shape == mini.label(index).shape
        assert torch.equal(regions[3], torch.arange(regions.shape[1], dtype=torch.int32) * 300)


def test_a_missing_map_names_the_image_and_the_remedy(mini, folder):
    lost = mini.items[1].id
    (folder / f"{lost}.png").unlink()
    with pytest.raises(DataError, match=rf"{lost}.*data\.regions"):
        RegionMaps(folder, mini)


def test_a_missing_folder_is_one_sentence(mini, tmp_path):
    with pytest.raises(DataError, match=r"data\.regions"):
        RegionMaps(tmp_path / "nowhere", mini)
    with pytest.raises(DataError, match=r"data\.regions"):
        fingerprint(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (np.zeros((4, 5), np.int64), "5x4"),
        (np.zeros((4, 5, 3), np.uint8), "one channel"),
        (np.zeros((4, 5), np.float32), "float32"),
        (np.full((4, 5), -1), "outside"),
        (np.full((4, 5), 2**24), "outside"),
    ],
)
def test_a_map_of_something_else_names_the_file(mini, folder, content, problem):
    path = folder / f"{mini.items[0].id}.npy"
    np.save(path, content)
    with pytest.raises(DataError, match=problem) as error:
        RegionMaps(folder, mini).of(0, mini[0])
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["npy", "png"])
def test_a_truncated_map_names_the_file(mini, folder, name):
    index = 0 if name == "npy" else 1
    path = folder / f"{mini.items[index].id}.{name}"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="compute it again"):
        RegionMaps(folder, mini).of(index, mini[index])


def test_the_fingerprint_tells_changed_maps(mini, folder):
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    np.save(folder / f"{mini.items[0].id}.npy", np.zeros((4, 5), np.uint8))
    assert fingerprint(folder) != before
