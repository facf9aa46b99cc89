"""What weather, the hour and the camera do to a painted scene."""

from __future__ import annotations

import numpy as np

from datasets.toyscapes.canvas import FAR, Camera, Canvas
from datasets.toyscapes.classes import ROAD, SIDEWALK
from datasets.toyscapes.draws import Draw, Floats
from datasets.toyscapes.textures import fraction, noise, when
from datasets.toyscapes.things import Light


class View:
    """A painted scene at the picture's own resolution."""

    def __init__(self, canvas: Canvas) -> None:
        self.camera: Camera = canvas.camera
        self.colour: Floats = canvas.picture()
        self.label: np.ndarray = canvas.centres(canvas.label)
        self.depth: Floats = canvas.centres(canvas.depth)
        self.glow: Floats = canvas.centres(canvas.glow)
        self.v: Floats = canvas.v[1::2]
        self.u: Floats = canvas.u[:, 1::2]


def fog(view: View, draw: Draw) -> None:
    """Let what is far fade into grey."""
    thickness = draw.between(0.014, 0.034)
    x = view.depth * thickness
    through = 1.0 / (1.0 + x + 0.5 * x * x + 0.17 * x * x * x)
    drift = noise("cloud", view.u * (128.0 / view.camera.columns), view.v * (256.0 / view.camera.columns), 5)
    through = np.clip(through * (1.0 + 0.15 * drift), 0.0, 1.0)[:, :, None]
    level = draw.between(0.66, 0.80)
    grey = np.asarray((level, level * 1.005, level * 1.015), np.float32)
    luminance = (view.colour[:, :, 0:1] + view.colour[:, :, 1:2] + view.colour[:, :, 2:3]) * (1.0 / 3.0)
    dull = view.colour + 0.35 * (luminance - view.colour)
    view.colour = dull * through + grey * (1.0 - through)


def night(view: View, draw: Draw, light: Light) -> None:
    """Replace the daylight by street lamps, headlights and lit windows."""
    cam = view.camera
    z = np.minimum(view.depth, np.float32(400.0))
    x = (view.u - cam.middle) * (1.0 / cam.focal) * z
    y = cam.height - (view.v - cam.horizon) * (1.0 / cam.focal) * z
    pools = np.zeros(z.shape, np.float32)
    for lamp in light.lamps:
        if lamp.z > 70.0:
            continue
        dx, dy, dz = x - lamp.x, np.minimum(y - lamp.y, np.float32(0.0)), z - lamp.z
        away = (dx * dx + dz * dz) * 0.045 + dy * dy * 0.012
        pools += when(y < lamp.y + 0.4, 0.85) / (1.0 + away * away)
    wide = x / (1.2 + 0.22 * z)
    tall = np.maximum(y - 0.9, np.float32(0.0)) * 0.7
    beam = 0.75 / ((1.0 + z * z * 0.004) * (1.0 + wide * wide * wide * wide) * (1.0 + tall * tall))
    ambient = draw.between(0.18, 0.28)
    sky = view.depth >= FAR
    warm = np.asarray((1.0, 0.80, 0.52), np.float32)
    cold = np.asarray((0.72, 0.84, 1.20), np.float32)
    white = np.asarray((0.95, 0.95, 1.0), np.float32)
    lit = ambient * cold + pools[:, :, None] * warm + beam[:, :, None] * white
    haze = np.clip(1.0 - (cam.horizon - view.v) * (1.0 / max(cam.horizon, 1.0)), 0.0, 1.0)
    dark = (0.035 + 0.085 * haze * haze)[:, :, None] * np.asarray((0.95, 0.9, 1.15), np.float32)
    lit = np.where(sky[:, :, None], dark * 1.9, lit)
    source = view.colour * view.glow[:, :, None]
    halo = _blurred(source * (view.glow > 0.6)[:, :, None], 4)
    view.colour = view.colour * lit + source + 0.8 * halo
    view.colour += draw.bell_field(cam.rows, cam.columns, 3) * draw.between(0.018, 0.036)


