"""What single pictures show."""

from __future__ import annotations

import numpy as np
import torch

from bench.report import pictures
from datasets.base import IGNORE


def test_an_anomaly_map_runs_a_line_around_every_object_and_says_what_its_colours_are():
    label = torch.zeros(40, 640, dtype=torch.int64)
    label[10:20, 100:140], label[30, 600], label[:, :50] = 1, 1, IGNORE
    scores = torch.linspace(0, 3, 640).expand(40, 640)
    picture = pictures.anomaly_map(scores, label)
    height, width = 20, 320
    assert picture.shape == (height + pictures.CAPTION, width, 3)
    line = (picture[:height] == pictures.OUTLINE).all(-1)
    assert not line[6:9, 51:69].any(), "the inside keeps its colours"
    assert line[3:5, 51:69].all()
    assert line[10:12, 51:69].all()
    assert line[13:18, 298:303].sum() == 12, "an object of one pixel is not lost by shrinking"
    assert (picture[:height, :20] == 0).all(), "void is black"
    bar = picture[height:].astype(int).sum(-1)
    assert bar[-1, 60:260:50].tolist() == sorted(bar[-1, 60:260:50])


def test_errors_are_vermilion_on_grey_and_what_does_not_count_is_black():
    image = torch.full((3, 2, 2), 100, dtype=torch.uint8)
    wrong, counts = torch.tensor([[True, False], [False, False]]), torch.tensor([[True, True], [True, False]])
    found = pictures.errors(image, wrong, counts)
    assert found[0, 0].tolist() == list(pictures.WRONG)
    assert found[0, 1].tolist() == found[1, 0].tolist() == [100] * 3
    assert found[1, 1].tolist() == [0, 0, 0]


def test_a_picture_is_shrunk_and_never_enlarged():
    assert pictures.shrunk(np.zeros((100, 640, 3), np.uint8)).shape == (50, 320, 3)
    small = np.zeros((10, 64, 3), np.uint8)
    assert pictures.shrunk(small) is small
