"""CamVid: drives as splits, two image formats, and the map to IDD-Lite."""

from __future__ import annotations

import pytest
import torch

from bench.scoring.protocols.cross_domain import CrossDomain
from datasets.base import IGNORE
from datasets.camvid import TO_IDD_LITE, CamVid, CamVid7
from datasets.class_sets import CAMVID_11, IDD_LITE_7
from datasets.idd_lite import IDDLite
from tests.datasets.miniatures import MINIATURES, ids_map, photo
from tests.datasets.real import decode_all, open_real


@pytest.fixture
def root(tmp_path):
    MINIATURES["camvid"]["png"](tmp_path)
    return tmp_path


def names(root, split):
    return [item.id for item in CamVid(root, split, allow_partial=True).items]


def test_the_drives_part_the_test_split(root):
    assert names(root, "test-seq05vd") == ["Seq05VD_f00000", "Seq05VD_f00030"]
    assert names(root, "test-0001tp") == ["0001TP_008550"]
    assert sorted(names(root, "test-seq05vd") + names(root, "test-0001tp")) == names(root, "test")
    counts = {name: split.count for name, split in CamVid.splits.items()}
    assert counts["test"] == counts["test-seq05vd"] + counts["test-0001tp"]


def test_an_image_in_both_formats_counts_once_as_png(root):
    photo(root / "camvid/train/0001TP_006690.jpg", 5)
    data = CamVid(root, "train", allow_partial=True)
    assert len(data) == 3
    assert data.items[0].image.suffix == ".png"


def test_void_is_eleven(root):
    data = CamVid(root, "train", allow_partial=True)
    raw = torch.from_numpy(ids_map(range(12), 0)).long()
    assert torch.equal(data.label(0), torch.where(raw == 11, IGNORE, raw))


def test_headline_is_test_and_the_clean_drive_is_measured():
    assert CamVid.eval_splits == ("test", "test-seq05vd", "val")
    assert CamVid.selection_split == "val"


def test_map_to_idd_lite():
    pairs = {
        "sky": "sky",
        "building": "far objects",
        "pole": "roadside objects",
        "road": "drivable",
        "pavement": "non-drivable",
        "tree": "far objects",
        "sign symbol": "roadside objects",
        "fence": "roadside objects",
        "car": "vehicles",
        "pedestrian": "living things",
        "bicyclist": "living things",
    }
    assert [IDD_LITE_7.names[i] for i in TO_IDD_LITE.table] == [pairs[n] for n in CAMVID_11.names]
    assert set(TO_IDD_LITE.table) == set(range(7)), "each target class can be predicted"
    assert "not a published one" in TO_IDD_LITE.note


@pytest.mark.real
@pytest.mark.parametrize("split", CamVid.splits)
def test_real_photographs(split):
    data = open_real(CamVid, split)
    assert len(data) == CamVid.splits[split].count
    pixels = decode_all(data, (360, 480))
    assert set(pixels) == {*range(11), IGNORE}
    assert pixels[3] > pixels[10], "there is more road than bicyclists"


@pytest.mark.real
def test_real_drives():
    drives = {s: {item.id.split("_")[0] for item in open_real(CamVid, s).items} for s in CamVid.splits}
    assert drives["train"] == {"0001TP", "0006R0", "0016E5"}
    assert drives["val"] == {"0016E5"}
    assert drives["test-seq05vd"] == {"Seq05VD"}
    assert drives["test-0001tp"] == {"0001TP"}


def test_models_of_idd_lite_are_scored_on_it_in_their_classes(root):
    assert CrossDomain.targets(IDDLite) == [("camvid_7", "test")]
    eleven, seven = (plugin(root, "test", allow_partial=True) for plugin in (CamVid, CamVid7))
    own = eleven.label(0).long()
    table = torch.tensor([*TO_IDD_LITE.table, IGNORE])
    assert torch.equal(seven.label(0).long(), table[torch.where(own == IGNORE, 11, own)])
    assert {*seven.label(0).unique().tolist()} == {*range(7), IGNORE}
