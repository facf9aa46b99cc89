"""BDD100K: training ids as they are, in the layouts of both releases."""

from __future__ import annotations

import pytest
import torch

from datasets.base import DataError
from datasets.bdd100k import BDD100K
from tests.datasets.miniatures import MINIATURES, ids_map


@pytest.mark.parametrize("variant", MINIATURES["bdd100k"])
def test_training_ids_are_read_as_they_are(tmp_path, variant):
    MINIATURES["bdd100k"][variant](tmp_path)
    data = BDD100K(tmp_path, "train", allow_partial=True)
    assert [item.id for item in data.items] == ["0a0a0b1a-7c39d841", "0a1d4b2c-00000000"]
    assert torch.equal(data.label(1), torch.from_numpy(ids_map([*range(19), 255], 1)).long())


def test_ids_of_the_makers_toolkit_are_refused(tmp_path):
    """Its table has car at 35 and reads like Cityscapes' own; taking it for training ids would lose every car."""
    MINIATURES["bdd100k"]["10k"](tmp_path)
    data = BDD100K(tmp_path, "val", allow_partial=True)
    with pytest.raises(DataError, match="id 35"):
        data.map_ids(torch.full((2, 2), 35, dtype=torch.uint8).numpy(), data.items[0].label)
