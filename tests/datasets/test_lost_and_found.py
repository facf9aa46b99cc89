"""Lost and Found: three readings of the labels, and the frames that SegmentMeIfYouCan leaves out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datasets.base import IGNORE
from datasets.fishyscapes_lost_and_found import FishyscapesLostAndFound
from datasets.lost_and_found import LostAndFound, LostAndFoundHazards, LostAndFoundNonHazardsNormal
from tests.datasets.miniatures import LOST_AND_FOUND, MINIATURES, grey, ids_map, photo


@pytest.fixture
def root(tmp_path):
    MINIATURES["lost_and_found"]["official"](tmp_path)
    return tmp_path


def ids(root, split):
    return [item.id for item in LostAndFound(root, split, allow_partial=True).items]


def test_road_is_normal_obstacles_are_anomalous_and_all_else_is_void(root):
    raw = torch.from_numpy(ids_map(range(44), 0))
    expected = torch.where(raw == 0, IGNORE, torch.where(raw == 1, 0, 1))
    assert torch.equal(LostAndFound(root, "test", allow_partial=True).label(0), expected)


@pytest.mark.parametrize(("plugin", "no_hazard"), [(LostAndFoundHazards, IGNORE), (LostAndFoundNonHazardsNormal, 0)])
def test_what_is_no_hazard_is_void_or_normal_where_papers_have_it_so(root, plugin, no_hazard):
    """The makers' trainIds: 0 marker pole, post, post stand, timber, wheel cap, wood; 1 free; 2 all other things."""
    raw = ids_map(range(44), 0)
    label = plugin(root, "test", allow_partial=True).label(0).numpy()
    non_hazards = {31, 33, 34, 36, 37, 38, 39}
    for value in range(44):
        expected = no_hazard if value in non_hazards else IGNORE if value == 0 else int(value > 1)
        assert (label[raw == value] == expected).all()


@pytest.mark.parametrize("plugin", [LostAndFoundHazards, LostAndFoundNonHazardsNormal])
def test_the_other_readings_count_all_frames_and_are_targets_of_cityscapes(plugin):
    from bench.plugins import registry
    from bench.scoring.protocols.targets import anomaly

    assert {name: split.count for name, split in plugin.splits.items()} == {"test": 1203}
    assert (plugin.name, "test") in [(t.dataset, t.split) for t in anomaly(registry.datasets.get("cityscapes"))]


def test_children_and_bicycles_are_left_out_of_one_split(root):
    assert ids(root, "train") == LOST_AND_FOUND["train"]
    assert ids(root, "test") == LOST_AND_FOUND["test"]
    assert ids(root, "test-no-known") == ["02_Hanns_Klemm_Str_44_000003_000190"]


@pytest.mark.parametrize(("part", "released", "left_out"), [("train", 1036, [44, 614]), ("test", 1203, [17, 793])])
def test_of_a_whole_part_the_frames_without_label_are_left_out(tmp_path, part, released, left_out):
    base = tmp_path / "lost_and_found"
    image = photo(base / "image.png", 0, size=(1, 1))
    label = grey(base / "label.png", [1], 0, size=(1, 1))
    names = [f"09_Scene_{number // 100:06d}_{number % 100:06d}" for number in range(released)]
    for name in names:
        place = f"{part}/09_Scene"
        for target, path in (
            (image, base / f"leftImg8bit/{place}/{name}_leftImg8bit.png"),
            (label, base / f"gtCoarse/{place}/{name}_gtCoarse_labelIds.png"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
    if part == "test":
        assert len(LostAndFoundHazards(tmp_path, part)) == released
    found = [item.id for item in LostAndFound(tmp_path, part).items]
    assert len(found) == LostAndFound.splits[part].count
    assert not {names[i] for i in left_out} & {*found}


def test_fishyscapes_finds_its_images_here(root):
    frame = LOST_AND_FOUND["train"][0]
    grey(root / f"fishyscapes_lost_and_found/fishyscapes_lostandfound/0000_{frame}_labels.png", [0, 1, 255], 0)
    sample = FishyscapesLostAndFound(root, "val", allow_partial=True)[0]
    assert np.array_equal(sample.image, LostAndFound(root, "train", allow_partial=True)[0].image)
