"""Miniatures of the real data sets: a few tiny images in the layout, formats and label encodings of each
release.

``MINIATURES[name][variant](root)`` writes every split of a data set below ``root``; the variants are the
layouts that its loader accepts. Labels hold every raw id that occurs in real files.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets.class_sets import voc_colour

HEIGHT, WIDTH = 24, 32


def photo(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH), **options: object) -> Path:
    """Write a random RGB image in the format that the name asks for."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def ids_map(ids: Iterable[int], seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A uint8 map in which every id occurs, at random places."""
    values = np.resize(np.array(list(ids), dtype=np.uint8), size[0] * size[1])
    return np.random.default_rng(seed).permutation(values).reshape(size)


def grey(path: Path, ids: Iterable[int], seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Write a greyscale PNG of raw ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids_map(ids, seed, size)).save(path)
    return path


def palette(path: Path, ids: Iterable[int], seed: int) -> Path:
    """Write a palette PNG of raw ids with VOC's colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", (WIDTH, HEIGHT), ids_map(ids, seed).tobytes())
    image.putpalette([channel for i in range(256) for channel in voc_colour(i)])
    image.save(path)
    return path


def sbd_mat(path: Path, ids: Iterable[int], seed: int) -> Path:
    """Write an SBD annotation, a MATLAB struct ``GTcls`` with the class map in ``Segmentation``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label = ids_map(ids, seed)
    savemat(path, {"GTcls": {"Segmentation": label, "CategoriesPresent": np.unique(label[label > 0])}})
    return path


def camvid(root: Path, extension: str) -> None:
    drives = {
        "train": ["0001TP_006690", "0006R0_f00930", "0016E5_00390"],
        "val": ["0016E5_07959", "0016E5_07961"],
        "test": ["0001TP_008550", "Seq05VD_f00000", "Seq05VD_f00030"],
    }
    seed = 0
    for split, names in drives.items():
        for name in names:
            photo(root / "camvid" / split / f"{name}.{extension}", seed)
            grey(root / "camvid" / f"{split}annot" / f"{name}.png", range(12), seed)
            seed += 1


def idd_lite(root: Path, inner: str) -> None:
    base = root / "idd_lite" / inner
    for seed, (split, frame) in enumerate(
        [("train", "0/024541"), ("train", "119/024541"), ("val", "119/frame903127"), ("val", "7/000001")]
    ):
        photo(base / "leftImg8bit" / split / f"{frame}_image.jpg", seed)
        grey(base / "gtFine" / split / f"{frame}_label.png", [*range(7), 255], seed)
        grey(base / "gtFine" / split / f"{frame}_inst_label.png", range(40), seed)


def road_anomaly_official(root: Path, inner: str) -> None:
    base = root / "road_anomaly" / inner
    frames = ["animals01_cow.jpg", "rocks_02.jpg"]
    for seed, frame in enumerate(frames):
        photo(base / "frames" / frame, seed)
        labels = base / "frames" / f"{Path(frame).stem}.labels"
        grey(labels / "labels_semantic.png", [0, 2], seed)
        grey(labels / "labels_instance.png", range(5), seed)
    (base / "frame_list.json").write_text(json.dumps(frames))


def road_anomaly_mirror(root: Path) -> None:
    for number in (0, 1, 10):
        photo(root / "road_anomaly" / "images" / f"{number}.jpg", number)
        grey(root / "road_anomaly" / "labels" / f"{number}.png", [0, 2], number)


def original(root: Path, name: str, ids: Iterable[int]) -> None:
    """SynBoost's layout, which other code on anomalies shares."""
    for number, frame in enumerate(("0000_frankfurt_000000_000294", "0001_lindau_000001_000019")):
        photo(root / name / "original" / f"{frame}.png", number)
        grey(root / name / "labels" / f"{frame}.png", ids, number)


def road_obstacle_21_official(root: Path, inner: str) -> None:
    base = root / "road_obstacle_21" / inner
    for number in (1, 2, 19):
        photo(base / "images" / f"validation_{number}.webp", number)
        grey(base / "labels_masks" / f"validation_{number}_labels_semantic.png", [0, 1, 255], number)
    photo(base / "images" / "curvy-street_1.webp", 0)


def road_obstacle_21_mirror(root: Path) -> None:
    for number in (0, 1, 10):
        photo(root / "road_obstacle_21" / "images" / f"{number}.webp", number)
        grey(root / "road_obstacle_21" / "labels_masks" / f"{number}.png", [0, 1, 255], number)


