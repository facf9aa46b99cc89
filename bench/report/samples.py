"""What a generative method draws: several label maps for one image, or label maps without any image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.common.console import note, progress
from bench.data import whole_images
from bench.data.reading import evenly
from bench.model.predictor import Predictor, draws_nothing
from bench.plugins import registry
from bench.records.store import Store
from bench.report import pictures
from bench.runs import execute as runs
from bench.runs import same_data as provenance
from bench.schema.record import Record
from bench.training import ranks
from datasets.base import ClassSet, Roots
from methods.base import Collectives, Context, Method
from methods.capabilities import DrawsLabelMaps

COLUMNS = 4
"""Samples in a row of a sheet."""


def of_image(
    method: Method, record: Record, path: Path, count: int, seed: int, out: Path, device: str
) -> tuple[list[Path], float]:
    """Draw ``count`` label maps of the image ``path`` and write them to ``out``.

    Writes ``NAME_sample_I.png`` (class ids) for each, ``NAME_disagreement.png`` (0 black to 255 where every draw is
    another class) and ``NAME_samples.png``, the sheet of all beside the method's own prediction. Returns the paths, and
    the mean disagreement of a pixel. Raises MethodError for a method that draws nothing.
    """
    fabric = ranks.make_fabric(device, record.config.recipe.precision)
    method = method.to(fabric.device).eval()
    predictor = Predictor(method, record.config.recipe.inference, fabric.device)
    classes = registry.datasets.get(record.config.data.name).classes
    image = pictures.read_image(path)
    size = (image.shape[1], image.shape[2])
    drawn = predictor.sample(image, count, torch.Generator().manual_seed(seed)).cpu()
    share = disagreement(drawn, len(classes))
    predicted = predictor(image).logits(size).argmax(0).cpu()

    everywhere = torch.ones(size, dtype=torch.bool)
    heat = pictures.heat(share, everywhere) if share.any() else np.zeros((*size, 3), np.uint8)
    head = [
        ("image", image.permute(1, 2, 0).numpy()),
        ("prediction", pictures.overlay(image, predicted, classes)),
        (f"disagreement of {count} draws", heat),
    ]
    tiles = [pictures.panel([column]) for column in head]
    draws = [(f"draw {i}", pictures.overlay(image, labels, classes)) for i, labels in enumerate(drawn)]
    written = [_save_ids(labels, out / f"{path.stem}_sample_{i}.png") for i, labels in enumerate(drawn)]
    grey = Image.fromarray((share * 255).round().to(torch.uint8).numpy())
    written.append(pictures.save(grey, out / f"{path.stem}_disagreement.png"))
    written.append(_sheet([tiles, *_rows(draws)], classes, out / f"{path.stem}_samples.png"))
    return written, float(share.mean())


def of_nothing(store: Store, record: Record, root: Roots, count: int, seed: int, out: Path, device: str) -> list[Path]:
    """Draw ``count`` label maps without an image and write them to ``out``.

    Writes ``sample_I.png`` (class ids) and ``samples.png``, the sheet of all beside as many label maps of the training
    set. Raises MethodError for a method that draws nothing, DataError without the training data.
    """
    config = record.config
    method = runs.load(store, record)
    fabric = ranks.make_fabric(device, config.recipe.precision)
    method = method.to(fabric.device).eval()
    dataset = provenance.training_set(config, root, store)
    context = Context(
        device=fabric.device,
        seed=seed,
        steps=config.recipe.steps,
        step=config.recipe.steps,
        collectives=Collectives(),
        cache=store.cache,
        label_maps=lambda: whole_images.whole_label_maps(dataset, config.recipe.inference),
        images=partial(whole_images.whole_batches, dataset, config.recipe.inference, fabric.device, method),
        progress=progress,
        note=note,
    )
    if not isinstance(method, DrawsLabelMaps):
        raise draws_nothing(method)
    drawn = method.generate(context, count, torch.Generator().manual_seed(seed)).cpu()
    real = [dataset.label(index) for index in evenly(dataset, min(count, COLUMNS))]
    rows = [
        *_rows([(f"training label {i}", pictures.coloured(m, dataset.classes)) for i, m in enumerate(real)]),
        *_rows([(f"draw {i}", pictures.coloured(labels, dataset.classes)) for i, labels in enumerate(drawn)]),
    ]
    written = [_save_ids(labels, out / f"sample_{i}.png") for i, labels in enumerate(drawn)]
    return [*written, _sheet(rows, dataset.classes, out / "samples.png")]


def disagreement(drawn: Tensor, num_classes: int) -> Tensor:
    """How far S label maps (S, H, W) differ, (H, W) in [0, 1].

    The chance that two different draws of a pixel, taken at random, have different classes: the Gini impurity without
    the bias of a few draws. 0 for a single draw.
    """
    count = len(drawn)
    if count < 2:
        return torch.zeros(drawn.shape[1:])
    votes = torch.zeros(num_classes, *drawn.shape[1:])
    votes.scatter_add_(0, drawn, torch.ones(drawn.shape))
    same = (votes * (votes - 1)).sum(0) / (count * (count - 1))
    return 1 - same


def _rows(columns: Sequence[tuple[str, np.ndarray]]) -> list[list[Image.Image]]:
    tiles = [pictures.panel([column]) for column in columns]
    return [tiles[first : first + COLUMNS] for first in range(0, len(tiles), COLUMNS)]


def _sheet(rows: list[list[Image.Image]], classes: ClassSet, path: Path) -> Path:
    width = max(sum(tile.width for tile in row) for row in rows)
    return pictures.save(pictures.grid([*rows, [pictures.legend(classes, width)]]), path)


def _save_ids(labels: Tensor, path: Path) -> Path:
    return pictures.save(Image.fromarray(labels.numpy().astype(np.uint8)), path)
