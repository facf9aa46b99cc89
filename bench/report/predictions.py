"""Predictions of a finished run on images of the user's: pictures for people, arrays for other evaluators."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.common import files, names
from bench.common.console import progress
from bench.common.errors import UserError
from bench.model.predictor import ImagePrediction, Predictor, score_maps
from bench.plugins import registry
from bench.records.store import compressed
from bench.report.pictures import heat, overlay, png, read_image, score_map
from bench.schema.record import Record
from bench.scoring.protocols.cross_domain import Mapping
from bench.scoring.protocols.targets import cross_domain
from bench.training import ranks
from datasets.base import IGNORE, ClassSet, Dataset, Submission
from methods.base import Method

Format = Literal["png", "npz", "hdf5", "server"]
Files = Iterator[tuple[str, files.Content]]
"""Names, which may hold folders, and contents."""

CITYSCAPES_SUFFIX = "_leftImg8bit"
"""Of images in Cityscapes' layout, Lost and Found's among them: no part of what SegmentMeIfYouCan calls a frame."""


class Predicted(NamedTuple):
    """What a method makes of one image; maps are in the image's own size."""

    name: str
    image: Tensor
    """(3, H, W) uint8."""
    prediction: ImagePrediction
    density_score: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def logits(self) -> Tensor:
        """(C, H, W)."""
        return self.prediction.logits(self.size)

    @property
    def classes(self) -> Tensor:
        """Ids (H, W)."""
        return self.logits.argmax(0).cpu()

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Every anomaly score (H, W) float32 by its name; higher is more anomalous."""
        every = torch.ones(self.size, dtype=torch.bool, device=self.prediction.maps.logits.device)
        found = score_maps(self.prediction, self.size, every, self.density_score)
        return {name: values.view(self.size).cpu().numpy() for name, values in found.items()}


def predict(
    method: Method, record: Record, images: Sequence[Path], out: Path, device: str, form: Format, dataset: str = ""
) -> Iterator[Path]:
    """Predict each image, write what ``form`` holds of it into ``out``, and name the files.

    - ``png``: ``NAME_classes.png`` (ids), ``NAME_overlay.png`` and ``NAME_SCORE.png``.
    - ``npz``: ``NAME.npz`` with ``classes`` (H, W) uint8, ``logits`` (C, H, W) and every anomaly score (H, W), float32.
    - ``hdf5``: ``METHOD@SCORE/DATASET/NAME.hdf5`` with ``value`` (H, W) float32 for every anomaly score, which is where
      SegmentMeIfYouCan's evaluator looks below its ``anomaly_p``; ``dataset`` is its name of the images' data set.
    - ``server``: a PNG of ids, named and numbered as the server takes it that has the hidden labels of ``dataset``, to
      which the classes of training are mapped as under the cross-domain protocol.

    Raises UserError where two images would be written to the same files, h5py is not installed, or ``dataset`` has no
    such server or other classes.
    """
    contents: Callable[[Predicted], Files] = _arrays
    if form == "png":
        classes = registry.datasets.get(record.config.data.name).classes
        contents = partial(_pictures, classes=classes, score=method.headline_score)
    elif form == "hdf5":
        _require_h5py()
        folder = f"{method.name}@{{}}/{names.require('--dataset', dataset)}"
        contents = partial(_score_files, folder=folder)
    elif form == "server":
        contents = partial(_submission, dataset=_served(dataset), mapping=_mapping(record, dataset))
    named = _named(images, form, dataset)
    fabric = ranks.make_fabric(device, record.config.recipe.precision)
    predictor = Predictor(method.to(fabric.device), record.config.recipe.inference, fabric.device)
    for path, name in progress(list(zip(images, named)), "predicting", len(images)):
        image = read_image(path)
        for file, content in contents(Predicted(name, image, predictor(image), method.density_score)):
            files.write(out / file, content)
            yield out / file


def _named(images: Sequence[Path], form: Format, dataset: str) -> list[str]:
    """A name for each image: its file's, and its folder's before it where that is needed and the reader allows it."""
    if form == "server":
        file = _served(dataset)[1].file
        named = [
            file.format(name=path.stem.removesuffix(CITYSCAPES_SUFFIX), folder=path.absolute().parent.name)
            for path in images
        ]
    elif form == "hdf5":
        named = [path.stem.removesuffix(CITYSCAPES_SUFFIX) for path in images]
    else:
        stems = [path.stem for path in images]
        folders = [f"{path.parent.name}-" if path.parent.name.strip(".") else "" for path in images]
        named = [stem if stems.count(stem) == 1 else folder + stem for folder, stem in zip(folders, stems)]
    for path, name in zip(images, named):
        if named.count(name) > 1:
            raise UserError(f"what {path} gives would be written twice, as {name}...; give every image another name")
    return named


def _pictures(found: Predicted, classes: ClassSet, score: str) -> Files:
    labels = found.classes
    scored = score_map(found.prediction, found.size, score, found.density_score)
    pictures = {
        "classes": labels.numpy().astype(np.uint8),
        "overlay": overlay(found.image, labels, classes),
        score: heat(scored, torch.ones_like(scored, dtype=torch.bool)),
    }
    for kind, picture in pictures.items():
        yield f"{found.name}_{kind}.png", png(Image.fromarray(picture))


def _arrays(found: Predicted) -> Files:
    logits = found.logits.float().cpu().numpy()
    classes = found.classes.numpy().astype(np.uint8)
    yield f"{found.name}.npz", compressed({**found.scores, "logits": logits, "classes": classes})


def _score_files(found: Predicted, folder: str) -> Files:
    import h5py

    for score, values in found.scores.items():
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            # Theirs are float16, in which log-densities overflow or tie; what reads them takes any float.
            file.create_dataset("value", data=values, compression="gzip", shuffle=True)
        yield f"{folder.format(score)}/{found.name}.hdf5", buffer.getbuffer()


def _served(name: str) -> tuple[type[Dataset], Submission]:
    """The data set of that name and what its server takes. Raises UserError if no server takes label images."""
    dataset = registry.datasets.get(name)
    if dataset.submission is None:
        known = [dataset.name for dataset in registry.datasets if dataset.submission is not None]
        raise UserError(f"of {name} no server that takes label images is known, but of {', '.join(known)}")
    return dataset, dataset.submission


def _mapping(record: Record, name: str) -> Mapping:
    """From the classes of training to those of a data set. Raises UserError where these differ and no map is known."""
    source, target = registry.datasets.get(record.config.data.name), registry.datasets.get(name)
    class_map = next((t.class_map for t in cross_domain(source) if t.dataset == name), None)
    if class_map is None and source.classes.names != target.classes.names:
        raise UserError(
            f"no class map leads from {source.name} to {name}; name a data set with the classes of training"
        )
    return Mapping(class_map, source.classes, target.classes)


def _submission(found: Predicted, dataset: tuple[type[Dataset], Submission], mapping: Mapping) -> Files:
    plugin, submission = dataset
    classes = mapping.predict(found.logits)[0].cpu() if mapping.is_given else found.classes
    official = plugin.official_ids()
    table = np.array([official[i] for i in range(mapping.size)] + [official.get(IGNORE, IGNORE)], np.uint8)
    image = Image.fromarray(table[classes.numpy()])
    if submission.palette:
        colours = np.zeros((256, 3), np.uint8)  # all of them: with fewer, Pillow writes fewer bits a pixel
        colours[table[: mapping.size]] = plugin.classes.colours
        image.putpalette(colours.tobytes())
    yield found.name, png(image)


def _require_h5py() -> None:
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise UserError(
            "HDF5 files are written by h5py, which is not installed; pip install 'genseg-bench[hdf5]', or choose "
            "another --format"
        ) from None
