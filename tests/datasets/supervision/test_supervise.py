"""Data sets with sparse labels: derived ones and their cache, published ones and their traps."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import datasets.supervision
from bench.common import files
from datasets.base import IGNORE, UNLABELLED, DataError, Dataset, Item
from datasets.camvid import CamVid
from datasets.cityscapes import Cityscapes
from datasets.idd_lite import IDDLite
from datasets.pascal_voc import PascalVOC, PascalVOCAug
from datasets.road_anomaly import RoadAnomaly
from datasets.supervision import supervise
from datasets.supervision.__main__ import main
from datasets.supervision.wrapper import DerivedLabels, OfficialLabels, SparseDataset
from datasets.toyscapes_mini import ToyscapesMini
from tests.datasets.miniatures import MINIATURES, VOC_TRAIN, assert_one_sentence, one_sentence

DERIVED = ("points", "scribbles", "clicks-20", "coarse", "fraction-0.01", "none")


@pytest.fixture
def camvid(tmp_path):
    MINIATURES["camvid"]["png"](tmp_path)
    return CamVid(tmp_path, "train", allow_partial=True)


@pytest.fixture
def voc(tmp_path):
    MINIATURES["pascal_voc"]["archive"](tmp_path)
    return PascalVOC(tmp_path, "train", allow_partial=True)


@pytest.fixture
def cityscapes(tmp_path):
    MINIATURES["cityscapes"]["labelIds"](tmp_path)
    return Cityscapes(tmp_path, "train", allow_partial=True)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def labels(dataset: Dataset) -> list[bytes]:
    return [dataset.label(i).numpy().tobytes() for i in range(len(dataset))]


def publish(dataset: Dataset, place: str, empty: int, labelled: int = 40) -> list[Path]:
    """Write sparse labels of a data set: some pixels of each image keep their label, the others are ``empty``."""
    paths = []
    for index, item in enumerate(dataset.items):
        dense = dataset.label(index).numpy().astype(np.uint8)
        sparse = np.full_like(dense, empty)
        kept = np.flatnonzero(dense.ravel() != IGNORE)[:labelled]
        sparse.flat[kept] = dense.flat[kept]
        sparse[-1] = IGNORE
        paths.append(dataset.folder / place.format(item.id))
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sparse).save(paths[-1])
    return paths


# ---- the interface


def test_dense_is_the_data_set_itself(camvid, cache):
    assert supervise(camvid, "dense", 0, cache) is camvid
    assert not cache.exists()


@pytest.mark.parametrize("kind", DERIVED)
def test_a_sparse_data_set_is_a_data_set(camvid, cache, kind):
    sparse = supervise(camvid, kind, 0, cache)
    assert isinstance(sparse, SparseDataset)
    for fact in ("name", "title", "classes", "splits", "split", "task", "eval_splits", "root", "folder", "raw_ids"):
        assert getattr(sparse, fact) == getattr(camvid, fact)
    assert len(sparse) == len(camvid)
    assert [item.id for item in sparse.items] == [item.id for item in camvid.items]
    sparse.check_files()
    for index in range(len(camvid)):
        dense, sample = camvid[index], sparse[index]
        assert sample.id == dense.id
        assert torch.equal(sample.image, dense.image)
        assert sample.label.dtype == torch.uint8
        assert torch.equal(sample.label, sparse.label(index))
        assert torch.equal(sample.label == IGNORE, dense.label == IGNORE)
        labelled = sample.label < UNLABELLED
        assert torch.equal(sample.label[labelled], dense.label[labelled])
    copy = pickle.loads(pickle.dumps(sparse))
    assert labels(copy) == labels(sparse)
    assert copy.classes == camvid.classes


@pytest.mark.parametrize("kind", DERIVED)
def test_the_labelled_fraction_is_counted_and_kept(camvid, cache, kind):
    sparse = supervise(camvid, kind, 0, cache)
    maps = [sparse.label(i) for i in range(len(sparse))]
    expected = sum(int((m < UNLABELLED).sum()) for m in maps) / sum(int((m != IGNORE).sum()) for m in maps)
    assert sparse.labelled_fraction() == expected
    assert sparse.labelled_pixels_per_image() == sum(int((m < UNLABELLED).sum()) for m in maps) / len(maps)
    (kept,) = cache.rglob("fraction.json")
    about = f"labelled and valid pixels of {kept.parent.name}"
    files.write_sealed(kept, json.dumps({"labelled": 1, "valid": 4}).encode(), about)
    assert supervise(camvid, kind, 0, cache).labelled_fraction() == 0.25
    kept.write_text("damaged")
    assert sparse.labelled_fraction() == expected
    assert sparse.source == f"derived: {sparse.kind.family}@1"


def test_unknown_kinds_and_anomaly_splits_are_refused(camvid, cache, tmp_path):
    with pytest.raises(DataError, match="did you mean scribbles"):
        supervise(camvid, "scribble", 0, cache)
    MINIATURES["road_anomaly"]["mirror"](tmp_path)
    road = RoadAnomaly(tmp_path, "test", allow_partial=True)
    with one_sentence(DataError, "road_anomaly", "points"):
        supervise(road, "points", 0, cache)


def test_the_package_offers_no_class_that_could_be_taken_for_a_plugin():
    assert not [
        name
        for name, value in vars(datasets.supervision).items()
        if inspect.isclass(value) and issubclass(value, Dataset) and not inspect.isabstract(value)
    ]


# ---- derived labels and their cache


def test_labels_are_the_same_in_any_order_process_and_cache(camvid, cache, tmp_path):
    ours = labels(supervise(camvid, "scribbles", 3, cache))
    camvid.items.reverse()
    assert labels(supervise(camvid, "scribbles", 3, tmp_path / "other"))[::-1] == ours
    script = (
        "import sys, hashlib; from pathlib import Path; from datasets.camvid import CamVid;"
        "from datasets.supervision import supervise;"
        "data = CamVid(Path(sys.argv[1]), 'train', allow_partial=True);"
        "sparse = supervise(data, 'scribbles', 3, Path(sys.argv[2]));"
        "print(hashlib.sha256(b''.join(sparse.label(i).numpy().tobytes() for i in range(len(data)))).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(camvid.root), str(tmp_path / "third")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    home = Path(datasets.supervision.__file__).parents[2]
    theirs = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
    assert theirs.stdout.strip() == hashlib.sha256(b"".join(ours)).hexdigest()


def test_seeds_and_kinds_do_not_share_labels(camvid, cache):
    made = [labels(supervise(camvid, kind, seed, cache)) for kind in ("points", "clicks-20") for seed in (0, 1)]
    assert len({b"".join(m) for m in made}) == 4
    assert len(list((cache / "supervision").iterdir())) == 4


def test_the_cache_is_used(camvid, cache, monkeypatch):
    before = labels(supervise(camvid, "points", 0, cache))
    monkeypatch.setattr(DerivedLabels, "write", lambda *_: pytest.fail("derived again"))
    again = supervise(camvid, "points", 0, cache)
    again.check_files()
    assert labels(again) == before


def test_other_dense_labels_are_not_served_from_the_cache(camvid, cache):
    before = labels(supervise(camvid, "coarse", 0, cache))
    first = camvid.items[0].label
    Image.fromarray(np.full((24, 32), 4, np.uint8)).save(first)
    after = labels(supervise(camvid, "coarse", 0, cache))
    assert after[0] != before[0]
    assert after[1:] == before[1:]


@pytest.mark.parametrize("damage", ["lost", "empty", "cut off", "scrambled"])
@pytest.mark.parametrize("when", ["opening", "checking", "reading"])
def test_a_damaged_cache_is_mended(camvid, cache, damage, when):
    sparse = supervise(camvid, "points", 0, cache)
    before, path = labels(sparse), sparse.items[1].label
    content = path.read_bytes()
    if damage == "lost":
        path.unlink()
    elif damage == "scrambled":
        middle = content.index(b"IDAT") + 4
        path.write_bytes(content[:middle] + b"\xff" * 8 + content[middle + 8 :])
    else:
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    if when == "opening":
        sparse = supervise(camvid, "points", 0, cache)
    elif when == "checking":
        sparse.check_files()
    assert labels(sparse) == before
    assert path.read_bytes() == content
    assert not list(cache.rglob("*.part"))


def test_two_that_ask_at_once_get_the_same(camvid, cache):
    made: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: made.append(labels(supervise(camvid, "scribbles", 0, cache)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len({b"".join(m) for m in made}) == 1


def test_several_processes_derive_the_same(camvid, cache, tmp_path):
    sparse = supervise(camvid, "scribbles", 0, cache)
    before = labels(sparse)
    for item in sparse.items:
        item.label.unlink()
    sparse.complete(workers=2)
    assert all(item.label.is_file() for item in sparse.items)
    assert labels(sparse) == before


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_dense_labels_are_named(camvid, cache, workers, monkeypatch):
    camvid.items[2].label.write_bytes(b"no image")
    monkeypatch.setattr("datasets.supervision.wrapper._PIXELS_PER_WORKER", 1 if workers else 10**9)
    with one_sentence(DataError, camvid.items[2].label):
        supervise(camvid, "points", 0, cache)


def test_a_cache_that_cannot_be_written_is_named(camvid, tmp_path):
    (tmp_path / "file").write_text("")
    with one_sentence(DataError, tmp_path / "file"):
        supervise(camvid, "points", 0, tmp_path / "file")


def test_ids_with_folders_in_them(tmp_path, cache):
    MINIATURES["idd_lite"]["direct"](tmp_path)
    data = IDDLite(tmp_path, "train", allow_partial=True)
    assert len(set(labels(supervise(data, "clicks-20", 0, cache)))) == len(data)


# ---- published labels


@pytest.mark.parametrize(
    ("kind", "place", "folder"),
    [
        ("points", "point/segcls/{}.png", "pascal_voc/point/segcls"),
        ("points", "point/{}.png", "pascal_voc/point"),
        ("scribbles", "scribble/seginst/{}.png", "pascal_voc/scribble/seginst"),
        ("scribbles", "VOCdevkit/VOC2012/scribble/{}.png", "pascal_voc/VOCdevkit/VOC2012/scribble"),
    ],
)
def test_published_labels_of_voc_are_read(voc, cache, kind, place, folder):
    paths = publish(voc, place, empty=21)
    sparse = supervise(voc, kind, 0, cache)
    assert isinstance(sparse, OfficialLabels)
    assert sparse.source == f"official: {folder}"
    assert [item.label for item in sparse.items] == paths
    for index in range(len(voc)):
        dense, label = voc.label(index), sparse[index].label
        assert int((label < UNLABELLED).sum()) == 40
        assert torch.equal(label[label < UNLABELLED], dense[label < UNLABELLED])
        assert (label[-1] == IGNORE).all()
        assert int((label == UNLABELLED).sum()) == 24 * 32 - 32 - 40
    assert sparse.labelled_fraction() == 40 / (23 * 32)
    assert labels(pickle.loads(pickle.dumps(sparse))) == labels(sparse)


def test_the_augmented_voc_reads_the_same_files(tmp_path, cache):
    MINIATURES["pascal_voc_aug"]["converted"](tmp_path)
    data = PascalVOCAug(tmp_path, "train", allow_partial=True)
    publish(data, "scribble/seginst/{}.png", empty=21)
    assert supervise(data, "scribbles", 0, cache).source == "official: pascal_voc/scribble/seginst"


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        ("clicks-20", "20clicks"),
        ("clicks-50", "50clicks"),
        ("clicks-50", "random_50clicks"),
        ("clicks-100", "100clicks"),
    ],
)
def test_published_clicks_of_cityscapes_are_read(cityscapes, cache, kind, folder):
    publish(cityscapes, f"{folder}/{{}}_gtFine_labelTrainIds.png", empty=19, labelled=20)
    sparse = supervise(cityscapes, kind, 0, cache)
    assert sparse.source == f"official: cityscapes/{folder}"
    assert [int((sparse.label(i) < UNLABELLED).sum()) for i in range(len(sparse))] == [20, 20]
    assert (sparse.label(0) == UNLABELLED).any()
    other = supervise(cityscapes, "clicks-7", 0, cache)
    assert other.source == "derived: clicks@1"


def test_coarse_outlines_of_cityscapes_are_read_in_its_raw_ids(cityscapes, cache):
    for item in cityscapes.items:
        with Image.open(item.label) as image:
            raw = np.zeros_like(np.asarray(image))
        raw[:4], raw[4:8], raw[8:10] = 7, 33, 3  # road, bicycle, out of the region of interest
        path = cityscapes.folder / "gtCoarse/train" / item.image.parent.name / f"{item.id}_gtCoarse_labelIds.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(raw).save(path)
    sparse = supervise(cityscapes, "coarse", 0, cache)
    assert sparse.source == "official: cityscapes/gtCoarse"
    names = cityscapes.classes.names
    for index in range(len(sparse)):
        rows = sparse.label(index)[:, 0]
        expected = [names.index("road")] * 4 + [names.index("bicycle")] * 4 + [IGNORE] * 2
        assert rows[:10].tolist() == expected
        assert (sparse.label(index)[10:] == UNLABELLED).all()


def test_unlabelled_pixels_that_are_all_void_are_refused(voc, cache):
    paths = publish(voc, "point/segcls/{}.png", empty=255)
    with one_sentence(DataError, paths[0], "255", "write 21", "data.void_is_unlabelled=true"):
        supervise(voc, "points", 0, cache)


def test_a_stray_unlabelled_pixel_does_not_make_void_ones_unlabelled(voc, cache):
    for path in publish(voc, "point/segcls/{}.png", empty=255):
        with Image.open(path) as image:
            label = np.array(image)
        label[-1, -1] = 21
        Image.fromarray(label).save(path)
    with one_sentence(DataError, "hardly any", "write 21", "data.void_is_unlabelled=true"):
        supervise(voc, "points", 0, cache)


def test_void_is_read_as_unlabelled_where_that_is_what_it_means(voc, cache):
    publish(voc, "point/segcls/{}.png", empty=255)
    sparse = supervise(voc, "points", 0, cache, void_is_unlabelled=True)
    assert sparse.source == "official: pascal_voc/point/segcls, 255 read as unlabelled"
    for index in range(len(voc)):
        dense, label = voc.label(index), sparse.label(index)
        assert torch.equal(label == IGNORE, dense == IGNORE)
        assert int((label < UNLABELLED).sum()) == 40
    publish(voc, "scribble/seginst/{}.png", empty=255)
    assert supervise(voc, "scribbles", 0, cache, void_is_unlabelled=True).labelled_fraction() < 0.1


def test_a_dense_label_of_another_size_is_named(voc, cache):
    publish(voc, "point/segcls/{}.png", empty=255)
    sparse = supervise(voc, "points", 0, cache, void_is_unlabelled=True)
    Image.fromarray(np.zeros((24, 30), np.uint8)).save(voc.items[0].label)
    with one_sentence(DataError, sparse.items[0].label, voc.items[0].label, "32x24", "30x24"):
        sparse.label(0)


def test_a_published_set_with_gaps_is_not_filled_up_with_derived_labels(voc, cache):
    paths = publish(voc, "point/segcls/{}.png", empty=21)
    paths[1].unlink()
    with one_sentence(DataError, "1 of 2", paths[1], VOC_TRAIN[1]):
        supervise(voc, "points", 0, cache)


def test_unknown_ids_sizes_and_damage_in_published_labels_are_named(voc, cache):
    paths = publish(voc, "point/segcls/{}.png", empty=21)
    good = paths[0].read_bytes()
    Image.fromarray(np.full((24, 32), 22, np.uint8)).save(paths[0])
    with one_sentence(DataError, paths[0], "22"):
        supervise(voc, "points", 0, cache)
    for bad in (good[: len(good) // 2], b""):
        paths[0].write_bytes(bad)
        with one_sentence(DataError, paths[0]):
            supervise(voc, "points", 0, cache)
    Image.fromarray(np.full((24, 30), 21, np.uint8)).save(paths[0])
    with one_sentence(DataError, paths[0], "30x24", "32x24"):
        supervise(voc, "points", 0, cache)


def test_without_published_labels_they_are_derived(voc, cache):
    assert supervise(voc, "points", 0, cache).source == "derived: points@1"
    assert supervise(voc, "scribbles", 0, cache).source == "derived: scribbles@1"


# ---- the user's own labels


@pytest.mark.parametrize("kind", ["points", "scribbles", "clicks-20", "coarse", "fraction-0.01"])
def test_own_labels_of_any_data_set_are_read(camvid, cache, kind):
    paths = publish(camvid, f"labels-{kind}/train/{{}}.png", empty=UNLABELLED)
    sparse = supervise(camvid, kind, 0, cache)
    assert sparse.source == f"official: camvid/labels-{kind}, the user's own"
    assert [item.label for item in sparse.items] == paths
    for index in range(len(camvid)):
        dense, label = camvid.label(index), sparse[index].label
        labelled = label < UNLABELLED
        assert int(labelled.sum()) == 40
        assert torch.equal(label[labelled], dense[labelled])
        assert (label[-1] == IGNORE).all()
        assert (label[:-1][~labelled[:-1]] == UNLABELLED).all()
    assert sparse.labelled_fraction() == 40 / (23 * 32)
    assert labels(pickle.loads(pickle.dumps(sparse))) == labels(sparse)
    other = "points" if kind != "points" else "scribbles"
    assert supervise(camvid, other, 0, cache).source == f"derived: {other}@1"


def test_own_labels_lie_below_the_folders_of_an_id(data_root, cache):
    toyscapes = ToyscapesMini(data_root, "train")
    paths = publish(toyscapes, "labels-points/train/{}.png", empty=UNLABELLED)
    try:
        assert paths[0] == data_root / "toyscapes_mini/labels-points/train/train/0000.png"
        assert supervise(toyscapes, "points", 0, cache).source.startswith("official: toyscapes_mini/labels-points")
    finally:
        shutil.rmtree(toyscapes.folder / "labels-points")


def test_own_labels_come_before_published_ones(voc, cache):
    published = publish(voc, "point/segcls/{}.png", empty=21)
    assert supervise(voc, "points", 0, cache).items[0].label == published[0]
    own = publish(voc, "labels-points/train/{}.png", empty=UNLABELLED, labelled=7)
    sparse = supervise(voc, "points", 0, cache)
    assert sparse.items[0].label == own[0]
    assert int((sparse.label(0) < UNLABELLED).sum()) == 7


@pytest.mark.parametrize("lost", [1, 3])
def test_own_labels_with_gaps_say_how_many_are_missing(camvid, cache, lost):
    paths = publish(camvid, "labels-points/train/{}.png", empty=UNLABELLED)
    for path in paths[:lost]:
        path.unlink()
    with one_sentence(DataError, f"{lost} of {len(camvid)}", paths[0], camvid.folder / "labels-points"):
        supervise(camvid, "points", 0, cache)


def test_a_folder_of_own_labels_of_another_layout_is_not_passed_over(camvid, cache):
    publish(camvid, "labels-points/{}.png", empty=UNLABELLED)
    with pytest.raises(DataError) as caught:
        supervise(camvid, "points", 0, cache)
    count = len(camvid)
    assert_one_sentence(str(caught.value), f"{count} of {count}", camvid.folder / "labels-points/train")


@pytest.mark.parametrize("wrong", ["id", "size"])
def test_wrong_own_labels_are_named_with_how_to_write_them(camvid, cache, wrong):
    paths = publish(camvid, "labels-points/train/{}.png", empty=UNLABELLED)
    content = np.full((24, 32), 11, np.uint8) if wrong == "id" else np.full((24, 30), UNLABELLED, np.uint8)
    Image.fromarray(content).save(paths[0])
    with pytest.raises(DataError) as caught:
        supervise(camvid, "points", 0, cache)
    what = "id 11" if wrong == "id" else "30x24"
    assert_one_sentence(str(caught.value), paths[0], what, "0 to 10", "254 for unlabelled", "255 for void")
    assert camvid.home not in str(caught.value)


def test_own_labels_that_are_void_where_unlabelled_are_refused(camvid, cache):
    paths = publish(camvid, "labels-points/train/{}.png", empty=IGNORE)
    with one_sentence(DataError, paths[0], "write 254", "data.void_is_unlabelled=true"):
        supervise(camvid, "points", 0, cache)


@pytest.mark.parametrize("kind", ["dense", "none"])
def test_own_labels_are_not_looked_for_where_there_can_be_none(camvid, cache, kind):
    publish(camvid, f"labels-{kind}/train/{{}}.png", empty=UNLABELLED)
    assert not isinstance(supervise(camvid, kind, 0, cache), OfficialLabels)


def test_a_data_set_with_sparse_labels_alone_trains_from_its_own(camvid, cache):
    paths = publish(camvid, "labels-points/train/{}.png", empty=UNLABELLED)
    camvid.items = [Item(item.id, item.image, path) for item, path in zip(camvid.items, paths, strict=True)]
    sparse = supervise(camvid, "points", 0, cache)
    sparse.check_files()
    assert (sparse.label(0) == UNLABELLED).any()


# ---- the contact sheet


def test_the_contact_sheet_is_drawn(camvid, tmp_path):
    out = tmp_path / "sheet.png"
    arguments = ["--dataset", "camvid", "--data-root", str(tmp_path), "--out", str(out), "--images", "2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    with Image.open(out) as sheet:
        assert sheet.width > 9 * 64
        assert len(sheet.getcolors(1 << 20)) > 50


@pytest.mark.parametrize("change", [["--dataset", "camvit"], ["--kind", "scribble"], ["--data-root", "/nowhere"]])
def test_the_contact_sheet_fails_in_one_sentence(camvid, tmp_path, change):
    arguments = ["--dataset", "camvid", "--data-root", str(tmp_path), "--out", str(tmp_path / "sheet.png")]
    done = CliRunner().invoke(main, [*arguments, *change])
    assert done.exit_code == 2
    assert done.output.startswith("Error: ")
    assert_one_sentence(done.output.strip())


@pytest.mark.parametrize("place", ["labels-points/train/{}.png", "point/segcls/{}.png"])
def test_labels_without_a_labelled_pixel_are_refused(voc, cache, place):
    own = place.startswith("labels")
    for path in publish(voc, place, empty=UNLABELLED if own else 21):
        Image.fromarray(np.full((24, 32), UNLABELLED if own else 21, np.uint8)).save(path)
    with one_sentence(DataError, "no labelled pixel"):
        supervise(voc, "points", 0, cache)


@pytest.mark.parametrize("place", ["labels-points/train/{}.png", "point/segcls/{}.png"])
@pytest.mark.parametrize("wrong", ["damaged", "id"])
def test_the_data_sets_own_home_is_not_named_for_sparse_labels(voc, cache, place, wrong):
    path = publish(voc, place, empty=UNLABELLED if place.startswith("labels") else 21)[0]
    if wrong == "damaged":
        path.write_bytes(path.read_bytes()[:40])
    else:
        Image.fromarray(np.full((24, 32), 99, np.uint8)).save(path)
    with one_sentence(DataError, path) as caught:
        supervise(voc, "points", 0, cache)
    assert voc.home not in str(caught.value)