def fishyscapes_official(root: Path, inner: str) -> None:
    base = root / "fishyscapes_lost_and_found"
    frames = [("train", "04_Maurener_Weg_8_000001_000030"), ("test", "02_Hanns_Klemm_Str_44_000003_000190")]
    for index, (part, frame) in enumerate(frames):
        scene = frame.rsplit("_", 2)[0]
        photo(base / inner / "leftImg8bit" / part / scene / f"{frame}_leftImg8bit.png", index)
        grey(base / "fishyscapes_lostandfound" / f"{index:04d}_{frame}_labels.png", [0, 1, 255], index)
    photo(base / inner / "leftImg8bit/test/05_Other/05_Other_000000_000000_leftImg8bit.png", 9)


def fishyscapes_mirror(root: Path) -> None:
    for number in (0, 1, 10):
        photo(root / "fishyscapes_lost_and_found" / "images" / f"{number}.jpg", number)
        grey(root / "fishyscapes_lost_and_found" / "labels" / f"{number}.png", [0, 1, 255], number)


def cityscapes(root: Path, train_ids: bool) -> None:
    base = root / "cityscapes"
    frames = [
        ("train", "aachen_000000_000019"),
        ("train", "bochum_000000_000313"),
        ("val", "frankfurt_000000_000294"),
        ("val", "lindau_000001_000019"),
    ]
    for seed, (split, frame) in enumerate(frames):
        city = frame.split("_")[0]
        photo(base / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png", seed)
        labels = base / "gtFine" / split / city
        grey(labels / f"{frame}_gtFine_labelIds.png", range(34), seed)
        grey(labels / f"{frame}_gtFine_instanceIds.png", range(34), seed)
        if train_ids:
            grey(labels / f"{frame}_gtFine_labelTrainIds.png", [*range(19), 255], seed)
    photo(base / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", 9)
    grey(base / "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", [1, 2, 3], 9)


def labelled_frame(image: Path, label: Path, seed: int, kinds: Iterable[str] = ("labelTrainIds", "labelIds")) -> None:
    """An image with label files of Cityscapes' kinds, ``label`` being their path up to the kind."""
    photo(image, seed)
    for kind in kinds:
        ids = [*range(19), 255] if kind == "labelTrainIds" else range(34)
        grey(label.with_name(f"{label.name}_{kind}.png"), ids, seed)


def acdc(root: Path, images: str, labels: str, kinds: Iterable[str] = ("labelTrainIds", "labelIds")) -> None:
    """Every condition with a frame of train and one of val, a frame of test without label, and what is not read."""
    images_, labels_ = root / "acdc" / images, root / "acdc" / labels
    sequences = {"fog": "GOPR0475", "night": "GOPR0351", "rain": "GOPR0400", "snow": "GOPR0122"}
    seed = 0
    for condition, sequence in sequences.items():
        for split in ("train", "val"):
            place, name = f"{condition}/{split}/{sequence}", f"{sequence}_frame_000041"
            labelled_frame(images_ / place / f"{name}_rgb_anon.png", labels_ / place / f"{name}_gt", seed, kinds)
            grey(labels_ / place / f"{name}_gt_invIds.png", [0, 1], seed)
            reference = images_ / f"{condition}/{split}_ref/{sequence}"
            photo(reference / f"{name}_rgb_ref_anon.png", 50 + seed)
            seed += 1
        photo(images_ / condition / "test" / sequence / f"{sequence}_frame_000099_rgb_anon.png", 90)


def dark_zurich(root: Path, inner: str) -> None:
    base, sequence = root / "dark_zurich" / inner, "GOPR0356"
    for seed, number in enumerate((321, 324)):
        name = f"{sequence}_frame_{number:06d}"
        image = base / "rgb_anon/val/night" / sequence / f"{name}_rgb_anon.png"
        labelled_frame(image, base / "gt/val/night" / sequence / f"{name}_gt", seed)
        grey(base / "gt/val/night" / sequence / f"{name}_gt_invIds.png", [0, 1], seed)
        photo(base / f"rgb_anon/val_ref/day/{sequence}_ref/{name}_ref_rgb_anon.png", 50 + seed)


def nighttime_driving(root: Path, inner: str) -> None:
    base = root / "nighttime_driving" / inner
    for seed, name in enumerate(("0_Frame0100", "1_Frame2540")):
        labels = base / "gtCoarse_daytime_trainvaltest/test/night"
        labelled_frame(base / f"leftImg8bit/test/night/{name}_leftImg8bit.png", labels / f"{name}_gtCoarse", seed)


def foggy_cityscapes(root: Path, images: str, labels: str, kind: str = "leftImg8bit_foggyDBF") -> None:
    for seed, frame in enumerate(("frankfurt_000000_000294", "lindau_000001_000019")):
        city = frame.split("_")[0]
        for fog, beta in enumerate(("0.005", "0.01", "0.02")):
            name = f"{frame}_leftImg8bit_foggy_beta_{beta}.png"
            photo(root / images / kind / "val" / city / name, 10 * fog + seed + len(kind))
        grey(root / labels / "gtFine/val" / city / f"{frame}_gtFine_labelIds.png", range(34), seed)


def kitti_semantics(root: Path) -> None:
    for seed, name in enumerate(["000000_10", "000001_10"]):
        photo(root / "kitti_semantics/training/image_2" / f"{name}.png", seed)
        grey(root / "kitti_semantics/training/semantic" / f"{name}.png", range(34), seed)
    photo(root / "kitti_semantics/training/image_2/000000_11.png", 8)
    photo(root / "kitti_semantics/testing/image_2/000000_10.png", 9)


def bdd100k(root: Path, images: str, labels: str, ending: str) -> None:
    frames = [("train", "0a0a0b1a-7c39d841"), ("train", "0a1d4b2c-00000000"), ("val", "7d2f7975-e0c1c5a7")]
    for seed, (split, name) in enumerate(frames):
        photo(root / "bdd100k" / images / split / f"{name}.jpg", seed)
        grey(root / "bdd100k" / labels / split / f"{name}{ending}", [*range(19), 255], seed)
    photo(root / "bdd100k" / images / "test/ac6d4f42-00000000.jpg", 9)


GTA5_SPLITS = {"train": [1, 2, 15188], "val": [22, 20803], "test": [11, 12]}
"""15188 and 20803 are among the frames that are left out."""


def gta5(root: Path, mapping: str) -> None:
    base = root / "gta5"
    for numbers in GTA5_SPLITS.values():
        for number in numbers:
            photo(base / "images" / f"{number:05d}.png", number)
            palette(base / "labels" / f"{number:05d}.png", range(35), number)
    (base / mapping).mkdir(exist_ok=True)
    lists = {f"{split}Ids": np.array([[n] for n in numbers], np.uint16) for split, numbers in GTA5_SPLITS.items()}
    savemat(base / mapping / "split.mat", lists)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of any depth and type of colour, which Pillow does not write, with further ``chunks``."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def deep_png(path: Path, channels: np.ndarray) -> Path:
    """Write an RGB PNG (H, W, 3) of 16 bits a channel."""
    height, width, _ = channels.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(width, height, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)))
    return path


