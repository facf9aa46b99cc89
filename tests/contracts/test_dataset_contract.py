"""What every dataset plugin keeps, whoever wrote it.

A data set takes part by being in the ``datasets`` package. It is exercised on its miniatures, which
``tests/datasets/miniatures.py`` writes, or on what it renders itself where its name ends in ``_mini``.
"""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from bench.scoring.protocols.cross_domain import Mapping
from datasets.base import IGNORE, UNLABELLED, ClassMap, DataError, Dataset, MissingData
from tests.datasets.miniatures import MINIATURES, assert_one_sentence, grey, one_sentence


def plugins() -> dict[str, type[Dataset]]:
    found: dict[str, type[Dataset]] = {}
    for info in pkgutil.iter_modules(datasets.__path__):
        module = importlib.import_module(f"datasets.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Dataset) and not inspect.isabstract(value):
                found[value.name] = value
    return found


PLUGINS = plugins()
UNCONFIRMED = {"ade_ood", "idd", "street_hazards"}
"""Beside Lost and Found: data sets of which licence or count could not be read at the source."""
SELF_MADE = {name for name, plugin in PLUGINS.items() if plugin.provide is not Dataset.provide}
WRITTEN = [(name, variant) for name in MINIATURES for variant in MINIATURES[name]]
CASES = [
    *((name, variant, split) for name, variant in WRITTEN for split in PLUGINS[name].splits),
    *((name, "rendered", split) for name in SELF_MADE if name.endswith("_mini") for split in PLUGINS[name].splits),
]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The data root of a miniature, written once."""
    made: dict[tuple[str, str], Path] = {}

    def root(name: str, variant: str) -> Path:
        if (name, variant) not in made:
            made[name, variant] = tmp_path_factory.mktemp(f"{name}-{variant}")
            if variant != "rendered":
                MINIATURES[name][variant](made[name, variant])
        return made[name, variant]

    return root


@pytest.fixture
def own_copy(roots, tmp_path):
    """A copy of a miniature that a test may damage."""

    def copy(name: str, variant: str) -> Path:
        shutil.copytree(roots(name, variant), tmp_path, dirs_exist_ok=True)
        return tmp_path

    return copy


def test_every_data_set_can_be_exercised():
    assert PLUGINS
    assert set(PLUGINS) - SELF_MADE == set(MINIATURES)


@pytest.mark.parametrize("name", PLUGINS)
class TestFacts:
    def test_says_what_it_is_and_where_to_get_it(self, name):
        plugin = PLUGINS[name]
        assert name.isidentifier()
        assert name == name.lower()
        assert plugin.title
        assert inspect.getdoc(plugin)
        assert inspect.getdoc(inspect.getmodule(plugin))
        if name not in SELF_MADE:
            card = inspect.getdoc(inspect.getmodule(plugin))
            assert all(f"\n{heading}: " in card for heading in ("Source", "Licence", "Labels", "Pitfalls"))
            assert plugin.home.startswith("http")
            assert plugin.licence
            assert plugin.citation
            assert plugin.layout

    def test_what_could_not_be_confirmed_is_not_stated(self, name):
        card = f"{inspect.getdoc(inspect.getmodule(PLUGINS[name]))} {PLUGINS[name].licence}"
        assert ("unconfirmed" in card) == (name.startswith("lost_and_found") or name in UNCONFIRMED)

    def test_layout_reads_within_a_sentence(self, name):
        assert_one_sentence(PLUGINS[name].layout.rstrip("."))
        assert_one_sentence(PLUGINS[name].home)

    def test_classes_have_distinct_names_and_byte_colours(self, name):
        classes = PLUGINS[name].classes
        assert 2 <= len(classes) <= 254, "254 and 255 are reserved"
        assert all(n == n.strip() and n for n in classes.names)
        assert all(len(c) == 3 and all(0 <= v <= 255 for v in c) for c in classes.colours)

    def test_splits_are_consistent(self, name):
        plugin = PLUGINS[name]
        assert plugin.splits
        assert not set(plugin.withheld) & set(plugin.splits)
        for split in (plugin.train_split, plugin.selection_split, *plugin.eval_splits):
            if split is not None:
                assert plugin.splits[split].task == "segmentation"
        assert plugin.train_split not in plugin.eval_splits
        assert len(set(plugin.eval_splits)) == len(plugin.eval_splits)
        if plugin.train_split is not None:
            assert plugin.eval_splits, "what is trained on must also be measured"
            assert plugin.selection_split != plugin.eval_splits[0], "selection would spoil the headline"

    def test_targets_exist_and_class_maps_fit(self, name):
        plugin = PLUGINS[name]
        for target in plugin.cross_domain:
            other = PLUGINS[target.dataset]
            assert other.splits[target.split].task == "segmentation"
            if target.class_map is None:
                assert other.classes == plugin.classes
                continue
            assert (target.class_map.source, target.class_map.target) == (
                plugin.classes.name,
                other.classes.name,
            )
            assert len(target.class_map.table) == len(plugin.classes)
            assert set(target.class_map.table) <= {*range(len(other.classes)), IGNORE}
            assert target.class_map.note, "a class map says where it comes from"
        for target in plugin.anomaly:
            assert PLUGINS[target.dataset].splits[target.split].task == "anomaly"
            assert target.class_map is None

    def test_label_tables_lead_to_training_ids(self, name):
        plugin = PLUGINS[name]
        allowed = {*range(len(plugin.classes)), IGNORE, UNLABELLED}
        if plugin.raw_ids is not None:
            assert set(plugin.raw_ids.values()) <= allowed
            assert set(range(len(plugin.classes))) <= set(plugin.raw_ids.values()), "a class without a raw id"
        assert set(plugin.anomaly_ids.values()) <= {0, 1, IGNORE}

    def test_absent_data_is_one_sentence(self, name, tmp_path):
        plugin = PLUGINS[name]
        if name in SELF_MADE:
            pytest.skip("makes its own data")
        for root in (tmp_path / "nowhere", tmp_path):
            with one_sentence(MissingData, name, root, plugin.home, "--data-root", "BENCH_DATA"):
                plugin(root, next(iter(plugin.splits)))

    def test_empty_folder_is_one_sentence(self, name, tmp_path):
        plugin = PLUGINS[name]
        if name in SELF_MADE:
            pytest.skip("makes its own data")
        folder = plugin.unopened(tmp_path, next(iter(plugin.splits))).folder
        folder.mkdir()
        with one_sentence(DataError, name, folder, plugin.home) as caught:
            plugin(tmp_path, next(iter(plugin.splits)))
        assert not isinstance(caught.value, MissingData), "a broken download is not to be skipped"

    def test_unknown_and_withheld_splits_are_refused(self, name, tmp_path):
        plugin = PLUGINS[name]
        with one_sentence(DataError, name, "no-such-split", *plugin.splits) as caught:
            plugin(tmp_path, "no-such-split")
        for split in plugin.withheld:
            with pytest.raises(DataError, match="not published") as caught:
                plugin(tmp_path, split)
            assert_one_sentence(str(caught.value), name, split)


@pytest.mark.parametrize(("name", "variant", "split"), CASES)
class TestSamples:
    def test_samples_keep_the_contract(self, roots, name, variant, split):
        data = PLUGINS[name](roots(name, variant), split, allow_partial=True)
        assert len(data) > 0
        names = [item.id for item in data.items]
        assert len(set(names)) == len(names)
        assert data.items == sorted(data.items)
        anomaly = data.task == "anomaly"
        allowed = {0, 1, IGNORE} if anomaly else {*range(len(data.classes)), IGNORE, UNLABELLED}
        for index in range(min(len(data), 3)):
            image, label, name_ = data[index]
            assert image.dtype == label.dtype == torch.uint8
            assert image.ndim == 3
            assert image.shape[0] == 3
            assert image.shape[1:] == label.shape
            assert image.is_contiguous()
            assert set(label.unique().tolist()) <= allowed
            assert name_ == names[index]

    def test_reading_twice_gives_the_same(self, roots, name, variant, split):
        data = PLUGINS[name](roots(name, variant), split, allow_partial=True)
        again = pickle.loads(pickle.dumps(PLUGINS[name](roots(name, variant), split, allow_partial=True)))
        assert data.items == again.items
        assert torch.equal(data[0].image, again[0].image)
        assert torch.equal(data[0].label, again[0].label)
        assert torch.equal(data[0].label, data.label(0))

    def test_whole_files_pass_the_check(self, roots, name, variant, split):
        PLUGINS[name](roots(name, variant), split, allow_partial=True).check_files()


@pytest.mark.parametrize(("name", "variant"), WRITTEN)
class TestWrittenMiniatures:
    def test_every_class_occurs(self, roots, name, variant):
        """The encodings of the miniatures are complete, so that a table with a hole in it would be
        noticed."""
        plugin = PLUGINS[name]
        split = plugin.train_split or next(iter(plugin.splits))
        data = plugin(roots(name, variant), split, allow_partial=True)
        seen = set(torch.cat([data.label(i).flatten() for i in range(len(data))]).unique().tolist())
        assert set(range(len(data.classes))) <= seen

    def test_an_incomplete_split_is_refused_unless_allowed(self, roots, name, variant):
        plugin = PLUGINS[name]
        for split, facts in plugin.splits.items():
            with one_sentence(DataError, name, facts.count, "allow_partial", plugin.home):
                plugin(roots(name, variant), split)

    def damaged(self, own_copy, name, variant):
        plugin = PLUGINS[name]
        root = own_copy(name, variant)
        split = plugin.train_split or next(iter(plugin.splits))
        return lambda: plugin(root, split, allow_partial=True)

    def test_an_unpaired_file_is_named(self, own_copy, name, variant):
        make = self.damaged(own_copy, name, variant)
        item = make().items[0]
        if name == "fishyscapes_lost_and_found" and variant in ("direct", "nested"):
            item.image.unlink()  # its archive is one of labels, the images come from elsewhere
        else:
            item.label.unlink()
            for other_kind in item.label.parent.glob(f"{Path(item.id).name}_*.png"):
                other_kind.unlink()
        with pytest.raises(DataError, match=r"have no (label|image)") as caught:
            make()
        assert_one_sentence(str(caught.value), name, item.id, PLUGINS[name].home)

    def test_a_truncated_image_is_named(self, own_copy, name, variant):
        make = self.damaged(own_copy, name, variant)
        path = make().items[-1].image
        path.write_bytes(path.read_bytes()[:-40])
        for read in (lambda data: data.check_files(), lambda data: data[len(data) - 1]):
            with one_sentence(DataError, name, path, PLUGINS[name].home):
                read(make())

    def test_an_empty_label_is_named(self, own_copy, name, variant):
        make = self.damaged(own_copy, name, variant)
        path = make().items[-1].label
        path.write_bytes(b"")
        for read in (lambda data: data.check_files(), lambda data: data[len(data) - 1]):
            with one_sentence(DataError, name, path, PLUGINS[name].home):
                read(make())

    def test_a_label_of_another_size_is_named(self, own_copy, name, variant):
        make = self.damaged(own_copy, name, variant)
        item = make().items[png_labels(make())[-1]]
        grey(item.label, [0], 0, size=(5, 7))
        with one_sentence(DataError, item.image, item.label, "7x5"):
            make().check_files()
        data = make()
        with one_sentence(DataError, item.image, item.label, "7x5"):
            data[data.items.index(item)]

    def test_an_unknown_id_is_named_with_its_file(self, own_copy, name, variant):
        make = self.damaged(own_copy, name, variant)
        data = make()
        if name in ("camvid_32", "camvid_11"):
            pytest.skip("its labels are colours, which have a test of their own")
        index = png_labels(data)[0]
        item = data.items[index]
        unknown = next(i for i in range(200, 255) if i not in data.label_ids())
        with Image.open(item.label) as image:
            raw = np.array(image)
        raw[0, 0] = unknown
        Image.fromarray(raw).save(item.label)
        with one_sentence(DataError, name, item.label, f"id {unknown}", PLUGINS[name].home):
            make()[index]


def png_labels(data: Dataset) -> list[int]:
    """The indices of labels that this module can write."""
    found = [i for i, item in enumerate(data.items) if item.label.suffix == ".png"]
    return found or pytest.skip("its labels are no images, and have tests of their own")


CLASS_MAPS = {
    f"{target.class_map.source} to {target.class_map.target}": (target.class_map, plugin, PLUGINS[target.dataset])
    for plugin in PLUGINS.values()
    for target in plugin.cross_domain
    if target.class_map is not None
}


@pytest.mark.parametrize("pair", CLASS_MAPS)
def test_a_class_map_is_looked_up_once_and_keeps_void(pair):
    """Each class goes where its own row says, though the target's ids are ids of the source and void stays void."""
    class_map, source, target = CLASS_MAPS[pair]
    labels = torch.arange(256).view(16, 16)
    mapped = Mapping(class_map, source.classes, target.classes).labels(labels).flatten().tolist()
    assert mapped[: len(source.classes)] == list(class_map.table)
    assert {*mapped[len(source.classes) :]} == {IGNORE}
    assert set(class_map.table) != {IGNORE}


def test_every_source_that_has_other_classes_than_its_target_has_a_map():
    """The pairs that the papers on generalisation, MSeg and Indian roads report, and this suite's own."""
    assert {*CLASS_MAPS} == {
        "camvid-11 to idd-lite-7",
        "cityscapes-19 to camvid-11",
        "cityscapes-19 to idd-26",
        "cityscapes-19 to idd-lite-7",
        "synthia-16 to cityscapes-19",
        *(
            f"mseg-194 to {target}"
            for target in ("voc-21", "pascal-context-60", "camvid-11", "cityscapes-19", "scannet-20")
        ),
    }


def mapped_in_several_ways(class_maps: Iterable[ClassMap]) -> list[tuple[str, str]]:
    tables = defaultdict(set)
    for class_map in class_maps:
        tables[class_map.source, class_map.target].add(class_map.table)
    return [pair for pair, stated in tables.items() if len(stated) > 1]


def test_class_maps_of_one_pair_agree():
    """A pair of class sets is mapped in one way, whichever data set states it."""
    stated = [t.class_map for plugin in PLUGINS.values() for t in plugin.cross_domain if t.class_map is not None]
    assert mapped_in_several_ways(stated) == []
    other = replace(stated[0], table=stated[0].table[::-1])
    assert mapped_in_several_ways([*stated, other]) == [(other.source, other.target)]
