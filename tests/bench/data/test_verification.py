"""``verify`` reads every file and names all that is wrong with a data set, not only the first."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from bench.data.fingerprint import describe
from bench.data.verification import verify
from bench.plugins import registry
from datasets.base import IGNORE, DataError, Dataset, Item, Split, list_files
from datasets.camvid import CamVid
from datasets.class_sets import ANOMALY
from datasets.road_anomaly import RoadAnomaly
from tests.datasets.miniatures import HEIGHT, MINIATURES, VOC_VAL, WIDTH, grey, photo


def reports(plugin, root, *splits, workers=2):
    return verify(plugin, root, splits or plugin.splits, workers)


def small(plugin):
    """The plugin without the release's counts, which no miniature has."""
    counts = {name: Split(None, facts.task, facts.note) for name, facts in plugin.splits.items()}
    return type("Small", (plugin,), {"splits": counts})


class Odd(Dataset):
    name = "odd"
    title = "Odd"
    classes = ANOMALY
    splits: ClassVar = {"test": Split(3, task="anomaly"), "half": Split(None, task="anomaly")}
    train_split = None
    eval_splits = ()

    def find(self) -> list[Item]:
        images = list_files(self.folder / "images", ".png")
        items = [Item(p.stem, p, self.folder / "labels" / p.name) for p in images]
        return items if self.split == "test" else items[:2]


@pytest.fixture
def odd(tmp_path):
    for number, ids in enumerate([[0, 1, 255, 255], [0, 1, 255, 255], [0, 0, 255, 255]]):
        photo(tmp_path / f"odd/images/{number}.png", number)
        grey(tmp_path / f"odd/labels/{number}.png", ids, number)
    return tmp_path


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n in MINIATURES for v in MINIATURES[n]])
def test_whole_miniatures_are_clean(tmp_path, name, variant):
    MINIATURES[name][variant](tmp_path)
    plugin = small(registry.datasets.get(name))
    found = reports(plugin, tmp_path)
    assert [*found] == [*plugin.splits]
    for split, report in found.items():
        assert not report.problems
        data = plugin(tmp_path, split)
        assert report.images == len(data)
        assert report.fingerprint == describe(data).fingerprint


