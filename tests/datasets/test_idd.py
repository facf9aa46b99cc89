"""IDD: level 3 of the hierarchy, and the map from Cityscapes."""

from __future__ import annotations

import json

import pytest

from datasets.base import IGNORE, DataError
from datasets.cityscapes import TO_IDD
from datasets.class_sets import CITYSCAPES_19, IDD_26
from datasets.idd import IDD, LEVEL_3_IDS
from tests.datasets.miniatures import IDD_LABELS, MINIATURES, one_sentence

LEVEL_3 = """road 0, drivable fallback 1, sidewalk 2, non-drivable fallback 3, person 4, rider 5, motorcycle 6,
bicycle 7, autorickshaw 8, car 9, truck 10, bus 11, vehicle fallback 12, curb 13, wall 14, fence 15, guard rail 16,
billboard 17, traffic sign 18, traffic light 19, pole 20, obs-str-bar-fallback 21, building 22, bridge 23,
vegetation 24, sky 25"""
"""level3Id of the makers' table."""

CS_TRAIN_ID = {
    "road": 0, "building": 2, "wall": 3, "fence": 4, "pole": 5, "traffic light": 6, "traffic sign": 7, "vegetation": 8,
    "non-drivable fallback": 9, "sky": 10, "person": 11, "rider": 12, "car": 13, "truck": 14, "bus": 15,
    "motorcycle": 17, "bicycle": 18, "sidewalk": 1,
}  # fmt: skip
"""csTrainId of the same rows: the class of Cityscapes."""


def test_classes_are_in_the_order_of_level_3():
    rows = [row.strip().rsplit(" ", 1) for row in LEVEL_3.replace("\n", " ").split(",")]
    assert [(name, int(i)) for name, i in rows] == [(name, i) for i, name in enumerate(IDD_26.names)]


def test_the_map_from_cityscapes_is_the_makers():
    for name, i in CS_TRAIN_ID.items():
        assert TO_IDD.table[i] == IDD_26.names.index(name)
    assert TO_IDD.table[CITYSCAPES_19.names.index("train")] == IDD_26.names.index("vehicle fallback")
    assert IGNORE not in TO_IDD.table


def test_frame_numbers_recur_across_drives(tmp_path):
    MINIATURES["idd"]["archive"](tmp_path)
    assert [item.id for item in IDD(tmp_path, "train", allow_partial=True).items] == ["0/005506", "119/005506"]


POLYGONS = "idd/IDD_Segmentation/gtFine/train/0/005506_gtFine_polygons.json"


def drawn(root):
    MINIATURES["idd"]["polygons"](root)
    return IDD(root, "train", allow_partial=True)


def test_polygons_are_drawn_over_each_other_in_their_order(tmp_path):
    label = drawn(tmp_path).label(0)
    ids = {name: i for i, name in enumerate(IDD_26.names)}
    for i, name in enumerate(IDD_LABELS):
        assert label[5 * (i // 8) + 4, 4 * (i % 8)] == ids[name]
    assert label[1:3, 1:3].unique().tolist() == [ids["person"]], "animals are persons in level 3"
    assert label[0, 0] == ids["road"], "what was deleted is not drawn"
    assert label[:2, 4:6].unique().tolist() == [IGNORE], "a licence plate is void"
    assert label[20:24, 28:32].unique().tolist() == [ids["car"]], "a group is what it is a group of"
    assert label[16, 20] == IGNORE, "where no polygon is, is void"


def test_labels_of_the_table_lead_to_the_classes_of_level_3():
    joined = {
        "parking": 1, "rail track": 3, "animal": 4, "caravan": 12, "trailer": 12, "train": 12, "polegroup": 20,
        "tunnel": 23, "fallback background": 25, "unlabeled": 255, "ego vehicle": 255, "rectification border": 255,
        "out of roi": 255, "license plate": 255,
    }  # fmt: skip
    assert {**{name: i for i, name in enumerate(IDD_LABELS)}, **joined} == LEVEL_3_IDS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole: whole["objects"][0].update(label="unicorn"), "label 'unicorn' is none of the makers'"),
        (lambda whole: whole.pop("imgWidth"), "no file of polygons: KeyError 'imgWidth'"),
        (lambda whole: whole["objects"][0].update(polygon=[[1], [2]]), "cannot be decoded"),
        (lambda whole: whole["objects"].append(3), "no file of polygons"),
        (lambda whole: whole.update(imgWidth=7), "7x24"),
    ],
)
def test_a_file_of_polygons_that_is_wrong_is_named(tmp_path, change, words):
    drawn(tmp_path)
    path = tmp_path / POLYGONS
    whole = json.loads(path.read_text())
    change(whole)
    path.write_text(json.dumps(whole))
    with one_sentence(DataError, path, words, IDD.home):
        IDD(tmp_path, "train", allow_partial=True)[0]


def test_sizes_of_polygons_are_compared_before_training(tmp_path):
    data = drawn(tmp_path)
    path = tmp_path / POLYGONS
    path.write_text(path.read_text().replace('"imgWidth": 32', '"imgWidth": 31'))
    with pytest.raises(DataError, match="31x24"):
        data.check_files()


def test_the_makers_label_files_come_before_their_polygons(tmp_path):
    MINIATURES["idd"]["polygons"](tmp_path)
    MINIATURES["idd"]["archive"](tmp_path)
    assert {item.label.suffix for item in IDD(tmp_path, "train", allow_partial=True).items} == {".png"}
