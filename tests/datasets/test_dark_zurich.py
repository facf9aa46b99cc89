"""Dark Zurich: the nightly validation images, without their references by day."""

from __future__ import annotations

import pytest

from datasets.base import DataError
from datasets.dark_zurich import DarkZurich
from tests.datasets.miniatures import MINIATURES, assert_one_sentence


@pytest.mark.parametrize("variant", MINIATURES["dark_zurich"])
def test_nightly_images_are_listed_and_references_are_not(tmp_path, variant):
    MINIATURES["dark_zurich"][variant](tmp_path)
    items = DarkZurich(tmp_path, "val", allow_partial=True).items
    assert [item.id for item in items] == ["GOPR0356_frame_000321", "GOPR0356_frame_000324"]


def test_hidden_labels_are_refused_not_scored(tmp_path):
    with pytest.raises(DataError) as caught:
        DarkZurich(tmp_path, "test", allow_partial=True)
    assert_one_sentence(str(caught.value), "not published", "use split 'val'")


def test_counts():
    assert {name: split.count for name, split in DarkZurich.splits.items()} == {"val": 50}
