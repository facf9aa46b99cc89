"""Training batches as a pure function of (seed, sample number): any step can be reached without replaying others.

That makes a resumed run see the very images that an uninterrupted one sees, whatever the number of loader processes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional as TF

from bench.common import files
from bench.common.labels import histogram
from bench.config.tables import AugmentationConfig, InferenceConfig, Recipe
from bench.data.decoded import Decoded
from bench.model.predictor import resize_labels
from bench.schema.record import DatasetInfo
from datasets.base import IGNORE, UNLABELLED, DataError, Dataset
from datasets.loading import follow_parent
from datasets.regions import RegionMaps
from methods.base import Batch, Progress

CROP_TRIES = 10
"""Draws of a crop before one with too much of one class is accepted (mmsegmentation's number)."""


class Example(NamedTuple):
    """One augmented training image, small enough to travel between processes."""

    image: Tensor
    """(3, h, w) uint8."""
    label: Tensor
    """(h, w) uint8: training ids, ``UNLABELLED``, ``IGNORE``."""
    present: Tensor
    """(C,) bool: classes annotated in the uncropped label map."""
    id: str
    regions: Tensor | None = None
    """(h, w) int32: regions that were computed elsewhere."""


class Augmentation:
    """Random resize, crop, mirror and photometric distortion of an image with its label map and other maps of it.

    The crop is taken first and then resized, which is the same as the other way round and touches fewer pixels.

    Args:
        config: of training.
        inference: its scale is the middle of training's, unless ``config`` has its own.
    """

    def __init__(self, config: AugmentationConfig, inference: InferenceConfig) -> None:
        self.config = config
        self.inference = inference
        self.distort = transforms.RandomPhotometricDistort(p=0.5)

    def __call__(self, image: Tensor, label: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Augment ``image`` (3, H, W) uint8 and ``label`` (H, W) with torch's global generator.

        Further ``maps`` (H, W) of integers go the way of the label, except that they are 0 outside the image.
        """
        c = self.config
        height, width = label.shape
        base = self.inference.factor(height, width) if c.short_side is None else c.short_side / min(height, width)
        factor = base * float(torch.empty(()).uniform_(*c.scale))
        box_h, box_w = round(c.crop[0] / factor), round(c.crop[1] / factor)
        box_h, box_w = max(box_h, 1), max(box_w, 1)
        for _ in range(CROP_TRIES):
            top, left = _offset(height, box_h), _offset(width, box_w)
            window = label[max(top, 0) : top + box_h, max(left, 0) : left + box_w]
            if c.max_class_share >= 1 or _largest_share(window) < c.max_class_share:
                break
        box = top, left, box_h, box_w
        image = TF.crop(image, *box)
        if (box_h, box_w) != c.crop:
            image = TF.resize(image, list(c.crop), InterpolationMode.BILINEAR, antialias=True)
        label = self._shrink(self._place(label, IGNORE, *box)) if base < 1 else self._cut(label, IGNORE, *box)
        others = [self._cut(m, 0, *box) for m in maps]
        if torch.rand(()) < c.flip:
            image, label, *others = (TF.horizontal_flip(m) for m in (image, label, *others))
        if torch.rand(()) < c.colour:
            image = self.distort(image)
        return image, label, *others

    def _cut(self, map_: Tensor, fill: int, top: int, left: int, box_h: int, box_w: int) -> Tensor:
        """Cut the box, which may reach over the map (H, W), and resize it to the crop; outside is ``fill``."""
        placed = self._place(map_, fill, top, left, box_h, box_w)
        if (box_h, box_w) == self.config.crop:
            return placed
        resized: Tensor = TF.resize(placed[None], list(self.config.crop), InterpolationMode.NEAREST_EXACT)
        return resized[0]

    def _shrink(self, label: Tensor) -> Tensor:
        """Resize a label map to the crop so that single labelled pixels are kept.

        The random resize may lose some of them, now these, now those, as it always has. But where a recipe shrinks
        every image, to half or a third, too few would be left in any crop.
        """
        return resize_labels(label[None], self.config.crop)[0]

    @staticmethod
    def _place(map_: Tensor, fill: int, top: int, left: int, box_h: int, box_w: int) -> Tensor:
        """The box out of the map (H, W), over which it may reach; outside is ``fill``."""
        height, width = map_.shape
        rows = slice(max(top, 0), min(top + box_h, height))
        columns = slice(max(left, 0), min(left + box_w, width))
        placed = torch.full((box_h, box_w), fill, dtype=map_.dtype)
        placed[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = map_[rows, columns]
        return placed


def _offset(size: int, box: int) -> int:
    """A uniform position of the box inside the image, or of the image inside the box."""
    slack = size - box
    drawn = int(torch.randint(abs(slack) + 1, ()))
    return drawn if slack >= 0 else -drawn


def _largest_share(label: Tensor) -> float:
    """Of the annotated pixels, the unlabelled ones being no class; 1 for a crop without any, which teaches least."""
    counts = histogram(label.numpy())[:UNLABELLED]
    return max(counts) / sum(counts) if any(counts) else 1.0


class TrainingSet(TorchDataset[Example | DataError]):
    """Augmented examples of a data set, addressed by (sample number, index)."""

    def __init__(
        self, dataset: Dataset | Decoded, augmentation: Augmentation, seed: int, regions: RegionMaps | None = None
    ) -> None:
        self.dataset = dataset
        self.augmentation = augmentation
        self.seed = seed
        self.regions = regions

    def __getitem__(self, address: tuple[int, int]) -> Example | DataError:
        """Load image ``index`` and augment it with the generator of that sample number.

        A damaged file comes back as the error itself: raised in a loader process, it would arrive as a traceback.
        """
        number, index = address
        try:
            sample = self.dataset[index]
            maps = [] if self.regions is None else [self.regions.of(index, sample)]
        except DataError as error:
            return error
        present = torch.tensor(histogram(sample.label.numpy())[: len(self.dataset.classes)]) > 0
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(
                mix(self.seed, number)
            )  # of this device alone: all take ten times as long
            image, label, *maps = self.augmentation(sample.image, sample.label, *maps)
        return Example(image, label, present, sample.id, *maps)


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers, the same on every machine."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Addresses:
    """Yields the (sample number, index) of one rank's share of every batch from ``first_step`` on.

    Images come in a new random order each epoch, or class-balanced: a class uniformly, then an image containing it.
    """

    def __init__(
        self,
        size: int,
        recipe: Recipe,
        seed: int,
        rank: int,
        world: int,
        first_step: int,
        presence: np.ndarray | None,
    ) -> None:
        self.size, self.recipe, self.seed = size, recipe, seed
        self.rank, self.world, self.first_step = rank, world, first_step
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)
        self._images_of = None
        if presence is not None:
            self._images_of = [np.flatnonzero(column) for column in presence.T if column.any()]

    def _index(self, number: int) -> int:
        if self._images_of is not None:
            generator = np.random.default_rng([self.seed, 1, number])
            images = self._images_of[generator.integers(len(self._images_of))]
            return int(images[generator.integers(len(images))])
        epoch, position = divmod(number, self.size)
        if epoch != self._epoch:
            self._epoch, self._order = (
                epoch,
                np.random.default_rng([self.seed, 0, epoch]).permutation(self.size),
            )
        return int(self._order[position])

    def __len__(self) -> int:
        return (self.recipe.steps - self.first_step) * self.recipe.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self.recipe.batch_size // self.world
        for batch in range(self.first_step * self.recipe.accumulate, self.recipe.steps * self.recipe.accumulate):
            start = batch * self.recipe.batch_size + self.rank * size
            yield [(number, self._index(number)) for number in range(start, start + size)]


def collate(examples: Sequence[Example | DataError]) -> Batch | DataError:
    """Stack examples; images and labels stay bytes until they are on the training device."""
    errors = [e for e in examples if isinstance(e, DataError)]
    if errors:
        return errors[0]
    images, labels, present, ids, regions = zip(*examples)
    stacked = None if regions[0] is None else torch.stack(regions)
    return Batch(torch.stack(images), torch.stack(labels), tuple(ids), torch.stack(present), stacked)


def training_batches(
    dataset: Dataset | Decoded,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    *,
    rank: int = 0,
    world: int = 1,
    first_step: int = 0,
    presence: np.ndarray | None = None,
    regions: RegionMaps | None = None,
) -> Iterator[Batch]:
    """All batches of a run from ``first_step`` on, ``recipe.accumulate`` for each step."""
    training = TrainingSet(dataset, Augmentation(recipe.augmentation, recipe.inference), seed, regions)
    addresses = Addresses(len(dataset), recipe, seed, rank, world, first_step, presence)
    loader: DataLoader[Example | DataError] = DataLoader(
        training,
        batch_sampler=addresses,
        num_workers=recipe.workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(seed),  # else starting the loader draws from the global one
        prefetch_factor=4 if recipe.workers else None,
        worker_init_fn=follow_parent,
    )
    for collated in loader:
        if isinstance(collated, DataError):
            raise collated
        yield collated.to(device)


def class_presence(
    dataset: Dataset, info: DatasetInfo, cache: Path, progress: Progress, note: Callable[[str], None]
) -> np.ndarray:
    """(n, C) bool: which classes each image contains. Computed once for each state of the data set and cached.

    ``info`` is the data set's description; ``note`` is told of a cached file that is damaged and replaced.
    """
    path = cache / f"presence-{info.name}-{info.split}-{info.fingerprint[:16]}.npy"
    about = f"classes in the images of {info.name}/{info.split}, {info.content}"
    try:
        cached: np.ndarray = np.load(io.BytesIO(files.read_sealed(path, about)))
        return cached
    except FileNotFoundError:
        pass
    except files.Damaged as error:
        note(f"{error}: the classes in the images are indexed again")
    rows = [
        np.array(histogram(dataset.label(i).numpy())[: len(dataset.classes)]) > 0
        for i in progress(range(len(dataset)), "indexing classes", len(dataset))
    ]
    presence = np.stack(rows)
    buffer = io.BytesIO()
    np.save(buffer, presence)
    files.write_sealed(path, buffer.getbuffer(), about)
    return presence