def test_pixels_are_counted_by_class(odd):
    report = reports(Odd, odd)["test"]
    pixels = HEIGHT * WIDTH
    assert report.pixels == {"in-distribution": pixels, "anomaly": pixels // 2, "void": 3 * pixels // 2}
    assert report.sizes == {f"{WIDTH}x{HEIGHT}": 3}


def test_the_digest_is_of_ids_and_every_byte(odd):
    whole = hashlib.sha256()
    for item in Odd(odd, "test").items:
        both = hashlib.sha256(item.image.read_bytes() + item.label.read_bytes())
        whole.update(item.id.encode() + b"\0" + both.digest())
    found = reports(Odd, odd)
    assert found["test"].digest == whole.hexdigest()
    assert found["test"].digest == reports(Odd, odd, workers=1)["test"].digest != found["half"].digest


def test_a_file_of_several_splits_is_read_once(odd, monkeypatch):
    read = []
    real = Odd.decode_image
    monkeypatch.setattr(Odd, "decode_image", lambda self, path: read.append(path) or real(self, path))
    assert reports(Odd, odd)["half"].images == 2
    assert len(read) == 3


def test_all_that_is_wrong_is_named(odd):
    folder = odd / "odd"
    cut = folder / "images/0.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    (folder / "labels/0.png").write_bytes(b"")
    (folder / "labels/1.png").unlink()
    grey(folder / "labels/2.png", [0, 7, 9], 0, size=(5, 7))
    report = reports(Odd, odd)["test"]
    assert report.problems == [
        f"{cut} cannot be decoded (the file is cut off)",
        f"{folder / 'labels/0.png'} cannot be decoded (the file is empty)",
        f"1: there is no {folder / 'labels/1.png'}",
        f"{folder / 'labels/2.png'} holds ids that the data set does not have: 7, 9",
        f"{folder / 'images/2.png'} is 32x24 but its label {folder / 'labels/2.png'} is 7x5",
    ]
    assert report.fingerprint is None, "records fingerprint what is there"
    assert report.pixels["unknown"] == 23


def test_damage_between_header_and_end_is_found(odd):
    path = odd / "odd/images/0.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    Odd(odd, "test").check_files()  # which training does, and which sees nothing
    (problem,) = reports(Odd, odd)["test"].problems
    assert problem.startswith(f"{path} cannot be decoded")


def test_a_label_in_colours_is_a_problem(odd):
    photo(odd / "odd/labels/0.png", 0)
    (problem,) = reports(Odd, odd)["test"].problems
    assert problem == f"{odd / 'odd/labels/0.png'} is uint8 of shape (24, 32, 3), not integers of one channel"


def test_labels_of_many_bits_are_counted(odd):
    class Wide(Odd):
        anomaly_ids: ClassVar = {0: 0, 1000: 1, 255: IGNORE}

    Image.fromarray(np.full((HEIGHT, WIDTH), 1000, dtype=np.uint16)).save(odd / "odd/labels/0.png")
    report = reports(Wide, odd, "half")["half"]
    assert report.problems == [f"{odd / 'odd/labels/1.png'} holds ids that the data set does not have: 1"]
    assert report.pixels["anomaly"] == HEIGHT * WIDTH


def test_a_split_without_images_or_with_too_few_is_a_problem(odd, tmp_path):
    (odd / "odd/images/1.png").unlink()
    assert reports(Odd, odd)["test"].problems == ["split test has 2 images, the release 3"]
    found = reports(Odd, tmp_path / "nowhere")
    assert {*map(tuple, (report.problems for report in found.values()))} == {
        (f"there is no folder {tmp_path / 'nowhere' / 'odd'}",)
    }
    (tmp_path / "empty/odd").mkdir(parents=True)
    found = reports(Odd, tmp_path / "empty")
    assert [report.problems for report in found.values()] == [[f"no image of split {s} was found"] for s in Odd.splits]


def test_a_list_of_images_that_is_missing_is_a_problem_of_its_split_alone(tmp_path):
    devkit = MINIATURES["pascal_voc"]["direct"](tmp_path)
    (devkit / "ImageSets/Segmentation/train.txt").unlink()
    found = reports(small(registry.datasets.get("pascal_voc")), tmp_path)
    assert "train.txt is missing" in found["train"].problems[0]
    assert not found["val"].problems
    assert found["val"].images == len(VOC_VAL)


def test_ids_that_occur_twice_are_a_problem(odd):
    class Twice(Odd):
        def find(self):
            return [item._replace(id="same") for item in super().find()]

    assert "same is the id of several images of split half" in reports(Twice, odd)["half"].problems


def test_pixels_without_label_are_a_problem_in_dense_training_labels_alone(tmp_path):
    MINIATURES["camvid"]["png"](tmp_path)
    plugin = small(CamVid)
    plugin.raw_ids = {**CamVid.raw_ids, 11: 254}
    found = reports(plugin, tmp_path)
    assert found["train"].problems == ["labels of the training split train have pixels without label (254)"]
    assert not found["val"].problems
    assert found["val"].pixels["unlabelled"]


def test_what_is_unusual_is_said_and_no_problem(odd, tmp_path):
    assert reports(Odd, odd)["test"].remarks == ["images without any anomaly: 1 of 3"]
    for number in range(3):
        grey(odd / f"odd/labels/{number}.png", [0, 255, 255], number)
    assert reports(Odd, odd)["half"].remarks == [
        "images without any anomaly: 2 of 2",
        "67% of the pixels are void, the others alone count",
        "in no label: anomaly",
    ]
    MINIATURES["road_anomaly"]["mirror"](tmp_path)
    assert reports(RoadAnomaly, tmp_path)["test"].remarks == [
        "the mirror, not the official archive",
        "an anomaly is 2 in the files",
        "there is no void, so that every pixel counts",
    ]


def test_more_images_than_the_release_has_are_said(odd):
    more = type("More", (Odd,), {"splits": {"test": Split(2, task="anomaly")}})
    assert "1 more images than the release's 2" in reports(more, odd)["test"].remarks


def test_a_data_set_that_makes_itself_is_made(tmp_path):
    class Made(Odd):
        def provide(self):
            photo(self.folder / "images/0.png", 0)
            grey(self.folder / "labels/0.png", [0, 1], 0)

    assert reports(Made, tmp_path, "half")["half"].images == 1


def test_a_split_that_there_is_not_or_that_is_withheld_is_an_error(odd):
    with pytest.raises(DataError, match="has no split 'none'"):
        reports(Odd, odd, "none")
    with pytest.raises(DataError, match="not published"):
        reports(registry.datasets.get("cityscapes"), odd, "test")
