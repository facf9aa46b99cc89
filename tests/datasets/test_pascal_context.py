"""PASCAL-Context: 59 classes with and without background, in MATLAB files of 459 ids and in their conversion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from datasets.base import IGNORE, DataError
from datasets.pascal_context import IDS, PascalContext, PascalContext60
from tests.datasets.miniatures import MINIATURES, one_sentence

DETAIL = [
    0, 2, 259, 260, 415, 324, 9, 258, 144, 18, 19, 22, 23, 397, 25, 284, 158, 159, 416, 33, 162, 420, 454, 295, 296,
    427, 44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72, 458, 34, 207, 80, 355, 85, 347, 220,
    349, 360, 98, 187, 104, 105, 366, 189, 368, 113, 115,
]  # fmt: skip
"""The ids that the detail API, which converters are built on, keeps of the 459: background and the classes."""


def test_ids_are_those_that_converters_keep_and_names_are_in_alphabetical_order():
    assert [0, *IDS.values()] == sorted(DETAIL)
    assert [*IDS] == sorted(IDS)
    assert (IDS["aeroplane"], IDS["person"], IDS["sky"], IDS["wood"]) == (2, 284, 360, 458)


def test_the_two_differ_by_the_background_alone():
    assert PascalContext60.classes.names == ("background", *PascalContext.classes.names)
    assert PascalContext60.classes.colours[1:] == PascalContext.classes.colours
    assert (len(PascalContext60.classes), len(PascalContext.classes)) == (60, 59)


@pytest.mark.parametrize("variant", MINIATURES["pascal_context"])
def test_what_is_no_class_is_background_or_void(tmp_path, variant):
    MINIATURES["pascal_context"][variant](tmp_path)
    with_, without = (plugin(tmp_path, "val", allow_partial=True) for plugin in (PascalContext60, PascalContext))
    assert with_.items == without.items
    all_, classes = with_.label(0), without.label(0)
    assert torch.equal(all_ == 0, classes == IGNORE)
    assert torch.equal(all_[all_ > 0] - 1, classes[classes != IGNORE])


def test_matlab_files_hold_ids_of_the_long_list(tmp_path):
    MINIATURES["pascal_context"]["official"](tmp_path)
    data = PascalContext60(tmp_path, "train", allow_partial=True)
    raw = loadmat(data.items[0].label)["LabelMap"]
    for i, name in enumerate(PascalContext60.classes.names[1:], start=1):
        assert np.array_equal((data.label(0) == i).numpy(), raw == IDS[name])
    savemat(data.items[0].label, {"LabelMap": np.full((24, 32), 460)})
    with one_sentence(DataError, data.items[0].label, "id 460"):
        data.label(0)
