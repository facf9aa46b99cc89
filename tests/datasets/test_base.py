"""The shared half of every data set: tables, decoding, refusing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datasets.base import (
    IGNORE,
    UNLABELLED,
    ClassMap,
    ClassSet,
    DataError,
    Dataset,
    Item,
    MissingData,
    Split,
    list_files,
)
from tests.datasets.miniatures import assert_one_sentence, grey, one_sentence, photo, png

THREE = ClassSet("three", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
TWO = ClassSet("two", ("x", "y"), ((0, 0, 0), (1, 1, 1)))
TABLE = {-1: IGNORE, 0: 2, 1: 1, 2: 0, 7: 2, 40: 1, 255: IGNORE, 300: 0}


class Plain(Dataset):
    """Files named by the test."""

    name = "plain"
    title = "Plain"
    classes = THREE
    splits: ClassVar = {"train": Split(2), "any": Split(None), "odd": Split(None, task="anomaly")}
    home = "https://example.org/plain"
    layout = "images/N.png with labels/N.png"
    raw_ids: ClassVar = TABLE

    def find(self) -> list[Item]:
        return [
            Item(p.stem, p, self.folder / "labels" / f"{p.stem}.png")
            for p in list_files(self.folder / "images", ".png", ".jpg")
        ]


@pytest.fixture
def plain(tmp_path) -> Dataset:
    photo(tmp_path / "plain/images/0.png", 0)
    grey(tmp_path / "plain/labels/0.png", [0, 1, 2, 7], 0)
    return Plain(tmp_path, "any")


@pytest.fixture(scope="module")
def mapper(tmp_path_factory) -> Dataset:
    root = tmp_path_factory.mktemp("mapper")
    photo(root / "plain/images/0.png", 0)
    grey(root / "plain/labels/0.png", [0], 0)
    return Plain(root, "any")


SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)


@given(raw=hnp.arrays(np.int32, SHAPES, elements=st.sampled_from(sorted(TABLE))))
def test_map_ids_looks_each_pixel_up_once(mapper, raw):
    """0 becomes 2 and 2 becomes 0: replacing ids one after the other would mix them up."""
    mapped = mapper.map_ids(raw, Path("label.png"))
    assert mapped.dtype == torch.uint8
    assert mapped.tolist() == [[TABLE[v] for v in row] for row in raw.tolist()]


@given(
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.int64]),
    raw=hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 2, 7, 40, 255])),
)
def test_map_ids_does_not_depend_on_the_integer_type(mapper, dtype, raw):
    assert torch.equal(mapper.map_ids(raw.astype(dtype), Path("l.png")), mapper.map_ids(raw, Path("l.png")))


@given(
    raw=hnp.arrays(np.int64, SHAPES, elements=st.sampled_from(sorted(TABLE))),
    unknown=st.integers(-(2**40), 2**40).filter(lambda v: v not in TABLE),
    data=st.data(),
)
def test_map_ids_names_an_unknown_id_and_its_file(mapper, raw, unknown, data):
    row, column = (data.draw(st.integers(0, n - 1)) for n in raw.shape)
    raw[row, column] = unknown
    with one_sentence(DataError, "some/label", f"id {unknown}"):
        mapper.map_ids(raw, Path("some/label"))


@given(raw=hnp.arrays(np.uint8, SHAPES))
def test_map_ids_of_bytes_either_maps_or_refuses(mapper, raw):
    known = set(raw.flatten().tolist()) <= set(TABLE)
    try:
        mapped = mapper.map_ids(raw, Path("l"))
    except DataError:
        assert not known
    else:
        assert known
        assert set(mapped.flatten().tolist()) <= {0, 1, 2, IGNORE}


@pytest.mark.parametrize("raw", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)])
def test_map_ids_refuses_colours_and_fractions(mapper, raw):
    with pytest.raises(DataError, match="single-channel") as caught:
        mapper.map_ids(raw, Path("colour"))
    assert_one_sentence(str(caught.value), "colour")


def test_without_a_table_files_hold_training_ids(plain):
    plain.raw_ids = None
    assert plain.label_ids() == {0: 0, 1: 1, 2: 2, IGNORE: IGNORE}


def test_anomaly_splits_have_a_table_of_their_own(tmp_path):
    photo(tmp_path / "plain/images/0.png", 0)
    grey(tmp_path / "plain/labels/0.png", [0, 1, 255], 0)
    assert set(Plain(tmp_path, "odd").label(0).unique().tolist()) == {0, 1, IGNORE}


class TestClassMaps:
    def test_by_name_builds_one_row_per_source_class(self):
        made = ClassMap.by_name(THREE, TWO, {"a": "y", "c": "x"}, note="why")
        assert made == ClassMap("three", "two", (1, IGNORE, 0), "why")

    @pytest.mark.parametrize("pairs", [{"z": "x"}, {"a": "z"}])
    def test_by_name_refuses_unknown_classes(self, pairs):
        with pytest.raises(ValueError, match="z"):
            ClassMap.by_name(THREE, TWO, pairs)

    @pytest.mark.parametrize(("names", "colours"), [(("a", "a"), ((0, 0, 0), (1, 1, 1))), (("a", "b"), ((0, 0, 0),))])
    def test_class_sets_need_distinct_names_and_a_colour_for_each(self, names, colours):
        with pytest.raises(ValueError, match="distinct"):
            ClassSet("bad", names, colours)


class TestFiles:
    def test_list_files_is_sorted_and_leaves_hidden_files_out(self, tmp_path):
        for name in ("b.png", "a.PNG", "._a.png", "c.txt"):
            (tmp_path / name).touch()
        assert [p.name for p in list_files(tmp_path, ".png")] == ["a.PNG", "b.png"]
        assert list_files(tmp_path / "nowhere", ".png") == []

    def test_grey_and_transparent_images_become_rgb(self, plain):
        for mode in ("L", "RGBA", "P", "LA"):
            Image.new(mode, (32, 24), 0).save(plain.items[0].image)
            assert plain[0].image.shape == (3, 24, 32)

    def test_palette_labels_are_indices(self, plain):
        image = Image.frombytes("P", (32, 24), bytes([7]) * 768)
        image.putpalette([200, 100, 50] * 256)
        image.save(plain.items[0].label)
        assert plain.label(0).unique().tolist() == [TABLE[7]]

    @pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
    def test_grey_levels_of_every_depth_are_ids(self, plain, bits):
        """Pillow stretches the levels of 2 and 4 bit files over 0..255, which would turn id 2 into 170 or
        34."""
        level = min(2, 2**bits - 1)
        plain.items[0].label.write_bytes(flat_png(bits, level, 32, 24))
        assert plain.label(0).unique().tolist() == [TABLE[level]]

    def test_sixteen_bit_ids_beyond_a_byte(self, plain):
        plain.items[0].label.write_bytes(flat_png(16, 300, 32, 24))
        assert plain.label(0).unique().tolist() == [TABLE[300]]

    def test_colour_labels_are_refused(self, plain):
        photo(plain.items[0].label, 0)
        with pytest.raises(DataError, match="single-channel"):
            plain[0]

    @pytest.mark.parametrize("content", [b"", b"<html>Not found.</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
    def test_what_is_no_image_is_named(self, plain, content):
        for which in ("image", "label"):
            path = getattr(plain.items[0], which)
            whole = path.read_bytes()
            path.write_bytes(content)
            for read in (lambda: plain[0], plain.check_files):
                with one_sentence(DataError, path, plain.home):
                    read()
            path.write_bytes(whole)


class TestRefusals:
    def test_says_what_the_folder_holds(self, tmp_path):
        (tmp_path / "plain/pictures").mkdir(parents=True)
        with one_sentence(DataError, "pictures", Plain.layout, tmp_path / "plain"):
            Plain(tmp_path, "any")

    def test_counts_against_the_release(self, tmp_path, plain):
        with one_sentence(DataError, "2 images but 1", "allow_partial"):
            Plain(tmp_path, "train")
        assert len(Plain(tmp_path, "train", allow_partial=True)) == 1

    def test_partial_does_not_mean_empty(self, tmp_path):
        with pytest.raises(DataError):
            Plain(tmp_path, "train", allow_partial=True)

    def test_partial_does_not_mean_unlabelled(self, tmp_path, plain):
        photo(tmp_path / "plain/images/1.png", 1)
        with one_sentence(DataError, "1 of 2", tmp_path / "plain/labels/1.png"):
            Plain(tmp_path, "train", allow_partial=True)


def flat_png(bits: int, level: int, width: int, height: int) -> bytes:
    """A greyscale PNG of one level at any bit depth."""
    row = int(f"{level:0{bits}b}" * width, 2).to_bytes(width * bits // 8, "big")
    return png(width, height, bits, 0, (b"\0" + row) * height)


class Partial(Plain):
    """Dense labels in a file format that also knows unlabelled pixels."""

    name = "partial"
    raw_ids: ClassVar = {0: 0, 1: 1, 2: 2, 254: UNLABELLED, 255: IGNORE}

    def find(self) -> list[Item]:
        return [item._replace(id=f"town/{item.id}") for item in super().find()]


@pytest.fixture
def partial(tmp_path):
    for name in "01":
        photo(tmp_path / f"partial/images/{name}.png", 0)
    grey(tmp_path / "partial/labels/0.png", [0, 1, 2, 255], 0)
    grey(tmp_path / "partial/labels/1.png", [0, 1, 2, 254], 0)
    return tmp_path


def test_unlabelled_pixels_in_dense_training_labels_are_refused_with_their_place(partial):
    data = Partial(partial, "train")
    assert set(data.label(0).unique().tolist()) == {0, 1, 2, IGNORE}
    for read in (data.label, data.__getitem__):
        with pytest.raises(DataError) as caught:
            read(1)
        place = partial / "partial/labels-KIND/train/town/1.png"
        assert_one_sentence(str(caught.value), data.items[1].label, place, "--supervision KIND", "254", "255")


def test_unlabelled_pixels_outside_the_training_split_are_kept(partial):
    assert (Partial(partial, "any").label(1) == UNLABELLED).any()


@pytest.mark.parametrize("called", ["Plain", "PLAIN", "plain_", "Pl-ain"])
def test_a_folder_may_be_written_otherwise(tmp_path, called):
    photo(tmp_path / "data" / called / "images/0.png", 0)
    grey(tmp_path / "data" / called / "labels/0.png", [0], 0)
    (tmp_path / "data/plain2").mkdir()
    (tmp_path / "first").mkdir()
    data = Plain((tmp_path / "first", tmp_path / "data"), "any")
    assert data.folder == tmp_path / "data" / called
    assert data.beside("p_lain") == data.folder
    exact = tmp_path / "data/plain"
    shutil.copytree(data.folder, exact)
    assert Plain(tmp_path / "data", "any").folder == exact


def test_of_several_roots_the_first_that_has_the_data_set_counts(plain, tmp_path):
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    found = Plain((lacking, plain.root), "any")
    assert (found.root, found.items) == (plain.root, plain.items)
    assert Plain((plain.root, lacking), "any").items == plain.items


def test_a_data_set_that_no_root_has_is_one_sentence_with_all_of_them(tmp_path):
    roots = (tmp_path / "a", tmp_path / "b")
    with one_sentence(MissingData, f"the data root {roots[0]} or {roots[1]} does not exist"):
        Plain(roots, "any")
    roots[1].mkdir()
    with one_sentence(MissingData, f"{roots[0] / 'plain'} or {roots[1] / 'plain'} does not exist"):
        Plain(roots, "any")
