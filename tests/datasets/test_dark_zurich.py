"""Dark Zurich: the nightly validation images, without their references by day."""

from __future__ import annotations

import pytest

from datasets.dark_zurich import DarkZurich
from tests.datasets.miniatures import MINIATURES


@pytest.mark.parametrize("variant", MINIATURES["dark_zurich"])
def test_nightly_images_are_listed_and_references_are_not(tmp_path, variant):
    MINIATURES["dark_zurich"][variant](tmp_path)
    items = DarkZurich(tmp_path, "val", allow_partial=True).items
    assert [item.id for item in items] == ["GOPR0356_frame_000321", "GOPR0356_frame_000324"]