def synthia(root: Path, inner: str) -> None:
    """Frames at the border of the splits; labels as in the release, classes in the first channel, instances after."""
    base = root / "synthia" / inner
    for number in (0, 8459, 8460, 9399):
        photo(base / "RGB" / f"{number:07d}.png", number)
        instances = np.random.default_rng(number).integers(0, 2**16, (HEIGHT, WIDTH))
        classes = ids_map(range(23), number)
        label = np.stack([classes, instances, np.zeros_like(classes)], axis=2)
        deep_png(base / "GT" / "LABELS" / f"{number:07d}.png", label)


def ade20k(root: Path, inner: str) -> None:
    base = root / "ade20k" / inner
    for seed, (part, name) in enumerate(
        [
            ("training", "ADE_train_00000001"),
            ("training", "ADE_train_00000002"),
            ("validation", "ADE_val_00000001"),
        ]
    ):
        photo(base / "images" / part / f"{name}.jpg", seed)
        grey(base / "annotations" / part / f"{name}.png", range(151), seed)


VOC_TRAIN = ["2007_000032", "2007_000039"]
VOC_VAL = ["2007_000033", "2007_000042"]
SBD_ONLY = ["2008_000002", "2008_000003"]


def pascal_voc(root: Path, inner: str) -> Path:
    devkit = root / "pascal_voc" / inner
    lists = devkit / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(VOC_TRAIN + VOC_VAL):
        photo(devkit / "JPEGImages" / f"{name}.jpg", seed)
        palette(devkit / "SegmentationClass" / f"{name}.png", [*range(21), 255], seed)
    (lists / "train.txt").write_text("\n".join(VOC_TRAIN) + "\n")
    (lists / "val.txt").write_text("\n".join(VOC_VAL) + "\n")
    return devkit


def pascal_voc_aug_converted(root: Path) -> None:
    """The common conversion: one greyscale PNG per image, train and val included, and a list in random
    order."""
    devkit = pascal_voc(root, "VOCdevkit/VOC2012")
    for seed, name in enumerate(VOC_TRAIN + VOC_VAL + SBD_ONLY):
        grey(devkit / "SegmentationClassAug" / f"{name}.png", range(20), 100 + seed)
    for seed, name in enumerate(SBD_ONLY):
        photo(devkit / "JPEGImages" / f"{name}.jpg", 10 + seed)
    (devkit / "ImageSets/Segmentation/trainaug.txt").write_text("\n".join([SBD_ONLY[1], *VOC_TRAIN, SBD_ONLY[0]]))


