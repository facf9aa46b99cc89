"""The layout of a scene: a street, what stands along it, who moves on it, and the light on it all."""

from __future__ import annotations

from dataclasses import dataclass

from datasets.toyscapes.buildings import Building, Facade, Skyline
from datasets.toyscapes.canvas import Camera, Canvas
from datasets.toyscapes.draws import Colour, Draw
from datasets.toyscapes.furniture import Pole, drawn_fence, drawn_light, drawn_person, drawn_sign
from datasets.toyscapes.ground import Ground, Street, paint_building_shadow, paint_shadow, paint_sky
from datasets.toyscapes.plants import Hedge, drawn_bush, drawn_tree
from datasets.toyscapes.things import Light, Thing
from datasets.toyscapes.towns import Town
from datasets.toyscapes.vehicles import drawn_bicycle, drawn_car, drawn_truck

_END = 115.0
"""Metres to the last lot."""


@dataclass
class Scene:
    """Everything that is drawn before the first sample is painted."""

    camera: Camera
    street: Street
    ground: Ground
    light: Light
    sky: tuple[Colour, Colour]
    buildings: list[tuple[int, Building]]
    """With the side of the street, 0 left and 1 right."""
    backdrop: list[Thing]
    """What throws no shadow: skyline, fences, hedges."""
    things: list[Thing]

    def paint(self, draw: Draw) -> Canvas:
        """Paint sky, ground, shadows and things."""
        canvas = Canvas(self.camera)
        paint_sky(canvas, draw, *self.sky)
        self.ground.paint(canvas)
        if not self.light.lit:
            self._paint_building_shadows(canvas)
        for thing in self.things:
            paint_shadow(canvas, thing.footprint, self.light)
        # houses from near to far, because most of them are hidden and cost the most; the rest from far to near,
        # because one sees through fences and bicycles
        for _, building in sorted(self.buildings, key=lambda pair: pair[1].near[1]):
            building.paint(canvas, self.light)
        for thing in sorted(self.backdrop + self.things, key=lambda thing: -thing.footprint.z):
            thing.paint(canvas, self.light)
        return canvas

    def _paint_building_shadows(self, canvas: Canvas) -> None:
        shadowed = 0 if self.light.slant > 0.0 else 1
        if self.light.shadow > 0.9:
            return
        for side, building in self.buildings:
            if side == shadowed:
                reach = min(abs(self.light.slant) * building.facade.height * 0.55, 9.0)
                depths = (building.near[1], building.far[1])
                paint_building_shadow(canvas, self.street, side, depths, reach)


def drawn_scene(draw: Draw, town: Town, size: tuple[int, int], *, lit: bool) -> Scene:
    """Lay out a scene of ``town``; ``lit`` switches the lamps on."""
    street = _drawn_street(draw, town)
    camera = _drawn_camera(draw, size)
    light = _drawn_light(draw, lit)
    ground = Ground(draw, town, street)
    scene = Scene(camera, street, ground, light, draw.choice(town.skies), [], [], [])
    scene.backdrop.append(
        Skyline(
            z=draw.between(120.0, 170.0),
            step=draw.between(9.0, 18.0),
            height=draw.between(7.0, 15.0),
            colour=draw.colour(town.facade_colours[draw.choice(town.facades)], 0.03),
            leaves=draw.colour(town.leaves, 0.02),
            wooded=draw.between(0.15, 0.85),
            offset=draw.integer(0, 255),
        )
    )
    for side in (0, 1):
        _add_lots(scene, draw, town, side)
        _add_kerb(scene, draw, town, side)
        _add_walkers(scene, draw, town, side)
    _add_traffic(scene, draw, town)
    _add_crossing(scene, draw, town)
    light.lamps.extend(lamp for thing in scene.things if isinstance(thing, Pole) and (lamp := thing.lamp()))
    return scene


def _drawn_street(draw: Draw, town: Town) -> Street:
    half = draw.between(*town.half_road)
    lanes = 2 if half < 4.6 else draw.choice((2, 3, 4))
    verges = (
        draw.between(0.8, 3.0) if draw.chance(0.4) else 0.0,
        draw.between(0.8, 3.0) if draw.chance(0.4) else 0.0,
    )
    crossing = draw.between(13.0, 26.0) if draw.chance(0.45) else -1.0
    zebra = -1.0
    if crossing > 0.0 and draw.chance(0.6):
        zebra = crossing - 6.0
    elif draw.chance(0.2):
        zebra = draw.between(8.0, 18.0)
    return Street(
        shift=-half * draw.between(0.15, 0.65),
        bend=draw.between(-0.0016, 0.0016),
        half=half,
        lanes=lanes,
        verges=verges,
        walks=(draw.between(*town.walk), draw.between(*town.walk)),
        crossing=crossing,
        crossing_width=draw.between(5.5, 9.0),
        zebra=zebra,
    )


