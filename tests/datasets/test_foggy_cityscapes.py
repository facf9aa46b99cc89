"""Foggy Cityscapes: a split for each density of fog, all with Cityscapes' labels."""

from __future__ import annotations

import pytest
import torch

from datasets.base import MissingData
from datasets.cityscapes import Cityscapes
from datasets.foggy_cityscapes import FoggyCityscapes, FoggyCityscapesSFSU
from tests.datasets.miniatures import MINIATURES

SPLITS = ["val-beta-0.005", "val-beta-0.01", "val-beta-0.02"]


@pytest.mark.parametrize("variant", MINIATURES["foggy_cityscapes"])
def test_densities_differ_in_their_images_and_share_ids_and_labels(tmp_path, variant):
    MINIATURES["foggy_cityscapes"][variant](tmp_path)
    splits = [FoggyCityscapes(tmp_path, split, allow_partial=True) for split in SPLITS]
    for beta, data in zip(("0.005", "0.01", "0.02"), splits, strict=True):
        assert [item.id for item in data.items] == ["frankfurt_000000_000294", "lindau_000001_000019"]
        assert all(item.image.name.endswith(f"_leftImg8bit_foggy_beta_{beta}.png") for item in data.items)
        assert [item.label for item in data.items] == [item.label for item in splits[0].items]
    assert not torch.equal(splits[0][0].image, splits[1][0].image)


def test_images_and_labels_may_lie_below_different_roots(tmp_path):
    MINIATURES["foggy_cityscapes"]["labels of cityscapes"](tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cityscapes").rename(tmp_path / "elsewhere/cityscapes")
    roots = (tmp_path, tmp_path / "elsewhere")
    for order in (roots, roots[::-1]):
        assert len(FoggyCityscapes(order, SPLITS[0], allow_partial=True)) == 2


def test_labels_are_those_of_cityscapes(tmp_path):
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    MINIATURES["foggy_cityscapes"]["labels of cityscapes"](tmp_path)
    foggy = FoggyCityscapes(tmp_path, SPLITS[0], allow_partial=True)
    clear = Cityscapes(tmp_path, "val", allow_partial=True)
    assert [(item.id, item.label) for item in foggy.items] == [(item.id, item.label) for item in clear.items]


def test_the_two_releases_are_two_data_sets_though_they_share_a_folder(tmp_path):
    for name in ("foggy_cityscapes", "foggy_cityscapes_sfsu"):
        with pytest.raises(MissingData):
            FoggyCityscapesSFSU(tmp_path, SPLITS[0])
        MINIATURES[name]["within cityscapes"](tmp_path)
    dbf, sfsu = (plugin(tmp_path, SPLITS[0], allow_partial=True) for plugin in (FoggyCityscapes, FoggyCityscapesSFSU))
    assert {item.image.parent.parent.parent.name for item in dbf.items} == {"leftImg8bit_foggyDBF"}
    assert {item.image.parent.parent.parent.name for item in sfsu.items} == {"leftImg8bit_foggy"}
    assert [item.label for item in dbf.items] == [item.label for item in sfsu.items]
    assert not torch.equal(dbf[0].image, sfsu[0].image)


def test_cityscapes_without_fog_is_missing_data_not_a_broken_download(tmp_path):
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    with pytest.raises(MissingData):
        FoggyCityscapes(tmp_path, SPLITS[0])
