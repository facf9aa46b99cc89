"""Cityscapes: the table of ids, the two kinds of label files, and the maps to smaller class sets."""

from __future__ import annotations

import pytest
import torch

from datasets.base import IGNORE, DataError
from datasets.cityscapes import TO_CAMVID, TO_IDD_LITE, Cityscapes
from datasets.cityscapes_labels import EVALUATED_IDS
from datasets.class_sets import CAMVID_11, CITYSCAPES_19, IDD_LITE_7
from tests.datasets.miniatures import MINIATURES, ids_map, one_sentence

TRAIN_IDS = {
    7: 0,
    8: 1,
    11: 2,
    12: 3,
    13: 4,
    17: 5,
    19: 6,
    20: 7,
    21: 8,
    22: 9,
    23: 10,
    24: 11,
    25: 12,
    26: 13,
    27: 14,
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}


def test_the_table_of_ids():
    assert {k: v for k, v in Cityscapes.raw_ids.items() if v != IGNORE} == TRAIN_IDS
    assert set(Cityscapes.raw_ids) == set(range(-1, 34))
    assert tuple(EVALUATED_IDS) == CITYSCAPES_19.names


def test_label_ids_are_mapped_in_one_look_up(tmp_path):
    """7 becomes 0 and 8 becomes 1, while 0 and 1 are void: replacing in turn would void roads."""
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    data = Cityscapes(tmp_path, "train", allow_partial=True)
    expected = [[TRAIN_IDS.get(v, IGNORE) for v in row] for row in ids_map(range(34), 0).tolist()]
    assert data.label(0).tolist() == expected


def test_train_ids_are_read_where_they_exist(tmp_path):
    MINIATURES["cityscapes"]["labelTrainIds"](tmp_path)
    data = Cityscapes(tmp_path, "val", allow_partial=True)
    assert all(item.label.name.endswith("_labelTrainIds.png") for item in data.items)
    assert torch.equal(data.label(0), torch.from_numpy(ids_map([*range(19), 255], 2)).long())


def test_a_conversion_that_stopped_half_way_is_not_used(tmp_path):
    MINIATURES["cityscapes"]["labelTrainIds"](tmp_path)
    Cityscapes(tmp_path, "val", allow_partial=True).items[1].label.unlink()
    data = Cityscapes(tmp_path, "val", allow_partial=True)
    assert all(item.label.name.endswith("_labelIds.png") for item in data.items)
    assert set(data.label(0).unique().tolist()) == {*range(19), IGNORE}


def test_ids_of_labels_outside_the_table_are_refused(tmp_path):
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    data = Cityscapes(tmp_path, "val", allow_partial=True)
    for unknown in (34, 255):
        with pytest.raises(DataError, match=f"id {unknown}"):
            data.map_ids(torch.full((2, 2), unknown, dtype=torch.uint8).numpy(), data.items[0].label)


def test_test_is_refused_although_its_label_files_exist(tmp_path):
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    with one_sentence(DataError, "'test'", "use split 'val'"):
        Cityscapes(tmp_path, "test", allow_partial=True)


def test_ids_name_the_frame(tmp_path):
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    items = Cityscapes(tmp_path, "train", allow_partial=True).items
    assert [item.id for item in items] == ["aachen_000000_000019", "bochum_000000_000313"]


@pytest.mark.parametrize(
    ("class_map", "target", "groups"),
    [
        (
            TO_CAMVID,
            CAMVID_11,
            {
                "sky": {"sky"},
                "building": {"building", "wall"},
                "pole": {"pole"},
                "road": {"road"},
                "pavement": {"sidewalk"},
                "tree": {"vegetation", "terrain"},
                "sign symbol": {"traffic light", "traffic sign"},
                "fence": {"fence"},
                "car": {"car", "truck", "bus", "train"},
                "pedestrian": {"person"},
                "bicyclist": {"rider", "motorcycle", "bicycle"},
            },
        ),
        (
            TO_IDD_LITE,
            IDD_LITE_7,
            {
                "drivable": {"road"},
                "non-drivable": {"sidewalk", "terrain"},
                "living things": {"person", "rider"},
                "vehicles": {"car", "truck", "bus", "train", "motorcycle", "bicycle"},
                "roadside objects": {"wall", "fence", "pole", "traffic light", "traffic sign"},
                "far objects": {"building", "vegetation"},
                "sky": {"sky"},
            },
        ),
    ],
)
def test_class_maps(class_map, target, groups):
    made = {name: set() for name in target.names}
    for source, index in zip(CITYSCAPES_19.names, class_map.table, strict=True):
        assert index != IGNORE, "each class has a counterpart"
        made[target.names[index]].add(source)
    assert made == groups
    assert "not a published one" in class_map.note or "following the levels" in class_map.note
