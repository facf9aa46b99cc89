"""Pictures for people: predictions and anomaly scores beside the image and the ground truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bench.common import files
from bench.common.console import note, progress
from bench.common.errors import UserError
from bench.common.text import visible
from bench.model import weights as models
from bench.model.predictor import ImagePrediction, Predictor, score_maps
from bench.plugins import registry
from bench.records.store import Store, compressed
from bench.runs import execute as runs
from bench.runs import plan as planning
from bench.schema.record import Record
from bench.training import ranks
from datasets.base import IGNORE, UNLABELLED, ClassSet, Dataset, MissingData, Roots
from datasets.images import read_rgb
from datasets.integrity import DECODING_ERRORS, reason
from methods.base import Method

BLEND = 0.6
"""Weight of the class colour over the image."""
VOID_COLOUR = (0, 0, 0)
UNLABELLED_COLOUR = (255, 255, 255)
CAPTION = 14
"""Height of a caption in pixels."""


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
    values = scores.cpu().numpy()
    mask = valid.cpu().numpy()
    low, high = np.percentile(values[mask], [1, 99]) if mask.any() else (0.0, 1.0)
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    picture: np.ndarray = (mpl.colormaps["inferno"](scaled)[..., :3] * 255).astype(np.uint8)
    picture[~mask] = VOID_COLOUR
    return picture


def panel(columns: Sequence[tuple[str, np.ndarray]], width: int = 320) -> Image.Image:
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
        draw.rectangle((x + 2, y + 2, x + 14, y + 14), fill=colour)
        draw.text((x + 18, y + 2), visible(name), fill=(0, 0, 0))
    return sheet


def save(image: Image.Image, path: Path) -> Path:
    """Write a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    files.write(path, buffer.getbuffer())
    return path


def score_picture(
    prediction: ImagePrediction, size: tuple[int, int], score: str, density: str, valid: Tensor | None = None
) -> np.ndarray:
    """The heat map of one anomaly score of a prediction at ``size`` (H, W)."""
    everywhere = torch.ones(size, dtype=torch.bool, device=prediction.maps.logits.device)
    scores = score_maps(prediction, size, everywhere, density)
    if score not in scores:
        raise UserError(f"the method has no anomaly score {score!r}; it has {', '.join(scores)}")
    return heat(scores[score].view(size), everywhere if valid is None else valid)


def evenly(dataset: Dataset, count: int) -> list[int]:
    """``count`` indices spread over the data set."""
    return [int(index) for index in np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))]


def compare(
    methods: dict[str, Method],
    records: dict[str, Record],
    dataset: Dataset,
    classes: ClassSet,
    out: Path,
    count: int = 4,
) -> Path:
    """One sheet: images with ground truth and every method's prediction, or anomaly score, beside it."""
    rows = []
    for index in progress(evenly(dataset, count), f"pictures of {dataset.name}/{dataset.split}", count):
        sample = dataset[index]
        size = (sample.label.shape[0], sample.label.shape[1])
        columns = [("image " + sample.id[-30:], sample.image.permute(1, 2, 0).numpy())]
        if dataset.task == "anomaly":
            truth = np.zeros((*size, 3), np.uint8)
            truth[(sample.label == 0).numpy()] = (90, 90, 90)
            truth[(sample.label == 1).numpy()] = (255, 160, 0)
            columns.append(("anomaly (orange), void (black)", truth))
        else:
            columns.append(("ground truth", overlay(sample.image, sample.label, dataset.classes)))
        for name, method in methods.items():
            predictor = Predictor(method, records[name].config.recipe.inference, torch.device("cpu"))
            if dataset.task == "anomaly":
                score = method.headline_score
                picture = score_picture(
                    predictor(sample.image), size, score, method.density_score, sample.label != IGNORE
                )
                columns.append((f"{name}: {score}", picture))
            else:
                predicted = predictor(sample.image).logits(size).argmax(0)
                columns.append((name, overlay(sample.image, predicted, classes)))
        rows.append([panel(columns)])
    if dataset.task != "anomaly":
        rows.append([legend(classes, rows[0][0].width)])
    return save(grid(rows), out / f"{dataset.name}-{dataset.split}.png")


