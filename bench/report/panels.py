"""Panels: images with what several runs make of them, chosen by score and kept for the HTML page.

``bench pictures`` writes a file of them beside each sheet; ``read`` finds them again.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from bench.common import files
from bench.common.console import note
from bench.common.errors import UserError
from bench.schema import side_file
from bench.schema.record import Record
from bench.scoring.described import order, primary
from bench.scoring.metrics.catalogue import Metric, metric
from bench.scoring.protocols.base import Protocol

FILE_BYTES = 2**26
"""No file of panels is larger: those of a dozen runs take a hundredth of it."""
_QUALITY = 80
"""Of WebP."""


class Picture(BaseModel):
    """A picture below its caption."""

    caption: str
    webp: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
    """In base 64."""

    @classmethod
    def of(cls, caption: str, pixels: np.ndarray) -> Picture:
        """``pixels``: (H, W, 3) uint8."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="WebP", quality=_QUALITY, method=6)
        return cls(caption=caption, webp=base64.b64encode(buffer.getvalue()).decode())


class Panel(BaseModel):
    """An image, its truth, and what each run makes of it."""

    heading: str
    columns: list[list[Picture]]
    """Side by side; those of a column below each other."""


class Panels(BaseModel):
    """Some images of a target."""

    model_config = ConfigDict(extra="forbid")

    title: str
    """Of the table in which the runs stand."""
    protocol: str
    target: str
    rule: str
    """How the images were chosen, and what the colours say."""
    classes: dict[str, Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")]]
    """The colour of each class, ``#rrggbb``; none of anomalies."""
    runs: dict[str, str | None]
    """By run id the hash of its model."""
    images: list[Panel]

    def of(self, records: Iterable[Record]) -> bool:
        """Whether all its models are those of ``records``."""
        return self.runs.items() <= {record.run_id: record.checkpoint_hash for record in records}.items()

    @property
    def size(self) -> int:
        """Characters of all pictures."""
        return sum(len(picture.webp) for image in self.images for column in image.columns for picture in column)


def write(panels: Panels, path: Path) -> None:
    """Keep ``panels``."""
    files.write(path, panels.model_dump_json(indent=1) + "\n")


def read(folder: Path, records: Sequence[Record]) -> list[Panels]:
    """All panels below ``folder`` of models that ``records`` still name; a note says which others there are.

    Raises UserError for a damaged file.
    """
    found = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            panels = Panels.model_validate_json(files.read(path, FILE_BYTES))
        except (files.Damaged, OSError, ValidationError):
            raise UserError(f"{path} is damaged; draw it again with `bench pictures`, or delete it") from None
        if panels.of(records):
            found.append(panels)
        else:
            note(f"left out: {path} is of runs that were deleted or made again; draw it again with `bench pictures`")
    return sorted(found, key=lambda panels: (panels.title, order(panels.protocol), panels.target))


# Which images


class Scored(NamedTuple):
    """What each image of a target is worth alone."""

    metric: Metric
    by_image: dict[str, float]
    """By id, where the metric is defined."""


def scored(protocol: type[Protocol], target: str, arrays: side_file.Arrays, reading: str) -> Scored | None:
    """Of the statistics per image of a run, by what ``protocol`` is judged on; None where there are none."""
    counts = protocol.kept(arrays, target, reading)
    ids = side_file.of(arrays, [side_file.IDS], protocol.name, target).get(side_file.IDS)
    if ids is None or not counts:
        return None
    shared = side_file.of(arrays, protocol.constants, protocol.name, target, reading)
    values = protocol.metrics({**protocol.condensed(counts), **shared})
    key = next(key for key in primary(protocol.name) if key in values)
    defined = {str(name): float(value) for name, value in zip(ids, values[key]) if np.isfinite(value)}
    return Scored(metric(key, protocol.name), defined)


def worst_to_best(of_runs: Sequence[Scored]) -> list[str]:
    """Ids of the images for which every run has a score, by their mean over runs."""
    shared = set.intersection(*({*one.by_image} for one in of_runs))
    sign = -1 if of_runs[0].metric.better == "lower" else 1
    return sorted(shared, key=lambda name: (sign * fmean(one.by_image[name] for one in of_runs), name))


def place(rank: int, images: int) -> str:
    """What to call the image of a ``rank``, 0 for the worst."""
    return {(images - 1) // 2: "median", 0: "worst", images - 1: "best"}.get(rank, f"{rank + 1} of {images}")
