"""The image to explain: one of the run's data set, with its labels, or any file, without."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

import torch

from bench.common.errors import UserError
from bench.report.pictures import read_image
from datasets.base import IGNORE, DataError, Dataset, Roots, Sample


class Query(NamedTuple):
    """An image to explain."""

    sample: Sample
    """Labels are ``IGNORE`` everywhere if there are none."""
    labelled: bool
    """Whether the labels are classes: not for a free file, nor for an anomaly split."""


def find(source: type[Dataset], root: Roots, name: str) -> Query:
    """The image of ``source`` with the id or the path ``name``, in any split, else the file ``name``.

    A path outside the data set's folder is not looked for in the data set, which may be absent then. Raises
    UserError if there is neither.
    """
    path = Path(name)
    is_file = path.exists()
    folder = source.unopened(root, next(iter(source.splits))).folder
    if is_file and not path.resolve().is_relative_to(folder.resolve()):
        return _unlabelled(path)
    ids: list[str] = []
    absent: list[str] = []
    for split in dict.fromkeys((*source.eval_splits, *source.splits)):
        try:
            dataset = source(root, split, allow_partial=True)
        except DataError as error:
            absent.append(str(error))
            continue
        for index, item in enumerate(dataset.items):
            if item.image.resolve() == path.resolve() if is_file else item.id == name:
                return _of_data_set(dataset, index)
        ids += [item.id for item in dataset.items]
    if is_file:
        return _unlabelled(path)
    if not ids:
        raise UserError(f"there is no file {name}, and no data set to look for such an id in: {absent[0]}")
    close = difflib.get_close_matches(name, ids, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"its ids are like {ids[0]}"
    raise UserError(f"there is no image {name!r} in {source.name}, nor a file of that name; {hint}")


def _of_data_set(dataset: Dataset, index: int) -> Query:
    sample = dataset[index]
    if dataset.task == "segmentation":
        return Query(sample, True)
    return Query(sample._replace(label=torch.full_like(sample.label, IGNORE)), False)


def _unlabelled(path: Path) -> Query:
    image = read_image(path)
    return Query(Sample(image, torch.full(image.shape[1:], IGNORE, dtype=torch.uint8), path.name), False)