def pascal_voc_aug_sbd(root: Path) -> None:
    """SBD as its makers publish it, which annotates images of VOC's train and val splits too."""
    devkit = pascal_voc(root, "VOCdevkit/VOC2012")
    for seed, name in enumerate(VOC_TRAIN + VOC_VAL + SBD_ONLY):
        sbd_mat(root / "pascal_voc/VOCaug/dataset/cls" / f"{name}.mat", range(20), 100 + seed)
    for seed, name in enumerate(SBD_ONLY):
        photo(devkit / "JPEGImages" / f"{name}.jpg", 10 + seed)


def coco_stuff_164k(root: Path, images: str = "images/", labels: str = "annotations/") -> None:
    base = root / "coco_stuff_164k"
    raw = [i - 1 for i in range(1, 183) if i not in COCO_NEVER]
    for seed, (part, name) in enumerate(
        [("train", "000000000009"), ("train", "000000000025"), ("val", "000000000139")]
    ):
        photo(base / f"{images}{part}2017/{name}.jpg", seed)
        grey(base / f"{labels}{part}2017/{name}.png", [*raw, 255], seed)
        grey(base / f"{labels}{part}2017/{name}_labelTrainIds.png", [*range(171), 255], seed)


COCO_NEVER = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
COCO_10K = {
    "train": ["COCO_train2014_000000000077", "COCO_train2014_000000000110"],
    "test": ["COCO_train2014_000000000081"],
}


def label_mat(path: Path, field: str, ids: Iterable[int], seed: int) -> Path:
    """Write a MATLAB file with a label map of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.resize(np.array(list(ids), dtype=np.uint16), HEIGHT * WIDTH)
    savemat(path, {field: np.random.default_rng(seed).permutation(values).reshape(HEIGHT, WIDTH)})
    return path


def coco_stuff_10k_official(root: Path) -> None:
    base = root / "coco_stuff_10k"
    (base / "imageLists").mkdir(parents=True)
    for seed, (split, names) in enumerate(COCO_10K.items()):
        (base / f"imageLists/{split}.txt").write_text("\n".join(names))
        for name in names:
            photo(base / f"images/{name}.jpg", seed)
            label_mat(base / f"annotations/{name}.mat", "S", sorted({*range(183)} - COCO_NEVER), seed)


def coco_stuff_10k_converted(root: Path) -> None:
    base = root / "coco_stuff_10k"
    for seed, (split, names) in enumerate(COCO_10K.items()):
        for name in names:
            photo(base / f"images/{split}2014/{name}.jpg", seed)
            grey(base / f"annotations/{split}2014/{name}_labelTrainIds.png", [*range(171), 255], seed)


CONTEXT_SPLITS = {"train": ["2008_000008", "2008_000015"], "val": ["2008_000002"]}


def pascal_context(root: Path, inner: str, converted: bool) -> None:
    base, devkit = root / "pascal_context", root / "pascal_context" / inner
    lists = devkit / "ImageSets" / ("SegmentationContext" if converted else "Main")
    lists.mkdir(parents=True)
    for seed, (split, names) in enumerate(CONTEXT_SPLITS.items()):
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            photo(devkit / f"JPEGImages/{name}.jpg", seed)
            if converted:
                grey(devkit / f"SegmentationClassContext/{name}.png", range(60), seed)
            else:
                label_mat(base / f"trainval/{name}.mat", "LabelMap", range(460), seed)


def fishyscapes_static(root: Path, masks: str, images: str, name: str = "fishyscapes_static") -> None:
    for index, frame in enumerate(("frankfurt_000000_000294", "lindau_000001_000019")):
        folder = root / name / masks
        photo(root / images / "leftImg8bit/val" / frame.split("_")[0] / f"{frame}_leftImg8bit.png", index)
        grey(folder / f"{index:04d}_{frame}_labels.png", [0, 1, 255], index)
        overlay = np.random.default_rng(index).integers(-300, 300, (HEIGHT, WIDTH, 3), dtype=np.int16)
        np.savez_compressed(folder / f"{index:04d}_{frame}_rgb.npz", rgb=overlay)


def road_anomaly_21(root: Path, inner: str) -> None:
    base = root / "road_anomaly_21" / inner
    for number in range(3):
        photo(base / f"images/validation{number:04d}.jpg", number)
        grey(base / f"labels_masks/validation{number:04d}_labels_semantic.png", [0, 1, 255], number)
    photo(base / "images/zebra0000.jpg", 9)


LOST_AND_FOUND = {
    "train": ["01_Hanns_Klemm_Str_45_000000_000080", "14_Otto_Lilienthal_Str_24_000005_000150"],
    "test": [
        "01_Hanns_Klemm_Str_45_000006_000080",
        "02_Hanns_Klemm_Str_44_000003_000190",
        "15_Rechbergstr_Deckenpfronn_000001_000080",
    ],
}


def lost_and_found(root: Path) -> None:
    base = root / "lost_and_found"
    for part, names in LOST_AND_FOUND.items():
        for seed, name in enumerate(names):
            place = f"{part}/{name.rsplit('_', 2)[0]}"
            photo(base / f"leftImg8bit/{place}/{name}_leftImg8bit.png", seed)
            grey(base / f"gtCoarse/{place}/{name}_gtCoarse_labelIds.png", range(44), seed)
            grey(base / f"gtCoarse/{place}/{name}_gtCoarse_labelTrainIds.png", [0, 1, 2, 255], seed)


def street_hazards(root: Path) -> None:
    base = root / "street_hazards"
    frames = [
        ("train", "training", "t1", "1"),
        ("train", "training", "t2", "1"),
        ("train", "validation", "t3", "7"),
        ("test", "test", "t5", "300"),
        ("test", "test", "t6", "300"),
    ]
    for seed, (archive, part, town, name) in enumerate(frames):
        photo(base / archive / "images" / part / town / f"{name}.png", seed)
        ids = range(1, 15 if archive == "test" else 14)
        grey(base / archive / "annotations" / part / town / f"{name}.png", ids, seed)


def bdd_anomaly(root: Path) -> None:
    """BDD100K's files: of each part, a frame with anomalies and one without."""
    frames = [
        ("train", "0027eed2-60fb0001", range(19)),
        ("train", "0a0a0b1a-7c39d841", range(16)),
        ("val", "7ed63746-764b90a2", range(19)),
        ("val", "7d2f7975-e0c1c5a7", range(16)),
    ]
    for seed, (split, name, ids) in enumerate(frames):
        photo(root / f"bdd100k/images/10k/{split}/{name}.jpg", seed)
        grey(root / f"bdd100k/labels/sem_seg/masks/{split}/{name}.png", [*ids, 255], seed)


