"""Lost and Found: small obstacles on roads and car parks, in the three readings of its labels that papers use.

Source: Pinggera et al. (2016), 2048x1024; frames, ids and splits of ``lost_and_found`` by the reference code of
SegmentMeIfYouCan, https://github.com/SegmentMeIfYouCan/road-anomaly-benchmark; hazards by the makers' table of ids, as
https://github.com/robin-chan/meta-ood has it.
Licence: non-commercial research and education (unconfirmed).
Labels: ``labelIds``: 0 is outside the road and void, 1 is free road, 2 and higher are things on it, of which the makers
call seven no hazards.

Pitfalls: figures do not compare across the three readings. All things are anomalous in ``lost_and_found``, as in
SegmentMeIfYouCan; those that are no hazards are void in ``lost_and_found_hazards``, as in meta-ood and PEBAL, and
normal in ``lost_and_found_non_hazards_normal``, as in RbA. The annotators left 6 frames of train and 17 of test without
a label; ``lost_and_found`` leaves them out, and in the others they have void pixels alone. Children and bicycles, which
models trained on streets know, are obstacles in ``test``; ``test-no-known``, which the benchmark reports, leaves their
scenes out.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import IGNORE, Dataset, Item, Split
from datasets.cityscapes_labels import frames_below
from datasets.class_sets import ANOMALY

RELEASED = {"train": 1036, "test": 1203}
"""Frames of each part of the release."""

UNLABELLED_FRAMES = {
    "train": {44, 67, 88, 109, 131, 614},
    "test": {17, 37, 55, 72, 91, 110, 129, 153, 174, 197, 218, 353, 490, 618, 686, 792, 793},
}
"""Frames without a label, by their place among the sorted names of the part."""

KNOWN = (
    "15_Rechbergstr_Deckenpfronn",
    "01_Hanns_Klemm_Str_45_000006",
    "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
)
"""Beginnings of the names of frames with children and bicycles."""


NO_HAZARDS = (31, 33, 34, 36, 37, 38, 39)
"""Ids of posts, boards and a wheel cap lying flat, which the makers count as no hazards: trainId 0 in their table."""


class LostAndFound(Dataset):
    """Lost and Found, all things on the road."""

    name = "lost_and_found"
    folder_name = "lost_and_found"
    title = "Lost and Found"
    classes = ANOMALY
    splits: ClassVar = {
        "test-no-known": Split(1043, task="anomaly", note="test without children and bicycles"),
        "test": Split(1186, task="anomaly", note="without 17 frames that have no label"),
        "train": Split(1030, task="anomaly", note="without 6 frames that have no label"),
    }
    train_split = None
    eval_splits = ()
    selection_split = None
    home = "https://wwwlehre.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset/ (leftImg8bit.zip, gtCoarse.zip)"
    licence = "non-commercial research and education (unconfirmed)"
    layout = (
        "below lost_and_found, leftImg8bit/{train,test}/SCENE/NAME_leftImg8bit.png with "
        "gtCoarse/{train,test}/SCENE/NAME_gtCoarse_labelIds.png"
    )
    archives: ClassVar = {"leftImg8bit.zip": "08eaa79ce05126f6bd22a3ca563746d0"}
    citation = (
        "Pinggera, Ramos, Gehrig, Franke, Rother, Mester: Lost and Found: detecting small road hazards for "
        "self-driving vehicles. IROS 2016"
    )
    anomaly_ids: ClassVar = {0: IGNORE, 1: 0, **dict.fromkeys(range(2, 201), 1)}

    def find(self) -> list[Item]:
        """List the frames of the part that have labels.

        Which have none is only known of a whole part; in another they count, with nothing but void pixels.
        """
        part, _, without = self.split.partition("-")
        images, labels = self.folder / "leftImg8bit" / part, self.folder / "gtCoarse" / part
        frames = sorted(frames_below(images, labels, "_leftImg8bit.png", "gtCoarse_labelIds.png"))
        if len(frames) == RELEASED[part] != self.splits[self.split].count:
            frames = [frame for i, frame in enumerate(frames) if i not in UNLABELLED_FRAMES[part]]
        return [frame for frame in frames if not (without and frame.id.startswith(KNOWN))]


class LostAndFoundHazards(LostAndFound):
    """Lost and Found, hazards on the road; what is no hazard is void."""

    name = "lost_and_found_hazards"
    title = "Lost and Found, non-hazards void"
    splits: ClassVar = {"test": Split(1203, task="anomaly")}
    anomaly_ids: ClassVar = {**LostAndFound.anomaly_ids, **dict.fromkeys(NO_HAZARDS, IGNORE)}


class LostAndFoundNonHazardsNormal(LostAndFoundHazards):
    """Lost and Found, hazards on the road; what is no hazard is normal."""

    name = "lost_and_found_non_hazards_normal"
    title = "Lost and Found, non-hazards normal"
    anomaly_ids: ClassVar = {**LostAndFound.anomaly_ids, **dict.fromkeys(NO_HAZARDS, 0)}
