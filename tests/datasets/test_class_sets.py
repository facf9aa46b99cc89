"""The tables of names and colours, against those that their makers print."""

from __future__ import annotations

import pytest

from bench.plugins import registry
from datasets import class_sets
from datasets.class_sets import ADE_150, CITYSCAPES_19, IDD_LITE_7, SYNTHIA_16, voc_colour

TABLES = {
    "camvid-11": (
        """
        sky, building, pole, road, pavement, tree, sign symbol, fence, car, pedestrian, bicyclist
        """,
        """
        808080 800000 c0c080 804080 3c28de 808000 c08080 404080 400080 404000 0080c0
        """,
    ),
    "cityscapes-19": (
        """
        road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky,
        person, rider, car, truck, bus, train, motorcycle, bicycle
        """,
        """
        804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e
        000046 003c64 005064 0000e6 770b20
        """,
    ),
    "idd-26": (
        """
        road, drivable fallback, sidewalk, non-drivable fallback, person, rider, motorcycle, bicycle,
        autorickshaw, car, truck, bus, vehicle fallback, curb, wall, fence, guard rail, billboard, traffic
        sign, traffic light, pole, obs-str-bar-fallback, building, bridge, vegetation, sky
        """,
        """
        804080 510051 f423e8 98fb98 dc143c ff0000 0000e6 770b20 ffcc36 00008e 000046 003c64 888f99 dcbe28
        66669c be9999 b4a5b4 ae4043 dcdc00 faaa1e 999999 a9bbd6 464646 966464 6b8e23 4682b4
        """,
    ),
    "mapillary-65": (
        """
        bird, ground animal, curb, fence, guard rail, barrier, wall, bike lane, crosswalk - plain, curb cut,
        parking, pedestrian area, rail track, road, service lane, sidewalk, bridge, building, tunnel, person,
        bicyclist, motorcyclist, other rider, lane marking - crosswalk, lane marking - general, mountain,
        sand, sky, snow, terrain, vegetation, water, banner, bench, bike rack, billboard, catch basin, cctv
        camera, fire hydrant, junction box, mailbox, manhole, phone booth, pothole, street light, pole,
        traffic sign frame, utility pole, traffic light, traffic sign (back), traffic sign (front), trash can,
        bicycle, boat, bus, car, caravan, motorcycle, on rails, other vehicle, trailer, truck, wheeled slow,
        car mount, ego vehicle
        """,
        """
        a52a2a 00c000 c4c4c4 be9999 b4a5b4 5a7896 66669c 8040ff 8c8cc8 aaaaaa faaaa0 606060 e6968c 804080
        6e6e6e f423e8 966464 464646 96785a dc143c ff0000 ff0064 ff00c8 c88080 ffffff 40aa40 e6a032 4682b4
        beffff 98fb98 6b8e23 00aa1e ffff80 fa001e 648cb4 dcdcdc dc8080 de2828 64aa1e 282828 212121 6480a0
        8e0000 466496 d2aa64 999999 808080 000050 faaa1e c0c0c0 dcdc00 8c8c14 770b20 9600ff 003c64 00008e
        00005a 0000e6 005064 804040 00006e 000046 0000c0 202020 780a0a
        """,
    ),
    "ade-150": (
        """
        wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person,
        earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea,
        mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion,
        base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace,
        refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway,
        river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove,
        palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light,
        truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
        apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
        fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall,
        tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal,
        bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
        ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
        """,
        """
        787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846
        08ff33 ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc
        ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14
        ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff
        ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00
        008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014
        ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900
        00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070
        5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff
        ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff
        4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
        """,
    ),
    "voc-21": (
        """
        background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog,
        horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
        """,
        """
        000000 800000 008000 808000 000080 800080 008080 808080 400000 c00000 408000 c08000 400080 c00080
        408080 c08080 004000 804000 00c000 80c000 004080
        """,
    ),
    "scannet-20": (
        """
        wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, counter, desk,
        curtain, refrigerator, shower curtain, toilet, sink, bathtub, other furniture
        """,
        """
        aec7e8 98df8a 1f77b4 ffbb78 bcbd22 8c564b ff9896 d62728 c5b0d5 9467bd c49c94 17becf f7b6d2 dbdb8d
        ff7f0e 9edae5 2ca02c 708090 e377c2 5254a3
        """,
    ),
    "street-hazards-13": (
        """
        unlabeled, building, fence, other, pedestrian, pole, road line, road, sidewalk, vegetation, car, wall,
        traffic sign
        """,
        """
        000000 464646 be9999 faaaa0 dc143c 999999 9dea32 804080 f423e8 6b8e23 00008e 66669c dcdc00
        """,
    ),
}
"""By class set: names and colours in the order of training ids, as printed by SegNet's tutorial, ``labels.py`` of
cityscapesScripts, ``anue_labels.py`` of AutoNUE, ``config.json`` of Mapillary Vistas 1.2, ``ade_palette`` and
``voc_palette`` of MMSegmentation, ``util.py`` of ScanNet's benchmark and anomaly-seg."""

CLASS_SETS = {plugin.classes.name: plugin.classes for plugin in map(registry.datasets.get, registry.datasets.names())}


@pytest.mark.parametrize("name", TABLES)
def test_names_colours_and_order_are_the_makers(name):
    names, colours = TABLES[name]
    assert [*CLASS_SETS[name].names] == " ".join(names.split()).split(", ")
    assert [bytes(colour).hex() for colour in CLASS_SETS[name].colours] == colours.split()


def test_synthia_has_the_classes_of_cityscapes_but_for_three():
    absent = {"terrain", "truck", "train"}
    rows = [row for row in zip(CITYSCAPES_19.names, CITYSCAPES_19.colours, strict=True) if row[0] not in absent]
    assert rows == [*zip(SYNTHIA_16.names, SYNTHIA_16.colours, strict=True)]
    assert len(rows) == 16


def test_idd_lite_is_level_1_of_idd():
    names = "drivable, non-drivable, living things, vehicles, roadside objects, far objects, sky"
    assert [*IDD_LITE_7.names] == names.split(", ")


def test_colours_tell_classes_apart():
    for name in ("CAMVID_11", "IDD_LITE_7", "CITYSCAPES_19", "SYNTHIA_16", "VOC_21", "ANOMALY"):
        colours = getattr(class_sets, name).colours
        assert len(set(colours)) == len(colours), name
    # ADE20K's customary palette gives road and skyscraper one colour.
    assert len(set(ADE_150.colours)) == 149


def test_voc_palette_has_256_distinct_colours_and_white_grey_boundary():
    assert len({voc_colour(i) for i in range(256)}) == 256
    assert voc_colour(0) == (0, 0, 0)
    assert voc_colour(1) == (128, 0, 0)
    assert voc_colour(255) == (224, 224, 192)
