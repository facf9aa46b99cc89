"""``bench data prepare``: what it makes reads as what it was made of, whole or not at all, and archives are checked."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest

from bench.data import preparation
from bench.plugins import registry
from datasets.base import DataError, Split
from datasets.conversion import Conversion
from tests.datasets.miniatures import MINIATURES, assert_one_sentence, one_sentence

CONVERTED = {
    "coco_stuff_10k": ("official", ["annotations/*.mat"]),
    "pascal_context": ("official", ["trainval"]),
    "pascal_context_60": ("official", ["trainval"]),
    "pascal_voc_aug": ("sbd", ["VOCaug"]),
    "idd": ("polygons", ["IDD_Segmentation/gtFine"]),
    "fishyscapes_static": ("archive", ["fs_val_v3", "../cityscapes"]),
    "fishyscapes_static_v2": ("direct", ["*_rgb.npz", "../cityscapes"]),
}
"""By data set: its miniature as published, and what is needed no more once it was converted."""


def small(name):
    """The plugin without the release's counts, which no miniature has."""
    plugin = registry.datasets.get(name)
    counts = {split: Split(None, facts.task) for split, facts in plugin.splits.items()}
    return type("Small", (plugin,), {"splits": counts})


def contents(plugin, root):
    return {
        (split, sample.id): (sample.image.tolist(), sample.label.tolist())
        for split in plugin.splits
        for data in [plugin(root, split)]
        for sample in map(data.__getitem__, range(len(data)))
    }


@pytest.fixture(params=CONVERTED)
def official(request, tmp_path):
    """A plugin, its root, and what is needed no more afterwards."""
    variant, needless = CONVERTED[request.param]
    MINIATURES[request.param][variant](tmp_path)
    return small(request.param), tmp_path, needless


def run(plugin, root):
    return [*preparation.prepare(plugin, root, workers=2)]


def test_what_is_made_reads_as_what_it_was_made_of_and_needs_it_no_more(official):
    plugin, root, needless = official
    before = contents(plugin, root)
    assert any(line.startswith("made ") for line in run(plugin, root))
    folder = plugin(root, next(iter(plugin.splits))).folder
    for pattern in needless:
        found = [folder / pattern] if (folder / pattern).exists() else [*folder.glob(pattern)]
        assert found
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert contents(plugin, root) == before
    assert all(item.label.suffix == ".png" for item in plugin(root, next(iter(plugin.splits))).items)


def test_a_second_time_nothing_is_left_to_do(official):
    plugin, root, _ = official
    run(plugin, root)
    lines = run(plugin, root)
    assert lines == [line for line in lines if "are ready in" in line]


def test_a_damaged_file_leaves_the_data_set_as_it_was(official):
    plugin, root, _ = official
    split = next(iter(plugin.splits))
    damaged = next(
        path
        for item in plugin(root, split).items
        for path in (item.label, item.image)
        if path.suffix in (".mat", ".npz", ".json")
    )
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with one_sentence(DataError, damaged):
        run(plugin, root)
    damaged.write_bytes(whole)
    assert not contents(plugin, root).keys() ^ {(s, item.id) for s in plugin.splits for item in plugin(root, s).items}
    run(plugin, root)


def test_a_conversion_that_was_cut_short_goes_on_where_it_stopped(tmp_path):
    asked = []

    def content(number):
        asked.append(number)
        if number == 2 and asked.count(2) == 1:
            raise OSError(28, "No space left on device")
        return bytes([number])

    conversion = Conversion(tmp_path / "made", {f"{n}": lambda n=n: content(n) for n in range(4)})
    with pytest.raises(OSError, match="No space"):
        preparation.make(conversion, workers=1)
    assert not conversion.folder.exists()
    preparation.make(conversion, workers=1)
    assert [(conversion.folder / f"{n}").read_bytes() for n in range(4)] == [b"\0", b"\1", b"\2", b"\3"]
    assert [asked.count(n) for n in range(3)] == [1, 1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {"made", ".made.lock"}


def test_an_archive_is_compared_with_the_known_sum(tmp_path):
    plugin = small("street_hazards")
    MINIATURES["street_hazards"]["official"](tmp_path)
    (tmp_path / "street_hazards/streethazards_test.tar").write_bytes(b"half an archive")
    with pytest.raises(DataError) as caught:
        run(plugin, tmp_path)
    assert_one_sentence(
        str(caught.value), "streethazards_test.tar", plugin.home, *plugin.archives["streethazards_test.tar"]
    )
    plugin.archives = {"streethazards_test.tar": hashlib.md5(b"half an archive", usedforsecurity=False).hexdigest()}
    assert run(plugin, tmp_path)[0] == "streethazards_test.tar is the official archive"


def test_splits_that_are_not_there_are_told_and_no_split_at_all_is_an_error(tmp_path):
    plugin = small("street_hazards")
    with one_sentence(DataError, "street_hazards", plugin.home):
        run(plugin, tmp_path)
    MINIATURES["street_hazards"]["official"](tmp_path)
    shutil.rmtree(tmp_path / "street_hazards/test")
    lines = run(plugin, tmp_path)
    assert [line.partition(":")[0] for line in lines] == ["train", "val", "not there"]
    assert_one_sentence(lines[-1], "no image of split 'test'")


def test_labels_of_sbd_are_written_as_ids_and_those_of_voc_byte_by_byte(tmp_path):
    MINIATURES["pascal_voc_aug"]["sbd"](tmp_path)
    plugin = small("pascal_voc_aug")
    before = plugin(tmp_path, "train")
    own = next(item for item in before.items if item.label.suffix == ".png")
    index, added = next((i, item) for i, item in enumerate(before.items) if item.label.suffix == ".mat")
    label = before.label(index)
    run(plugin, tmp_path)
    folder = tmp_path / "pascal_voc/VOCdevkit/VOC2012/SegmentationClassAug"
    assert (folder / f"{own.id}.png").read_bytes() == own.label.read_bytes()
    assert np.array_equal(plugin(tmp_path, "train").decode_label(folder / f"{added.id}.png"), label)


def test_known_sums_are_md5():
    for name in registry.datasets.names():
        for archive, md5 in registry.datasets.get(name).archives.items():
            assert len(bytes.fromhex(md5)) == 16, archive
