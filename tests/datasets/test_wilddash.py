"""WildDash: Cityscapes' labelIds, images and labels in one folder."""

from __future__ import annotations

from datasets.wilddash import WildDash
from tests.datasets.miniatures import MINIATURES, ids_map

EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def test_labels_beside_the_images_are_no_images(tmp_path):
    MINIATURES["wilddash"]["official"](tmp_path)
    data = WildDash(tmp_path, "val", allow_partial=True)
    assert [item.id for item in data.items] == ["au0000_100000", "us0003_100000"]
    raw = ids_map(range(34), 0).flatten().tolist()
    assert data.label(0).flatten().tolist() == [EVALUATED.index(i) if i in EVALUATED else 255 for i in raw]
