"""Fishyscapes Static: overlays are added to frames of Cityscapes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets.base import DataError
from datasets.fishyscapes_static import FishyscapesStatic, FishyscapesStaticV1, FishyscapesStaticV2
from tests.datasets.miniatures import MINIATURES, one_sentence


@pytest.fixture
def root(tmp_path):
    MINIATURES["fishyscapes_static"]["archive"](tmp_path)
    return tmp_path


def test_an_image_is_the_sum_of_frame_and_overlay_cut_to_a_byte(root):
    data = FishyscapesStatic(root, "val", allow_partial=True)
    assert [item.id for item in data.items] == ["0000_frankfurt_000000_000294", "0001_lindau_000001_000019"]
    with Image.open(root / "cityscapes/leftImg8bit/val/lindau/lindau_000001_000019_leftImg8bit.png") as frame:
        pixels = np.asarray(frame).tolist()
    overlay = np.load(root / "fishyscapes_static/fs_val_v3/0001_lindau_000001_000019_rgb.npz")["rgb"].tolist()
    image = data[1].image.permute(1, 2, 0).tolist()
    for row, column in ((0, 0), (11, 20), (23, 31)):
        for channel in range(3):
            summed = pixels[row][column][channel] + overlay[row][column][channel]
            assert image[row][column][channel] == min(max(summed, 0), 255)


@pytest.mark.parametrize("plugin", [FishyscapesStaticV1, FishyscapesStaticV2])
def test_a_version_never_reads_the_files_of_another(root, plugin):
    (root / plugin.name).mkdir()
    (root / "fishyscapes_static/fs_val_v3").rename(root / plugin.name / "fs_val_v3")
    with pytest.raises(DataError, match="holds only fs_val_v3"):
        plugin(root, "val", allow_partial=True)
    (root / plugin.name / "fs_val_v3").rename(root / plugin.name / f"fs_val_v{plugin.name[-1]}")
    assert len(plugin(root, "val", allow_partial=True)) == 2


def test_frames_may_lie_below_another_root(root):
    (root / "elsewhere").mkdir()
    (root / "cityscapes").rename(root / "elsewhere/cityscapes")
    assert len(FishyscapesStatic((root, root / "elsewhere"), "val", allow_partial=True)) == 2


def test_a_frame_that_is_missing_is_named(root):
    gone = root / "cityscapes/leftImg8bit/val/lindau/lindau_000001_000019_leftImg8bit.png"
    gone.unlink()
    with one_sentence(DataError, "1 of 2", "image file", gone):
        FishyscapesStatic(root, "val", allow_partial=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [({"other": np.zeros((24, 32, 3))}, "rgb"), ({"rgb": np.zeros((12, 32, 3), np.int16)}, "(12, 32, 3)")],
)
def test_an_overlay_of_another_kind_or_size_is_named(root, content, words):
    data = FishyscapesStatic(root, "val", allow_partial=True)
    np.savez(data.items[0].image, **content)
    with one_sentence(DataError, data.items[0].image, words):
        data[0]
