"""Cityscapes' table of ids, and the two kinds of label files, wherever data sets have them."""

from __future__ import annotations

import pytest
import torch

from datasets.acdc import ACDC
from datasets.base import IGNORE, DataError
from datasets.cityscapes_labels import LABEL_IDS
from datasets.dark_zurich import DarkZurich
from datasets.foggy_cityscapes import FoggyCityscapes
from datasets.nighttime_driving import NighttimeDriving
from tests.datasets.miniatures import MINIATURES, ids_map

EVALUATED = (
    "road 7, sidewalk 8, building 11, wall 12, fence 13, pole 17, traffic light 19, traffic sign 20, vegetation 21, "
    "terrain 22, sky 23, person 24, rider 25, car 26, truck 27, bus 28, train 31, motorcycle 32, bicycle 33"
)
CASES = [
    (ACDC, "direct", "val"),
    (DarkZurich, "direct", "val"),
    (NighttimeDriving, "direct", "test"),
    (FoggyCityscapes, "direct", "val-beta-0.01"),
]


def test_the_table_of_ids_and_the_order_of_the_classes():
    rows = [row.rsplit(" ", 1) for row in EVALUATED.split(", ")]
    assert ACDC.classes.names == tuple(name for name, _ in rows)
    train_ids = {int(raw): train_id for train_id, (_, raw) in enumerate(rows)}
    assert {i: train_ids.get(i, IGNORE) for i in range(-1, 34)} == LABEL_IDS


@pytest.mark.parametrize(("plugin", "variant", "split"), CASES)
def test_either_kind_of_label_file_gives_training_ids(tmp_path, plugin, variant, split):
    MINIATURES[plugin.name][variant](tmp_path)
    label_ids = torch.tensor([LABEL_IDS[i] for i in ids_map(range(34), 1).flatten().tolist()])
    data = plugin(tmp_path, split, allow_partial=True)
    if plugin is not FoggyCityscapes:
        assert all(item.label.name.endswith("_labelTrainIds.png") for item in data.items)
        assert set(data.label(0).unique().tolist()) == {*range(19), IGNORE}
        for item in data.items:
            item.label.unlink()
    data = plugin(tmp_path, split, allow_partial=True)
    assert all(item.label.name.endswith("_labelIds.png") for item in data.items)
    assert any(torch.equal(data.label(i).flatten(), label_ids) for i in range(len(data)))


@pytest.mark.parametrize(("plugin", "variant", "split"), CASES[:3])
def test_a_conversion_that_stopped_half_way_is_not_used(tmp_path, plugin, variant, split):
    MINIATURES[plugin.name][variant](tmp_path)
    plugin(tmp_path, split, allow_partial=True).items[1].label.unlink()
    data = plugin(tmp_path, split, allow_partial=True)
    assert all(item.label.name.endswith("_labelIds.png") for item in data.items)


def test_one_missing_file_of_the_only_kind_that_there_is_does_not_make_all_missing(tmp_path):
    MINIATURES["dark_zurich"]["direct"](tmp_path)
    for path in tmp_path.rglob("*_labelIds.png"):
        path.unlink()
    gone = DarkZurich(tmp_path, "val", allow_partial=True).items[1].label
    gone.unlink()
    with pytest.raises(DataError, match="1 of 2 images of split 'val' have no label") as caught:
        DarkZurich(tmp_path, "val", allow_partial=True)
    assert str(gone) in str(caught.value)


@pytest.mark.parametrize(("plugin", "variant", "split"), CASES)
def test_training_ids_in_a_file_of_label_ids_are_refused(tmp_path, plugin, variant, split):
    """255 is void among training ids and nothing among label ids: the file would be read wrongly throughout."""
    MINIATURES[plugin.name][variant](tmp_path)
    for path in tmp_path.rglob("*_labelTrainIds.png"):
        path.replace(path.with_name(path.name.replace("labelTrainIds", "labelIds")))
    data = plugin(tmp_path, split, allow_partial=True)
    with pytest.raises(DataError, match="id 255"):
        data.map_ids(torch.full((2, 2), 255, dtype=torch.uint8).numpy(), data.items[0].label)