def sheets(store: Store, root: Roots, out: Path, count: int) -> list[Path]:
    """A sheet of comparisons for each data set and target, from the first seed of every method that has its model."""
    groups: dict[str, dict[str, Record]] = {}
    unknown: dict[str, None] = {}
    for record in store.records():
        if record.status == "complete" and (store.run_folder(record.run_id) / models.MODEL).exists():
            try:
                registry.methods.get(record.config.method_name)
                registry.datasets.get(record.config.data.name)
            except UserError as error:
                unknown[str(error)] = None
                continue
            group = groups.setdefault(f"{record.config.data.name}-{record.config.recipe.name}", {})
            label = record.config.method_name
            if label not in group or record.config.seed < group[label].config.seed:
                group[label] = record
    if not groups and unknown:
        raise UserError(next(iter(unknown)))
    for sentence in unknown:
        note(f"skipped: {sentence}")
    if not groups:
        raise UserError(f"there is no finished run with its model in {store.root}; make one with `bench run`")
    written = []
    for title, records in groups.items():
        methods = {name: runs.load(store, record) for name, record in records.items()}
        first = next(iter(records.values()))
        source = registry.datasets.get(first.config.data.name)
        open_ = planning.opener(root, first.config.data.allow_partial)
        protocols = map(registry.protocols.get, registry.protocols.names())
        elsewhere = [target for p in protocols if not p.on_source for target in p.targets(source)]
        for name, split in dict.fromkeys([(source.name, source.eval_splits[0]), *elsewhere]):
            try:
                dataset = open_(name, split)
            except MissingData as error:
                note(f"skipped: {error}")
                continue
            written.append(compare(methods, records, dataset, source.classes, out / title, count))
    return written


def predict(
    method: Method, record: Record, images: Sequence[Path], out: Path, device: str, arrays: bool = False
) -> list[Path]:
    """Write, for each image, ``NAME_classes.png`` (ids), ``NAME_overlay.png`` and ``NAME_SCORE.png``.

    With ``arrays`` instead ``NAME.npz`` for other evaluators, in the image's own size: ``classes`` (H, W) uint8,
    ``logits`` (C, H, W) and every anomaly score (H, W) by its name, float32, higher is more anomalous.
    """
    fabric = ranks.make_fabric(device, record.config.recipe.precision)
    classes = registry.datasets.get(record.config.data.name).classes
    predictor = Predictor(method.to(fabric.device), record.config.recipe.inference, fabric.device)
    stems = [path.stem for path in images]
    named = [p.stem if stems.count(p.stem) == 1 else f"{p.parent.name}-{p.stem}" for p in images]
    for path, name in zip(images, named):
        if named.count(name) > 1:
            raise UserError(f"pictures of {path} would be written twice, as {name}_...; give every image another name")
    written = []
    for path, name in progress(list(zip(images, named)), "predicting", len(images)):
        image = read_image(path)
        size = (image.shape[1], image.shape[2])
        prediction = predictor(image)
        labels = prediction.logits(size).argmax(0).cpu()
        if arrays:
            every = torch.ones(size, dtype=torch.bool, device=fabric.device)
            scores = score_maps(prediction, size, every, method.density_score)
            found = {name: scored.view(size) for name, scored in scores.items()} | {"logits": prediction.logits(size)}
            content = {name: tensor.float().cpu().numpy() for name, tensor in found.items()}
            content["classes"] = labels.numpy().astype(np.uint8)
            files.write(out / f"{name}.npz", compressed(content))
            written.append(out / f"{name}.npz")
            continue
        score = method.headline_score
        pictures = {
            "classes": Image.fromarray(labels.numpy().astype(np.uint8)),
            "overlay": Image.fromarray(overlay(image, labels, classes)),
            score: Image.fromarray(score_picture(prediction, size, score, method.density_score)),
        }
        written += [save(picture, out / f"{name}_{kind}.png") for kind, picture in pictures.items()]
    return written


def read_image(path: Path) -> Tensor:
    """Decode a user's image to (3, H, W) uint8, turned as its EXIF orientation says."""
    try:
        pixels = read_rgb(path, as_seen=True)
    except FileNotFoundError:
        raise UserError(f"there is no image {path}; check the path") from None
    except DECODING_ERRORS as error:
        raise UserError(f"image {path} cannot be decoded ({reason(error)}); give a PNG, JPEG or WebP file") from None
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
