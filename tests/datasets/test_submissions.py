"""What servers with hidden labels take: official ids, by independently written tables."""

from __future__ import annotations

import pytest

from bench.plugins import registry
from datasets.base import IGNORE, DataError
from tests.datasets.miniatures import one_sentence

LABEL_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
"""Cityscapes' labelIds of its training ids in their order."""

SERVERS = {
    "cityscapes": (LABEL_IDS, 0, "{name}.png"),
    "kitti_semantics": (LABEL_IDS, 0, "{name}.png"),
    "wilddash": (LABEL_IDS, 0, "{name}.png"),
    "acdc": (range(19), 255, "{name}.png"),
    "dark_zurich": (range(19), 255, "{name}.png"),
    "bdd100k": (range(19), 255, "{name}.png"),
    "ade20k": (range(1, 151), 0, "{name}.png"),
    "mapillary_vistas": (range(65), 65, "{name}.png"),
    "idd": (range(26), 255, "{folder}/{name}_gtFine_labellevel3Ids.png"),
    "pascal_voc": (range(21), 255, "results/VOC2012/Segmentation/comp6_test_cls/{name}.png"),
    "pascal_voc_aug": (range(21), 255, "results/VOC2012/Segmentation/comp6_test_cls/{name}.png"),
}


def served():
    return {name for name in registry.datasets.names() if registry.datasets.get(name).submission is not None}


def test_these_have_a_server_that_takes_label_images():
    assert served() == {*SERVERS}


@pytest.mark.parametrize("name", SERVERS)
def test_ids_go_back_to_the_official_ones(name):
    plugin = registry.datasets.get(name)
    ids, void, file = SERVERS[name]
    official = plugin.official_ids()
    assert [official[i] for i in range(len(plugin.classes))] == [*ids]
    assert official.get(IGNORE, IGNORE) == void
    assert plugin.submission.file == file


def test_of_several_ids_that_mean_one_class_the_first_is_official():
    plugin = type("Many", (registry.datasets.get("ade20k"),), {"raw_ids": {9: 0, 3: 0, -1: 1, 4: 1, 2: IGNORE}})
    assert plugin.official_ids() == {0: 9, 1: 4, IGNORE: 2}


@pytest.mark.parametrize("name", SERVERS)
def test_the_refusal_of_hidden_labels_says_what_writes_them(name, tmp_path):
    plugin = registry.datasets.get(name)
    for split in plugin.withheld:
        with one_sentence(DataError, "submit predictions", f"bench predict --format server --dataset {name}"):
            plugin(tmp_path, split)
    assert plugin.withheld


@pytest.mark.parametrize("name", ["road_anomaly_21", "road_obstacle_21"])
def test_segment_me_if_you_can_takes_scores(name, tmp_path):
    with pytest.raises(DataError, match="bench predict --format hdf5"):
        registry.datasets.get(name)(tmp_path, "test")
