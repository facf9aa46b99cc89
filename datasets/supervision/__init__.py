"""Which labels training may see: dense ones, or points, scribbles, clicks, coarse outlines, a fraction, none.

``supervise(dataset, kind, seed, cache)`` gives a data set with the labels of that kind. Label files are read where
they exist, the user's own or published ones (PASCAL VOC's points and scribbles, Cityscapes' clicks; see ``official``),
and elsewhere labels are derived from the dense ones by the rules in ``derive``. Whatever their origin, three states are
kept apart: labelled, ``UNLABELLED`` (a valid pixel without annotation) and ``IGNORE`` (void).

To see them: ``python -m datasets.supervision --dataset camvid --data-root DIR --out sheet.png``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datasets.errors import DataError
from datasets.supervision.kinds import Kind, parse

if TYPE_CHECKING:
    from datasets.base import Dataset

__all__ = ["Kind", "parse", "supervise"]


def _require_a_pixel(dataset: Dataset, kind: Kind) -> None:
    """Raises DataError if a share of the pixels is less than half a pixel of an image.

    Every image has at least one labelled pixel, which would then be more than the kind's name says.
    """
    if kind.family != "fraction" or kind.amount is None:
        return
    pixels = dataset.label(0).numel()
    if kind.amount * pixels < 0.5:
        raise DataError(
            f"{dataset.name}: {kind} labels no pixel of an image of {pixels} pixels; choose a share of at least "
            f"{1 / pixels:.2g}"
        )


def supervise(dataset: Dataset, kind: str, seed: int, cache: Path, *, void_is_unlabelled: bool = False) -> Dataset:
    """``dataset`` itself for ``dense``, else a ``wrapper.SparseDataset``: its images with the labels of ``kind``.

    Labels that have to be derived follow from ``seed``, the image's id, the kind and the rule's version; they are
    derived here for the whole set, unless ``cache`` has them. Where published files use 255 for pixels without label,
    ``void_is_unlabelled`` reads it as unlabelled wherever the dense label is not void.

    Raises DataError for an unknown kind, an anomaly split, incomplete or damaged files, and published labels without
    any unlabelled pixel.
    """
    from datasets.supervision import cache as store  # here: reading the name of a kind needs no torch
    from datasets.supervision import official, wrapper
    from datasets.supervision.derive import VERSIONS

    wanted = parse(kind)
    if wanted.family == "dense":
        return dataset
    if dataset.task != "segmentation":
        raise DataError(
            f"{dataset.name}: split {dataset.split!r} has no classes to train on, so there are no labels of kind "
            f"{wanted} for it; choose a split of the segmentation task"
        )
    found = official.find(dataset, wanted)
    if found is None:
        _require_a_pixel(dataset, wanted)
        folder = store.folder_of(cache, dataset, wanted, f"s{seed}", f"v{VERSIONS[wanted.family]}")
        derived = wrapper.DerivedLabels(dataset, wanted, folder, seed)
        derived.complete()
        return derived
    reading = "void-is-unlabelled" if void_is_unlabelled else "as-written"
    folder = store.folder_of(
        cache, dataset, wanted, "own" if found.own else "official", reading, store.state(found.files)
    )
    labels = wrapper.OfficialLabels(dataset, wanted, folder, found, void_is_unlabelled)
    labels.check_files()
    labels.require_unlabelled()
    return labels