_CAMVID_32 = """
Animal: 64 128 64, Archway: 192 0 128, Bicyclist: 0 128 192, Bridge: 0 128 64, Building: 128 0 0, Car: 64 0 128,
CartLuggagePram: 64 0 192, Child: 192 128 64, Column_Pole: 192 192 128, Fence: 64 64 128, LaneMkgsDriv: 128 0 192,
LaneMkgsNonDriv: 192 0 64, Misc_Text: 128 128 64, MotorcycleScooter: 192 0 192, OtherMoving: 128 64 64,
ParkingBlock: 64 192 128, Pedestrian: 64 64 0, Road: 128 64 128, RoadShoulder: 128 128 192, Sidewalk: 0 0 192,
SignSymbol: 192 128 128, Sky: 128 128 128, SUVPickupTruck: 64 128 192, TrafficCone: 0 0 64, TrafficLight: 0 64 64,
Train: 192 64 128, Tree: 128 128 0, Truck_Bus: 192 128 192, Tunnel: 64 0 64, VegetationMisc: 192 192 0,
Wall: 64 192 0, Void: 0 0 0
"""
CAMVID_32_COLOURS = {
    name: tuple(map(int, colour.split())) for name, colour in (row.strip().split(": ") for row in _CAMVID_32.split(","))
}
"""The makers' table of colours."""

CAMVID_32_FRAMES = [
    "0001TP_006690", "0006R0_f00930", "0016E5_00390", "0016E5_07959", "0016E5_08159", "0016E5_08190", "0001TP_008550",
    "Seq05VD_f00000",
]  # fmt: skip


def camvid_32(root: Path, labels: str) -> None:
    base = root / "camvid_32"
    for seed, name in enumerate(CAMVID_32_FRAMES):
        photo(base / f"701_StillsRaw_full/{name}.png", seed)
        colours = np.array([*CAMVID_32_COLOURS.values()], dtype=np.uint8)
        path = base / labels / f"{name}_L.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours[ids_map(range(32), seed)]).save(path)