def rain(view: View, draw: Draw) -> None:
    """Darken and wet the scene: mirrors on the road, a grey sky, streaks in the air, drops on the lens."""
    cam = view.camera
    level = draw.between(0.42, 0.56)
    grey = np.asarray((level, level * 1.02, level * 1.05), np.float32)
    sky = (view.depth >= FAR)[:, :, None]
    view.colour = np.where(sky, view.colour * 0.25 + grey * 0.75, view.colour * draw.between(0.60, 0.76))
    ground = ((view.label == ROAD) | (view.label == SIDEWALK)) & (view.depth < FAR)
    ripple = noise("patch", view.u * 1.2, view.v * 3.0, draw.integer(0, 255))
    row = 2.0 * cam.horizon - view.v + 3.0 * ripple - 0.12 * (view.v - cam.horizon)
    source = np.clip(row, 0.0, cam.rows - 1.0).astype(np.int32)
    mirrored = np.take_along_axis(view.colour, source[:, :, None], axis=0)
    puddle = noise("cloud", view.u * 1.1, view.v * 3.4, draw.integer(0, 255))
    wet = np.clip(0.26 + 0.34 * puddle, 0.05, 0.7) * ground
    view.colour += wet[:, :, None] * (mirrored - view.colour * 0.8)
    x = np.minimum(view.depth, np.float32(300.0)) * 0.012
    through = (1.0 / (1.0 + x + 0.5 * x * x))[:, :, None]
    view.colour = view.colour * through + grey * (1.0 - through)
    scale = 256.0 / cam.columns
    slant = draw.between(-0.35, 0.35)
    for number in range(2):
        across = (view.u + slant * view.v) * scale
        lane = np.floor(across * (0.9 - 0.3 * number))
        along = view.v * (scale * 0.035 * (1.0 + number)) + 7.0 * noise("cell", lane, lane * 0.0, number)
        chance = noise("cell", lane * 3.0, np.floor(along), number + 11)
        streak = (chance > 0.45) & (fraction(along) < 0.55)
        view.colour += when(streak, 0.13)[:, :, None] * (1.0 - view.colour)
    for _ in range(draw.integer(3, 9)):
        _drop(view, draw)


def _drop(view: View, draw: Draw) -> None:
    cam = view.camera
    u, v = draw.between(0.0, cam.columns), draw.between(0.0, cam.rows)
    radius = draw.between(0.012, 0.03) * cam.columns
    top, bottom = max(0, int(v - radius)), min(cam.rows, int(v + radius) + 2)
    left, right = max(0, int(u - radius)), min(cam.columns, int(u + radius) + 2)
    part = view.colour[top:bottom, left:right]
    da, db = view.u[:, left:right] - u, view.v[top:bottom] - v
    amount = np.clip(1.2 - (da * da + db * db) * (1.0 / (radius * radius)), 0.0, 0.75)[:, :, None]
    middle = view.colour[min(int(v), cam.rows - 1), min(int(u), cam.columns - 1)]
    bright = middle * (1.15 - 0.25 * db[:, :, None] * (1.0 / radius))
    part += amount * (bright - part)


def expose(view: View, draw: Draw) -> np.ndarray:
    """What the camera records: gain, white balance, vignette and noise; (H, W, 3) uint8."""
    cam = view.camera
    gain = draw.between(0.90, 1.10)
    balance = np.asarray([gain * draw.between(0.97, 1.03) for _ in range(3)], np.float32)
    du = (view.u - cam.columns * 0.5) * (1.0 / cam.columns)
    dv = (view.v - cam.rows * 0.5) * (1.0 / cam.columns)
    vignette = 1.0 - draw.between(0.0, 0.5) * (du * du + dv * dv)
    colour = view.colour * balance * vignette[:, :, None]
    colour += draw.bell_field(cam.rows, cam.columns, 3) * draw.between(0.006, 0.016)
    return (np.clip(colour, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)


def _blurred(values: Floats, passes: int) -> Floats:
    for number in range(passes):
        reach = 1 + number
        for axis in (0, 1):
            padded = np.concatenate([np.zeros_like(values.take(range(reach), axis)), values], axis)
            ahead = np.concatenate([values, np.zeros_like(values.take(range(reach), axis))], axis)
            length = values.shape[axis]
            back = padded.take(range(length), axis)
            forth = ahead.take(range(reach, length + reach), axis)
            values = values * 0.5 + (back + forth) * 0.25
    return values