def _drawn_camera(draw: Draw, size: tuple[int, int]) -> Camera:
    rows, columns = size
    return Camera(
        rows=rows,
        columns=columns,
        focal=columns * draw.between(0.80, 1.05),
        horizon=rows * draw.between(0.42, 0.53),
        middle=columns * draw.between(0.40, 0.60),
        height=draw.between(1.45, 2.1),
    )


def _drawn_light(draw: Draw, lit: bool) -> Light:
    slant = draw.side() * draw.between(0.3, 1.3)
    if lit or draw.chance(0.4):
        level = draw.between(0.84, 0.98)
        return Light(level, level, level * 1.02, 0.95, slant, lit)
    bright, dark = draw.between(1.04, 1.14), draw.between(0.66, 0.80)
    left, right = (bright, dark) if slant > 0.0 else (dark, bright)
    return Light(left, right, draw.between(0.80, 1.05), draw.between(0.55, 0.70), slant, lit)


def _add_lots(scene: Scene, draw: Draw, town: Town, side: int) -> None:
    street = scene.street
    z = draw.between(2.0, 5.0)
    while z < _END:
        end = z + draw.between(7.0, 20.0)
        kind = draw.choice(town.lots)
        if street.crossed(z - 2.5, end + 2.5):
            if z < street.crossing - 7.0:
                end = street.crossing - 2.6
            else:
                z = street.crossing + street.crossing_width + 2.6
                continue
        if kind == "building":
            _add_building(scene, draw, town, side, z, end, setback=0.0)
            z = end + (draw.between(1.0, 5.0) if draw.chance(0.25) else 0.0)
            continue
        _add_boundary(scene, draw, town, side, z, end)
        front = street.front(side)
        if kind == "garden":
            _add_building(scene, draw, town, side, z + 1.0, end - 0.5, setback=draw.between(4.0, 8.0))
        elif kind == "yard":
            _add_building(scene, draw, town, side, z, end, setback=draw.between(12.0, 20.0))
            if draw.chance(0.4):
                x = street.x(side, front + 5.0, end - 2.0)
                scene.things.append(drawn_truck(draw, town, x, end - 2.0, 0.0, False, draw.side()))
        plants = draw.integer(0, 2) if kind != "park" else draw.integer(2, 5)
        for _ in range(plants):
            depth = draw.between(z, end)
            x = street.x(side, front + draw.between(1.5, 4.0 if kind == "garden" else 12.0), depth)
            grow = drawn_tree if draw.chance(0.6) else drawn_bush
            scene.things.append(grow(draw, town, x, max(depth, 5.0)))
        z = end


def _add_building(scene: Scene, draw: Draw, town: Town, side: int, start: float, end: float, *, setback: float) -> None:
    if end - start < 3.0:
        return
    away = scene.street.front(side) + setback
    near = (scene.street.x(side, away, start), start)
    far = (scene.street.x(side, away, end), end)
    outward = draw.between(8.0, 14.0) * (1.0 if side else -1.0)
    scene.buildings.append((side, Building(Facade.drawn(draw, town), near, far, outward)))


def _add_boundary(scene: Scene, draw: Draw, town: Town, side: int, start: float, end: float) -> None:
    street = scene.street
    away = street.front(side) + 0.1
    near, far = (street.x(side, away, start), start), (street.x(side, away, end), end)
    pick = draw.unit()
    if pick < 0.78:
        scene.backdrop.append(drawn_fence(draw, town, near, far))
    elif pick < 0.90:
        leaves = draw.colour(town.leaves, 0.03)
        scene.backdrop.append(Hedge(near, far, draw.between(0.8, 2.0), leaves, draw.integer(0, 255)))


def _free(scene: Scene, z: float) -> bool:
    return not scene.street.crossed(z - 1.5, z + 1.5)