MSEG_FILES = {
    "ade20k": (
        "ADE20K/ADEChallengeData2016/images/{}/ADE_{}_00000001.jpg",
        "ADE20K/ADEChallengeData2016/annotations_semseg150_relabeled/{}/ADE_{}_00000001.png",
        [("training", "train"), ("validation", "val")],
        141,
    ),
    "bdd100k": (
        "BDD/bdd100k/seg/images/{}/{}.jpg",
        "BDD/bdd100k/seg_relabeled/labels/{}/{}_train_id.png",
        [("train", "0004a4c0-d4dff0ad"), ("val", "7d06fefd-f7be05a6")],
        21,
    ),
    "cityscapes": (
        "Cityscapes/leftImg8bit/{}_leftImg8bit.png",
        "Cityscapes/gtFine_19cls_relabeled/{}_gtFine_labelIds.png",
        [("train/aachen/aachen_000000_000019",), ("val/frankfurt/frankfurt_000000_000294",)],
        21,
    ),
    "coco": (
        "COCOPanoptic/images/{}/{}.jpg",
        "COCOPanoptic/semantic_relabeled133/{}/{}.png",
        [("train2017", "000000000009"), ("val2017", "000000000139")],
        155,
    ),
    "idd": (
        "IDD/IDD_Segmentation/leftImg8bit/{}_leftImg8bit.png",
        "IDD/IDD_Segmentation/gtFine39_relabeled/{}_gtFine_labelids.png",
        [("train/0/005506",), ("val/119/035471",)],
        30,
    ),
    "mapillary": (
        "MapillaryVistasPublic/{}/images/{}.jpg",
        "MapillaryVistasPublic/{}_semseg65_relabeled/labels/{}.png",
        [("training", "--NSVcUgfVhFd6uzkqHOOg"), ("validation", "--BJs76vloEaiH-wppzWNA")],
        51,
    ),
    "sunrgbd": (
        "SUNRGBD/image/{}/img-{}.jpg",
        "SUNRGBD/semseg-relabeled37/{}/00{}.png",
        [("train", "000001"), ("test", "000001"), ("test", "000002")],
        48,
    ),
}
"""By source of MSeg: image, label, what fills the braces in each frame, and the number of classes that it labels."""


def mseg(root: Path, inner: str) -> None:
    """The first lines of the makers' lists, and a frame of SUN RGB-D's test that is not in their val."""
    for image, label, frames, count in MSEG_FILES.values():
        for seed, frame in enumerate(frames):
            photo(root / "mseg" / inner / image.format(*frame), seed)
            grey(root / "mseg" / inner / label.format(*frame), [*range(count), 255], seed)


def scannet(root: Path) -> None:
    for seed, frame in enumerate(("scene0000_00/000100", "scene0706_00/000100", "scene0011_01/000100")):
        scene, number = frame.split("/")
        photo(root / f"scannet/scannet_frames_25k/{scene}/color/{number}.jpg", seed)
        grey(root / f"scannet/scannet_frames_25k/{scene}/label/{number}.png", range(41), seed)


def idd(root: Path, inner: str, ending: str) -> None:
    base = root / "idd" / inner
    frames = [("train", "0/005506"), ("train", "119/005506"), ("val", "119/035471")]
    for seed, (split, frame) in enumerate(frames):
        photo(base / f"leftImg8bit/{split}/{frame}_leftImg8bit.{ending}", seed)
        grey(base / f"gtFine/{split}/{frame}_gtFine_labellevel3Ids.png", [*range(26), 255], seed)
        grey(base / f"gtFine/{split}/{frame}_gtFine_instancelevel3Ids.png", range(40), seed)


IDD_LABELS = (
    "road", "drivable fallback", "sidewalk", "non-drivable fallback", "person", "rider", "motorcycle", "bicycle",
    "autorickshaw", "car", "truck", "bus", "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard",
    "traffic sign", "traffic light", "pole", "obs-str-bar-fallback", "building", "bridge", "vegetation", "sky",
)  # fmt: skip


