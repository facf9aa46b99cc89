"""PASCAL VOC: lists, palettes, and which label wins in the augmented set."""

from __future__ import annotations

import pytest
import torch

from datasets.base import IGNORE, DataError
from datasets.pascal_voc import PascalVOC, PascalVOCAug
from tests.datasets.miniatures import MINIATURES, SBD_ONLY, VOC_TRAIN, VOC_VAL, ids_map, one_sentence, pascal_voc

VOC_IDS = [*range(21), 255]
AUGMENTED = sorted(VOC_TRAIN + SBD_ONLY)


@pytest.fixture(params=["converted", "sbd"])
def root(request, tmp_path):
    MINIATURES["pascal_voc_aug"][request.param](tmp_path)
    return tmp_path


def label(raw):
    return torch.from_numpy(raw).long()


def test_palette_labels_are_ids_and_the_boundary_is_void(tmp_path):
    MINIATURES["pascal_voc"]["archive"](tmp_path)
    data = PascalVOC(tmp_path, "val", allow_partial=True)
    assert [item.id for item in data.items] == VOC_VAL
    assert torch.equal(data.label(0), label(ids_map(VOC_IDS, 2)))
    assert IGNORE in data.label(0)


def test_augmented_training_is_the_union_in_order(root):
    data = PascalVOCAug(root, "train", allow_partial=True)
    assert [item.id for item in data.items] == AUGMENTED
    assert not set(AUGMENTED) & set(VOC_VAL)


def test_vocs_own_label_wins(root):
    data = PascalVOCAug(root, "train", allow_partial=True)
    by_name = {item.id: data.label(i) for i, item in enumerate(data.items)}
    assert torch.equal(by_name[VOC_TRAIN[1]], label(ids_map(VOC_IDS, 1)))
    assert torch.equal(by_name[SBD_ONLY[0]], label(ids_map(range(20), 104)))


def test_augmented_val_is_vocs(root):
    data, own = (plugin(root, "val", allow_partial=True) for plugin in (PascalVOCAug, PascalVOC))
    assert data.items == own.items
    assert torch.equal(data.label(0), own.label(0))


@pytest.mark.parametrize("name", ["trainaug", "aug"])
def test_lists_of_paths_are_lists_of_names(tmp_path, name):
    MINIATURES["pascal_voc_aug"]["converted"](tmp_path)
    lists = tmp_path / "pascal_voc/VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "trainaug.txt").unlink()
    lines = [f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png" for n in [*SBD_ONLY, SBD_ONLY[0]]]
    (lists / f"{name}.txt").write_text("\n".join([*lines, ""]))
    data = PascalVOCAug(tmp_path, "train", allow_partial=True)
    assert [item.id for item in data.items] == AUGMENTED


def test_training_on_val_is_refused(tmp_path):
    MINIATURES["pascal_voc_aug"]["converted"](tmp_path)
    lists = tmp_path / "pascal_voc/VOCdevkit/VOC2012/ImageSets/Segmentation"
    with (lists / "trainaug.txt").open("a") as file:
        file.write(f"\n{VOC_VAL[0]}\n")
    with one_sentence(DataError, VOC_VAL[0], lists):
        PascalVOCAug(tmp_path, "train", allow_partial=True)


def test_without_sbd_it_is_not_the_augmented_set_even_in_part(tmp_path):
    pascal_voc(tmp_path, "VOCdevkit/VOC2012")
    with one_sentence(DataError, "trainaug.txt", "cls", PascalVOCAug.home):
        PascalVOCAug(tmp_path, "train", allow_partial=True)


def test_a_missing_list_is_named(tmp_path):
    devkit = pascal_voc(tmp_path, "VOC2012")
    (devkit / "ImageSets/Segmentation/val.txt").unlink()
    with one_sentence(DataError, devkit / "ImageSets/Segmentation/val.txt", PascalVOC.home):
        PascalVOC(tmp_path, "val", allow_partial=True)


def test_a_listed_image_that_lacks_is_named(tmp_path):
    devkit = pascal_voc(tmp_path, "VOC2012")
    gone = devkit / "JPEGImages" / f"{VOC_TRAIN[0]}.jpg"
    gone.unlink()
    with one_sentence(DataError, "1 of 2", gone):
        PascalVOC(tmp_path, "train", allow_partial=True)


@pytest.mark.parametrize("keep", [0, 60, 150, 200])
def test_a_cut_annotation_of_sbd_is_named(tmp_path, keep):
    MINIATURES["pascal_voc_aug"]["sbd"](tmp_path)
    data = PascalVOCAug(tmp_path, "train", allow_partial=True)
    index = [item.id for item in data.items].index(SBD_ONLY[0])
    path = data.items[index].label
    path.write_bytes(path.read_bytes()[:keep])
    with one_sentence(DataError, path, PascalVOCAug.home):
        data[index]
    if keep <= 128:
        with one_sentence(DataError, path):
            data.check_files()


def test_a_matlab_file_of_another_kind_is_named(tmp_path):
    from scipy.io import savemat

    MINIATURES["pascal_voc_aug"]["sbd"](tmp_path)
    data = PascalVOCAug(tmp_path, "train", allow_partial=True)
    index = [item.id for item in data.items].index(SBD_ONLY[0])
    savemat(data.items[index].label, {"other": [1, 2]})
    with pytest.raises(DataError, match="SBD annotation"):
        data[index]


def test_two_names_share_one_folder(root):
    assert PascalVOCAug(root, "val", allow_partial=True).folder == root / "pascal_voc"