def _add_kerb(scene: Scene, draw: Draw, town: Town, side: int) -> None:
    """Lamp posts, signs, trees, bollards and parked bicycles, between road and sidewalk."""
    street = scene.street
    kerb = street.kerb(side)
    inward = -1.0 if side else 1.0
    post, height = draw.colour(town.poles, 0.02), draw.between(5.0, 8.0)
    width, arm = draw.between(0.28, 0.42), draw.between(1.0, 2.2) if draw.chance(0.75) else 0.0
    z, step = draw.between(8.0, 18.0), draw.between(14.0, 26.0)
    while z < 48.0:
        if _free(scene, z):
            x = street.x(side, kerb + 0.35, z)
            scene.things.append(Pole(x, z, height, width, arm * inward, post))
        z += step
    for _ in range(draw.integer(0, 3)):
        z = 8.0 + 16.0 * draw.unit() * draw.unit()
        if _free(scene, z):
            scene.things.append(drawn_sign(draw, town, street.x(side, kerb + draw.between(0.3, 0.8), z), z))
    z = draw.between(4.0, 12.0)
    rate = town.trees * draw.between(0.0, 2.5)
    while z < 60.0:
        if _free(scene, z) and draw.chance(rate * 5.0):
            away = street.half + 0.5 * street.verges[side] if street.verges[side] else kerb + 0.7
            scene.things.append(drawn_tree(draw, town, street.x(side, away, z), z))
        z += 5.0
    if draw.chance(0.15):
        z, step = draw.between(5.0, 10.0), draw.between(1.6, 2.6)
        for number in range(draw.integer(4, 9)):
            place = z + step * number
            if _free(scene, place):
                scene.things.append(Pole(street.x(side, kerb + 0.3, place), place, 0.95, 0.16, 0.0, post))
    if draw.chance(0.65):
        z = 7.0 + 14.0 * draw.unit() * draw.unit()
        away = kerb + 0.7 if draw.chance(0.6) else street.front(side) - 0.4
        for number in range(draw.integer(1, 4)):
            place = z + 0.8 * number
            if _free(scene, place):
                scene.things.append(drawn_bicycle(draw, town, street.x(side, away, place), place))


def _add_walkers(scene: Scene, draw: Draw, town: Town, side: int) -> None:
    street = scene.street
    for _ in range(draw.integer(1, 6)):
        z = 6.5 + 18.0 * draw.unit() * draw.unit()
        for _ in range(2 if draw.chance(0.3) else 1):
            away = draw.between(street.kerb(side) + 0.4, street.front(side) - 0.2)
            place = max(z + draw.between(-0.6, 0.6), 4.0)
            scene.things.append(drawn_person(draw, town, street.x(side, away, place), place))


def _add_traffic(scene: Scene, draw: Draw, town: Town) -> None:
    """Parked and moving vehicles along the street, no two in one place."""
    street = scene.street
    for side in (0, 1):
        oncoming = side == 0
        parking = street.half > 4.3 and draw.chance(0.7)
        if parking:
            z, rate = draw.between(4.0, 9.0), draw.between(0.3, 0.9)
            while z < 45.0:
                slope = 2.0 * street.bend * z
                x = street.x(side, street.half - 1.05, z)
                long = draw.chance(0.08)
                if draw.chance(rate) and not street.crossed(z - 1.0, z + (11.0 if long else 7.0)):
                    make = drawn_truck if long else drawn_car
                    scene.things.append(make(draw, town, x, z, slope, oncoming != draw.chance(0.1)))
                z += draw.between(5.6, 7.0) + (5.0 if long else 0.0)
        lane = (street.half - (2.1 if parking else 0.0)) * 0.5
        z = draw.between(7.0, 26.0) if oncoming else draw.between(9.0, 40.0)
        while z < 48.0:
            if draw.chance(0.7):
                slope = 2.0 * street.bend * z
                make = drawn_truck if draw.chance(0.35) else drawn_car
                scene.things.append(make(draw, town, street.x(side, lane, z), z, slope, oncoming))
            z += draw.between(13.0, 30.0)


def _add_crossing(scene: Scene, draw: Draw, town: Town) -> None:
    """Cross traffic, traffic lights, and people on the zebra crossing."""
    street = scene.street
    if street.crossing > 0.0:
        for _ in range(draw.integer(0, 2)):
            heading = draw.side()
            z = street.crossing + street.crossing_width * (0.3 if heading > 0.0 else 0.7)
            x = street.middle(z) + draw.between(-16.0, 16.0)
            make = drawn_truck if draw.chance(0.3) else drawn_car
            scene.things.append(make(draw, town, x, z, 0.0, False, heading))
    if street.crossing > 0.0 or street.zebra > 0.0 or draw.chance(0.4):
        z = street.crossing - 1.6 if street.crossing > 0.0 else max(street.zebra, draw.between(9.0, 20.0))
        arms = draw.chance(0.5)
        for side in (0, 1):
            if draw.chance(0.85):
                arm = draw.between(2.0, 3.4) * (-1.0 if side else 1.0) if arms else 0.0
                x = street.x(side, street.kerb(side) + 0.4, z)
                scene.things.append(drawn_light(draw, town, x, z, arm))
    if street.zebra > 0.0:
        for _ in range(draw.integer(0, 3)):
            z = street.zebra + draw.between(0.4, 2.6)
            x = street.middle(z) + draw.between(-street.half, street.half)
            scene.things.append(drawn_person(draw, town, x, max(z, 4.0)))