def idd_polygons(root: Path) -> None:
    """The release: a file of polygons for each image, here a grid of squares below a small one that lies over them."""
    base = root / "idd" / "IDD_Segmentation"
    idd(root, "IDD_Segmentation", "png")
    for path in sorted(base.glob("gtFine/*/*/*_gtFine_labellevel3Ids.png")):
        corners = [(4 * (i % 8), 5 * (i // 8)) for i in range(len(IDD_LABELS))]
        objects = [
            {"label": name, "polygon": [[x, y], [x + 3, y], [x + 3, y + 4], [x, y + 4]], "deleted": 0}
            for name, (x, y) in zip(IDD_LABELS, corners, strict=True)
        ]
        objects += [
            {"label": "animal", "polygon": [[1, 1], [2.4, 1], [2.4, 2], [1, 2]]},
            {"label": "sky", "polygon": [[0, 0], [31, 0], [31, 23], [0, 23]], "deleted": 1},
            {"label": "license plate", "polygon": [[4, 0], [5, 0], [5, 1], [4, 1]], "deleted": 0},
            {"label": "cargroup", "polygon": [[28, 20], [31, 20], [31, 23], [28, 23]]},
        ]
        whole = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
        name = path.name.replace("labellevel3Ids.png", "polygons.json")
        path.with_name(name).write_text(json.dumps(whole))
        path.unlink()


def mapillary_vistas(root: Path, labels: str) -> None:
    frames = [("training", "--NSVcUgfVhFd6uzkqHOOg"), ("training", "a0"), ("validation", "--BJs76vloEaiH-wppzWNA")]
    for seed, (part, name) in enumerate(frames):
        photo(root / f"mapillary_vistas/{part}/images/{name}.jpg", seed)
        palette(root / f"mapillary_vistas/{part}/{labels}/{name}.png", range(66), seed)
        grey(root / f"mapillary_vistas/{part}/v2.0/labels/{name}.png", range(124), seed)


def wilddash(root: Path) -> None:
    for seed, name in enumerate(("au0000_100000", "us0003_100000")):
        photo(root / f"wilddash/wd_val_01/{name}.png", seed)
        for kind in ("labelIds", "instanceIds"):
            grey(root / f"wilddash/wd_val_01/{name}_{kind}.png", range(34), seed)


def ade_ood(root: Path) -> None:
    for seed, name in enumerate(("ADE_val_00000071", "0a1b2c3d4e5f6071")):
        photo(root / f"ade_ood/images/{name}.jpg", seed)
        grey(root / f"ade_ood/annotations/{name}_mask.png", [0, 1, 255], seed)


MINIATURES: dict[str, dict[str, Callable[[Path], object]]] = {
    "camvid": {"png": lambda r: camvid(r, "png"), "jpg": lambda r: camvid(r, "jpg")},
    "idd_lite": {"direct": lambda r: idd_lite(r, ""), "archive": lambda r: idd_lite(r, "idd20k_lite")},
    "road_anomaly": {
        "archive": lambda r: road_anomaly_official(r, "RoadAnomaly_jpg"),
        "direct": lambda r: road_anomaly_official(r, ""),
        "mirror": road_anomaly_mirror,
        "original": lambda r: original(r, "road_anomaly", [0, 1]),
    },
    "road_obstacle_21": {
        "archive": lambda r: road_obstacle_21_official(r, "dataset_ObstacleTrack"),
        "direct": lambda r: road_obstacle_21_official(r, ""),
        "mirror": road_obstacle_21_mirror,
    },
    "fishyscapes_lost_and_found": {
        "direct": lambda r: fishyscapes_official(r, ""),
        "nested": lambda r: fishyscapes_official(r, "lostandfound"),
        "mirror": fishyscapes_mirror,
        "original": lambda r: original(r, "fishyscapes_lost_and_found", [0, 1, 255]),
    },
    "cityscapes": {
        "labelIds": lambda r: cityscapes(r, train_ids=False),
        "labelTrainIds": lambda r: cityscapes(r, train_ids=True),
    },
    "kitti_semantics": {"official": kitti_semantics},
    "bdd100k": {
        "10k": lambda r: bdd100k(r, "images/10k", "labels/sem_seg/masks", ".png"),
        "first": lambda r: bdd100k(r, "seg/images", "seg/labels", "_train_id.png"),
        "nested": lambda r: bdd100k(r, "bdd100k/images/10k", "bdd100k/labels/sem_seg/masks", ".png"),
    },
    "acdc": {
        "direct": lambda r: acdc(r, "rgb_anon", "gt"),
        "archives": lambda r: acdc(r, "rgb_anon_trainvaltest/rgb_anon", "gt_trainval/gt"),
        "labelIds": lambda r: acdc(r, "rgb_anon", "gt", ["labelIds"]),
    },
    "dark_zurich": {
        "archive": lambda r: dark_zurich(r, "Dark_Zurich_val_anon"),
        "direct": lambda r: dark_zurich(r, ""),
    },
    "nighttime_driving": {
        "archive": lambda r: nighttime_driving(r, "NighttimeDrivingTest"),
        "direct": lambda r: nighttime_driving(r, ""),
    },
    "foggy_cityscapes": {
        "direct": lambda r: foggy_cityscapes(r, "foggy_cityscapes", "foggy_cityscapes"),
        "labels of cityscapes": lambda r: foggy_cityscapes(r, "foggy_cityscapes", "cityscapes"),
        "within cityscapes": lambda r: foggy_cityscapes(r, "cityscapes", "cityscapes"),
    },
    "foggy_cityscapes_sfsu": {
        "direct": lambda r: foggy_cityscapes(r, "foggy_cityscapes_sfsu", "cityscapes", "leftImg8bit_foggy"),
        "within cityscapes": lambda r: foggy_cityscapes(r, "cityscapes", "cityscapes", "leftImg8bit_foggy"),
    },
    "gta5": {"direct": lambda r: gta5(r, "."), "mapping": lambda r: gta5(r, "read_mapping")},
    "synthia": {"archive": lambda r: synthia(r, "RAND_CITYSCAPES"), "direct": lambda r: synthia(r, "")},
    "ade20k": {"archive": lambda r: ade20k(r, "ADEChallengeData2016"), "direct": lambda r: ade20k(r, "")},
    "pascal_voc": {
        "archive": lambda r: pascal_voc(r, "VOCdevkit/VOC2012"),
        "devkit": lambda r: pascal_voc(r, "VOC2012"),
        "direct": lambda r: pascal_voc(r, ""),
    },
    "coco_stuff_164k": {"official": coco_stuff_164k, "archives": lambda r: coco_stuff_164k(r, "", "")},
    "coco_stuff_10k": {"converted": coco_stuff_10k_converted, "official": coco_stuff_10k_official},
    **{
        name: {
            "converted": lambda r: pascal_context(r, "VOCdevkit/VOC2010", converted=True),
            "official": lambda r: pascal_context(r, "VOCdevkit/VOC2010", converted=False),
            "direct": lambda r: pascal_context(r, "", converted=True),
        }
        for name in ("pascal_context", "pascal_context_60")
    },
    "fishyscapes_static": {
        "original": lambda r: original(r, "fishyscapes_static", [0, 1, 255]),
        "archive": lambda r: fishyscapes_static(r, "fs_val_v3", "cityscapes"),
        "direct": lambda r: fishyscapes_static(r, "", "fishyscapes_static"),
    },
    "fishyscapes_static_v1": {
        "archive": lambda r: fishyscapes_static(r, "fs_val_v1", "cityscapes", "fishyscapes_static_v1")
    },
    "fishyscapes_static_v2": {
        "direct": lambda r: fishyscapes_static(r, "", "cityscapes", "fishyscapes_static_v2"),
    },
    "road_anomaly_21": {
        "archive": lambda r: road_anomaly_21(r, "dataset_AnomalyTrack"),
        "direct": lambda r: road_anomaly_21(r, ""),
    },
    **{
        name: {"official": lost_and_found}
        for name in ("lost_and_found", "lost_and_found_hazards", "lost_and_found_non_hazards_normal")
    },
    "street_hazards": {"official": street_hazards},
    "bdd_anomaly": {"10k": bdd_anomaly},
    "camvid_7": {"png": lambda r: camvid(r, "png")},
    "camvid_32": {
        "official": lambda r: camvid_32(r, "LabeledApproved_full"),
        "archives": lambda r: camvid_32(r, ""),
        "MSeg": lambda r: camvid_32(r, "Labels32-RGB"),
    },
    "camvid_11": {"official": lambda r: camvid_32(r, "LabeledApproved_full")},
    "mseg": {"archives": lambda r: mseg(r, "mseg_dataset"), "direct": lambda r: mseg(r, "")},
    "scannet": {"official": scannet},
    "idd": {
        "archive": lambda r: idd(r, "IDD_Segmentation", "png"),
        "direct": lambda r: idd(r, "", "jpg"),
        "polygons": idd_polygons,
    },
    **{
        name: {
            "first": lambda r: mapillary_vistas(r, "labels"),
            "several versions": lambda r: mapillary_vistas(r, "v1.2/labels"),
        }
        for name in ("mapillary_vistas", "mapillary_vistas_19")
    },
    "wilddash": {"official": wilddash},
    "ade_ood": {"official": ade_ood},
    "pascal_voc_aug": {"converted": pascal_voc_aug_converted, "sbd": pascal_voc_aug_sbd},
}


def assert_one_sentence(message: str, *parts: object) -> None:
    """A message to a user: one line, one sentence, without a full stop, and naming each of ``parts``."""
    assert "\n" not in message
    assert not re.search(r"[.!?](\s|$)", message), message
    assert "Traceback" not in message
    for part in parts:
        assert str(part) in message, f"{part!r} is not in {message!r}"


@contextmanager
def one_sentence(error: type[Exception], *parts: object) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """``error`` is raised, and its message is as ``assert_one_sentence`` wants it."""
    with pytest.raises(error) as caught:
        yield caught
    assert_one_sentence(str(caught.value), *parts)
