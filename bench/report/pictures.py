"""Pictures for people: predictions and anomaly scores beside the image and the ground truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation
from torch import Tensor
from torch.nn import functional as F

from bench.common import files
from bench.common.errors import UserError
from bench.common.text import visible
from bench.model.predictor import ImagePrediction, score_maps
from datasets.base import IGNORE, UNLABELLED, ClassSet
from datasets.images import read_rgb
from datasets.integrity import DECODING_ERRORS, reason

BLEND = 0.6
"""Weight of the class colour over the image."""
VOID_COLOUR = (0, 0, 0)
UNLABELLED_COLOUR = (255, 255, 255)
WRONG = (213, 94, 0)
OUTLINE = (0, 255, 255)
"""Of anomalies: no colour of a heat map."""
CAPTION = 14
"""Height of a caption in pixels."""
WIDTH = 320
"""Of a picture among others, in pixels."""


def coloured(labels: Tensor, classes: ClassSet) -> np.ndarray:
    """RGB uint8 (H, W, 3) of a label map (H, W); void is black, unlabelled white."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(classes)] = classes.colours
    table[UNLABELLED] = UNLABELLED_COLOUR
    return table[labels.cpu().numpy().astype(np.uint8)]


def overlay(image: Tensor, labels: Tensor, classes: ClassSet) -> np.ndarray:
    """The image (3, H, W) uint8 with the label map's colours over it."""
    pixels = image.permute(1, 2, 0).numpy().astype(np.float32)
    colours = coloured(labels, classes).astype(np.float32)
    return (BLEND * colours + (1 - BLEND) * pixels).round().astype(np.uint8)


def heat(scores: Tensor, valid: Tensor) -> np.ndarray:
    """RGB uint8 of a score map (H, W), stretched between the 1st and 99th percentile of its valid pixels."""
    low, high = _ends(scores, valid)
    picture = _inferno((scores.cpu().numpy() - low) / max(high - low, 1e-12))
    picture[~valid.cpu().numpy()] = VOID_COLOUR
    return picture


def _ends(scores: Tensor, valid: Tensor) -> tuple[float, float]:
    """The 1st and the 99th percentile of the valid pixels."""
    values = scores.cpu().numpy()[valid.cpu().numpy()]
    low, high = np.percentile(values, [1, 99]) if len(values) else (0.0, 1.0)
    return float(low), float(high)


def _inferno(shares: np.ndarray) -> np.ndarray:
    """RGB uint8 (..., 3) of what goes from 0 to 1."""
    colours: np.ndarray = (mpl.colormaps["inferno"](np.clip(shares, 0, 1))[..., :3] * 255).astype(np.uint8)
    return colours


def anomaly_map(scores: Tensor, label: Tensor) -> np.ndarray:
    """The heat map of scores (H, W), shrunk, with lines around anomalies (label 1) and a bar of its colours below."""
    valid = label != IGNORE
    picture = shrunk(heat(scores, valid))
    height, width = picture.shape[:2]
    # Every cell with an anomalous pixel: a small object outlasts the shrinking.
    objects = F.adaptive_max_pool2d((label == 1).float()[None, None], (height, width))[0, 0].bool().numpy()
    picture[binary_dilation(objects, iterations=2) & ~objects] = OUTLINE
    bar = Image.fromarray(np.tile(_inferno(np.linspace(0, 1, width)), (CAPTION, 1, 1)))
    draw = ImageDraw.Draw(bar)
    low, high = (f"{end:.3g}" for end in _ends(scores, valid))
    draw.text((3, 1), low, fill=(255, 255, 255))
    draw.text((width - 3, 1), high, fill=(0, 0, 0), anchor="ra")
    return np.concatenate([picture, np.asarray(bar)])


def errors(image: Tensor, wrong: Tensor, counts: Tensor) -> np.ndarray:
    """The image (3, H, W) uint8 in grey, where ``wrong`` (H, W) in vermilion, where nothing ``counts`` in black."""
    grey = image.float().mean(0).round().to(torch.uint8).numpy()
    picture = np.stack([grey] * 3, axis=-1)
    picture[wrong.numpy()] = WRONG
    picture[~counts.numpy()] = VOID_COLOUR
    return picture


def shrunk(picture: np.ndarray) -> np.ndarray:
    """``picture`` (H, W, 3) uint8, at most ``WIDTH`` wide."""
    height, width = picture.shape[:2]
    if width <= WIDTH:
        return picture
    size = (WIDTH, max(round(height * WIDTH / width), 1))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def panel(columns: Sequence[tuple[str, np.ndarray]], width: int = WIDTH) -> Image.Image:
    """Pictures side by side under their captions, each ``width`` pixels wide."""
    tiles = []
    for caption, picture in columns:
        height = max(round(picture.shape[0] * width / picture.shape[1]), 1)
        tile = Image.new("RGB", (width, height + CAPTION), (255, 255, 255))
        tile.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), (0, CAPTION))
        ImageDraw.Draw(tile).text((3, 1), visible(caption), fill=(0, 0, 0))
        tiles.append(tile)
    return grid([tiles])


def grid(rows: Sequence[Sequence[Image.Image]], gap: int = 4) -> Image.Image:
    """Tiles in rows, with a gap."""
    widths = [sum(t.width + gap for t in row) - gap for row in rows]
    heights = [max(t.height for t in row) for row in rows]
    sheet = Image.new("RGB", (max(widths), sum(heights) + gap * (len(rows) - 1)), (255, 255, 255))
    top = 0
    for row, height in zip(rows, heights):
        left = 0
        for tile in row:
            sheet.paste(tile, (left, top))
            left += tile.width + gap
        top += height + gap
    return sheet


def legend(classes: ClassSet, width: int) -> Image.Image:
    """The colours of the classes with their names."""
    cell, columns = 120, max(width // 120, 1)
    rows = -(-len(classes) // columns)
    sheet = Image.new("RGB", (width, rows * 16), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for i, (name, colour) in enumerate(zip(classes.names, classes.colours)):
        x, y = i % columns * cell, i // columns * 16
        draw.rectangle((x + 2, y + 2, x + 14, y + 14), fill=colour, outline=(128, 128, 128))  # one may be white
        draw.text((x + 18, y + 2), visible(name), fill=(0, 0, 0))
    return sheet


def png(image: Image.Image) -> memoryview:
    """A picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getbuffer()


def save(image: Image.Image, path: Path) -> Path:
    """Write a picture as PNG."""
    files.write(path, png(image))
    return path


def score_map(prediction: ImagePrediction, size: tuple[int, int], score: str, density: str) -> Tensor:
    """One anomaly score (H, W) of a prediction at ``size``."""
    everywhere = torch.ones(size, dtype=torch.bool, device=prediction.maps.logits.device)
    scores = score_maps(prediction, size, everywhere, density)
    if score not in scores:
        raise UserError(f"the method has no anomaly score {score!r}; it has {', '.join(scores)}")
    return scores[score].view(size)


def read_image(path: Path) -> Tensor:
    """Decode a user's image to (3, H, W) uint8, turned as its EXIF orientation says."""
    try:
        pixels = read_rgb(path, as_seen=True)
    except FileNotFoundError:
        raise UserError(f"there is no image {path}; check the path") from None
    except DECODING_ERRORS as error:
        raise UserError(f"image {path} cannot be decoded ({reason(error)}); give a PNG, JPEG or WebP file") from None
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
