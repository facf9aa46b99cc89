"""MSeg: the taxonomy, what each source's ids mean in it, and what it means on the zero-shot targets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets.base import IGNORE, DataError
from datasets.mseg import MSEG_194, SOURCES, MSeg
from tests.datasets.miniatures import MINIATURES, MSEG_FILES, grey, ids_map, one_sentence

MAPS = {(t.dataset, t.split): t.class_map for t in MSeg.cross_domain}


@pytest.fixture
def root(tmp_path):
    MINIATURES["mseg"]["archives"](tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "backpack"), (35, "building"), (98, "road"), (125, "person"), (142, "sky"), (193, "window_blind")],
)
def test_the_taxonomy_is_in_the_makers_order(index, name):
    assert (len(MSEG_194), MSEG_194.names[index]) == (194, name)


@pytest.mark.parametrize(
    ("source", "raw", "name"),
    [
        ("idd", 19, "road"),
        ("cityscapes", 11, "road"),
        ("bdd100k", 20, "wall"),
        ("ade20k", 0, "airplane"),
        ("ade20k", 11, "bathtub"),
        ("coco", 37, "cell phone"),
        ("mapillary", 19, "fountain"),
        ("sunrgbd", 1, "armchair"),
    ],
)
def test_ids_of_a_source_count_its_classes_by_name(source, raw, name):
    found = next(s for s in SOURCES if s.name == source)
    assert MSEG_194.names[found.ids()[raw]] == name


def test_each_source_has_the_classes_that_the_makers_give_it():
    counts = {source.name: len(source.ids()) for source in SOURCES}
    assert counts == {name: count for name, (*_, count) in MSEG_FILES.items()}


def test_labels_of_every_source_become_classes_of_the_taxonomy(root):
    data = MSeg(root, "train", allow_partial=True)
    assert [item.id.partition("/")[0] for item in data.items] == sorted(MSEG_FILES)
    for index, source in enumerate(sorted(SOURCES)):
        raw, ids = ids_map([*range(len(source.ids())), 255], 0), source.ids()
        label = data.label(index).numpy()
        assert label.tolist() == [[IGNORE if value == 255 else ids[value] for value in row] for row in raw.tolist()]


def test_val_has_the_listed_frames_of_sun_rgbd(root):
    ids = [item.id for item in MSeg(root, "val", allow_partial=True).items]
    assert len(ids) == len(SOURCES)
    assert [name for name in ids if name.startswith("sunrgbd")] == ["sunrgbd/img-000001"]
    assert "cityscapes/frankfurt/frankfurt_000000_000294" in ids


def test_counts_are_the_sums_of_the_notes():
    for split in MSeg.splits.values():
        assert split.count == sum(int(part.split()[1]) for part in split.note.split(", "))


@pytest.mark.parametrize(("name", "unknown"), [("bdd100k", 21), ("ade20k", 141), ("coco", 193)])
def test_an_id_that_the_source_has_not_is_named_though_the_taxonomy_has_it(root, name, unknown):
    data = MSeg(root, "train", allow_partial=True)
    index = next(i for i, item in enumerate(data.items) if item.id.startswith(name))
    grey(data.items[index].label, [0, unknown], 0)
    with one_sentence(DataError, data.items[index].label, f"id {unknown}", name):
        data[index]


def test_a_label_of_16_bits_is_refused(root):
    data = MSeg(root, "train", allow_partial=True)
    Image.fromarray(np.zeros((24, 32), np.uint16)).save(data.items[0].label)
    with pytest.raises(DataError, match="not a map of 8 bits"):
        data[0]


def test_the_six_zero_shot_targets_are_those_of_the_papers():
    assert [*MAPS] == [
        ("pascal_voc", "val"),
        ("pascal_context_60", "val"),
        ("camvid_11", "test"),
        ("wilddash", "val"),
        ("kitti_semantics", "training"),
        ("scannet", "val"),
    ]


def named(dataset, split):
    """Class of the taxonomy to class of the target, for those that count for one."""
    from bench.plugins import registry

    names = registry.datasets.get(dataset).classes.names
    table = MAPS[dataset, split].table
    return {source: names[target] for source, target in zip(MSEG_194.names, table, strict=True) if target != IGNORE}


@pytest.mark.parametrize(
    ("target", "count", "pairs"),
    [
        (
            ("pascal_voc", "val"),
            194,
            {"backpack": "background", "couch": "sofa", "swivel_chair": "chair", "bicyclist": "person"},
        ),
        (("pascal_context_60", "val"), 194, {"backpack": "bag", "case": "background", "sky": "sky"}),
        (
            ("camvid_11", "test"),
            12,
            {"bicycle": "bicyclist", "bicyclist": "bicyclist", "pole": "pole", "sidewalk_pavement": "pavement"},
        ),
        (("wilddash", "val"), 23, {"autorickshaw": "motorcycle", "rider_other": "rider", "wall": "wall"}),
        (("scannet", "val"), 37, {"painting": "picture", "armchair": "chair", "trash_can": "other furniture"}),
    ],
)
def test_maps_are_the_makers(target, count, pairs):
    found = named(*target)
    assert found.items() >= pairs.items()
    assert len(found) == count


@pytest.mark.parametrize("target", MAPS)
def test_every_class_of_a_target_is_scored_but_two(target):
    from bench.plugins import registry

    names = registry.datasets.get(target[0]).classes.names
    assert {*names} - {*named(*target).values()} == ({"flower", "wood"} if target[0] == "pascal_context_60" else set())
