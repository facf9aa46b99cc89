"""How the files of predictions are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.common.errors import UserError
from bench.report.predictions import _named


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a/im.jpg", "b/other.png"], ["im", "other"]),
        (["a/im.jpg", "b/im.png"], ["a-im", "b-im"]),
        (["im 1.jpg", "other/im 1.png"], ["im 1", "other-im 1"]),
        (["../im 1.jpg", "other/im 1.png"], ["im 1", "other-im 1"]),
        (["/im.jpg", "other/im.png"], ["im", "other-im"]),
    ],
)
def test_a_folder_is_put_before_equal_names_where_there_is_one(images, names):
    assert _named([*map(Path, images)], "png", "") == names


@pytest.mark.parametrize("images", [["im.jpg", "im.png"], ["a/im.jpg", "c/a/im.png"], ["im.jpg", "./im.png"]])
def test_names_that_stay_equal_are_refused(images):
    with pytest.raises(UserError, match="give every image another name"):
        _named([*map(Path, images)], "png", "")
