"""RoadAnomaly: the archive's own list, and labels of 0 and 2."""

from __future__ import annotations

import json

import pytest
import torch

from datasets.base import DataError
from datasets.road_anomaly import RoadAnomaly
from tests.datasets.miniatures import MINIATURES, grey, ids_map, one_sentence
from tests.datasets.real import decode_all, open_real


@pytest.fixture
def archive(tmp_path):
    MINIATURES["road_anomaly"]["archive"](tmp_path)
    return tmp_path


def test_two_is_anomalous(archive):
    data = RoadAnomaly(archive, "test", allow_partial=True)
    assert torch.equal(data.label(0), torch.from_numpy(ids_map([0, 2], 0) == 2).long())


def test_rewritten_labels_do_not_lose_their_anomalies_unnoticed(archive):
    data = RoadAnomaly(archive, "test", allow_partial=True)
    grey(data.items[0].label, [0, 1], 0)
    with pytest.raises(DataError, match="id 1"):
        data.label(0)


def test_the_list_tells_which_images_lack(archive):
    frame = archive / "road_anomaly/RoadAnomaly_jpg/frames/rocks_02.jpg"
    frame.unlink()
    with one_sentence(DataError, "1 of 2", frame):
        RoadAnomaly(archive, "test", allow_partial=True)


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1, 2]"])
def test_a_damaged_list_is_named(archive, content):
    listing = archive / "road_anomaly/RoadAnomaly_jpg/frame_list.json"
    listing.write_text(content)
    with one_sentence(DataError, listing, RoadAnomaly.home):
        RoadAnomaly(archive, "test", allow_partial=True)


def test_without_the_list_the_frames_are_listed(archive):
    listing = archive / "road_anomaly/RoadAnomaly_jpg/frame_list.json"
    wanted = [name.removesuffix(".jpg") for name in json.loads(listing.read_text())]
    listing.unlink()
    assert [i.id for i in RoadAnomaly(archive, "test", allow_partial=True).items] == sorted(wanted)


@pytest.mark.real
def test_real_photographs():
    data = open_real(RoadAnomaly, "test")
    assert len(data) == 60
    assert set(decode_all(data, (720, 1280))) == {0, 1}
    assert all((data.label(i) == 1).any() for i in range(len(data)))


def test_one_is_anomalous_in_the_mirror_that_rewrites_labels(tmp_path):
    MINIATURES["road_anomaly"]["original"](tmp_path)
    data = RoadAnomaly(tmp_path, "test", allow_partial=True)
    assert torch.equal(data.label(0), torch.from_numpy(ids_map([0, 1], 0)).long())
