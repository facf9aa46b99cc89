"""An explanation from image to page: figures, the numbers behind them as JSON, and ``index.html`` around both."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from bench.common import files
from bench.common.console import note
from bench.common.text import in_html
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.report.explanation.bank import Layout, lay_out, require_sklearn
from bench.report.explanation.figures import (
    Piece,
    Row,
    grouping_figure,
    projection_figure,
    retrieval_figure,
    segments_figure,
    shortened,
)
from bench.report.explanation.query import Query, find
from bench.report.explanation.retrieval import RULE, Retrieved, choose, retrieve, segments_json
from bench.report.explanation.tiles import Tile, TrainingImages, cut
from bench.runs import plan as planning
from bench.schema.record import Record
from datasets.base import ClassSet, Roots
from methods.base import Method, MethodError
from methods.capabilities import Explains

REPRESENTATIVES = 5
"""Training segments shown of each group."""
RESOLUTION = 220
"""Dots per inch of the figures."""


@dataclass(frozen=True)
class Sizes:
    """How much is shown."""

    segments: int
    """Segments of the image."""
    neighbours: int
    """Retrieved training segments beside each, at most as many as the method retrieves."""
    groups: int
    """Groups of the hierarchy."""


@dataclass(frozen=True)
class Caption:
    """A figure's place on the page."""

    name: str
    title: str
    text: str


def explain(
    method: Method, record: Record, image: str, root: Roots, out: Path, device: torch.device, sizes: Sizes
) -> list[Path]:
    """Explain what ``method`` predicts for ``image`` (an id of its data set, or a file) by pictures below ``out``.

    Returns the files written, ``index.html`` first. Without the training data, or with data that is not what the run
    was trained on, training segments have no pictures, and a note says so. Raises UserError.
    """
    if not isinstance(method, Explains):
        raise MethodError(
            f"method {method.name} does not explain its predictions by retrieval; choose a run of one that does, "
            "such as segsort"
        )
    method = method.to(device)
    evidence = method.evidence()
    require_sklearn()
    source = registry.datasets.get(record.config.data.name)
    classes = source.classes
    predictor = Predictor(method, record.config.recipe.inference, device)
    query = find(source, root, image)
    found = retrieve(query, evidence, predictor)
    shown = choose(found, sizes.segments)
    layout = lay_out(evidence, sizes.groups, REPRESENTATIVES)
    if layout is None:
        note(f"the bank has {len(evidence.labels)} prototypes, too few to project and to group")
    training = TrainingImages.of(record, planning.opener(root, record.config.data.allow_partial), predictor)

    keys = list(zip(evidence.images.tolist(), evidence.segments.tolist()))
    rows = found.rows[shown, : sizes.neighbours].flatten().tolist()
    rows += [row for group in layout.groups for row in group.representatives.tolist()] if layout else []
    cut_out = training.tiles(keys[row] for row in rows)
    tiles = {row: cut_out.get(keys[row]) for row in rows}

    drawn = {"segments": segments_figure(query, found, shown, classes)}
    drawn["retrieval"] = retrieval_figure(_rows(query, found, shown, sizes.neighbours, tiles, classes), classes)
    labels = evidence.labels.cpu().numpy()
    if layout is not None:
        drawn["projection"] = projection_figure(layout, labels, classes)
        members = [[Piece(int(labels[row]), tiles[row]) for row in g.representatives.tolist()] for g in layout.groups]
        drawn["groups"] = grouping_figure(layout, labels, members, classes)
    facts = {
        "run": record.run_id,
        "image": query.sample.id,
        "labelled": query.labelled,
        "rule": RULE,
        "precision": found.precision(),
        "segments": segments_json(found, evidence, shown, classes, training.ids),
        "bank": _bank_json(labels, layout, classes),
    }
    written = [_save(figure, out / f"{name}.png") for name, figure in drawn.items()]
    numbers = _write(out / "explanation.json", json.dumps(facts) + "\n")
    captions = _captions(found, query, layout, labels, training)
    page = _environment().get_template("index.html.j2").render(facts=facts, captions=captions)
    return [_write(out / "index.html", page), *written, numbers]


def _rows(
    query: Query,
    found: Retrieved,
    shown: Sequence[int],
    neighbours: int,
    tiles: Mapping[int, Tile | None],
    classes: ClassSet,
) -> list[Row]:
    """What the figure of the retrieval says of each segment."""
    pixels = query.sample.image.permute(1, 2, 0).numpy()
    right = found.right()
    rows = []
    for number, s in enumerate(shown, 1):
        predicted, truth = int(found.predicted[s]), int(found.truth[s])
        name = shortened(classes.names[predicted])
        lines = [f"predicted {name}"]
        if query.labelled:
            lines.append(f"truth {shortened(classes.names[truth])}" if truth >= 0 else "truth unknown")
        lines.append(f"{(found.classes[s] == predicted).sum()} of {found.rows.shape[1]} agree")
        lines.append(f"{100 * found.shares[s]:.1f} % of the image")
        known = None if truth < 0 else predicted == truth
        retrieved = [
            Piece(
                int(found.classes[s, i]),
                tiles[int(found.rows[s, i])],
                float(found.cosines[s, i]),
                None if truth < 0 else bool(right[s, i]),
            )
            for i in range(min(neighbours, found.rows.shape[1]))
        ]
        rows.append(
            Row(f"segment {number}", lines, Piece(predicted, cut(pixels, found.segments == s), right=known), retrieved)
        )
    return rows


def _bank_json(labels: np.ndarray, layout: Layout | None, classes: ClassSet) -> dict[str, Any]:
    """Sizes, and the groups with their classes and representatives."""

    def counts(members: np.ndarray) -> dict[str, int]:
        return {name: n for name, n in zip(classes.names, np.bincount(members).tolist()) if n}

    groups = layout.groups if layout is not None else []
    return {
        "prototypes": len(labels),
        "sampled": 0 if layout is None else len(layout.sample),
        "classes": counts(labels),
        "groups": [
            {
                "size": len(group.members),
                "classes": counts(labels[group.members]),
                "representatives": group.representatives.tolist(),
            }
            for group in groups
        ],
    }


def _captions(
    found: Retrieved, query: Query, layout: Layout | None, labels: np.ndarray, training: TrainingImages
) -> list[Caption]:
    """Title and caption of every figure."""
    marks = (
        "A tick or a cross tells whether a class is that of most labelled pixels of the segment."
        if query.labelled
        else "The image has no class labels: frames tell the class, and nothing is marked right or wrong."
    )
    absent = " The training images are not there, so that only classes are shown." if training.dataset is None else ""
    itself = (
        " It is a training image, so segments find themselves first." if query.sample.id in (training.ids or ()) else ""
    )
    captions = [
        Caption(
            "segments",
            "Segments",
            f"The image in {len(found.ids)} segments with the class of each; those below by number.",
        ),
        Caption(
            "retrieval",
            "Retrieved training segments",
            f"Segments with the nearest of the {found.rows.shape[1]} training segments that each retrieves, with "
            f"cosine, framed in the colour of their class. {marks} {RULE}{itself}{absent}",
        ),
    ]
    if layout is not None:
        captions += [
            Caption(
                "projection",
                "The bank",
                f"t-SNE of {len(layout.sample)} of the {len(labels)} training segments that can be retrieved: as many "
                "of each class as there are up to a common number, evenly spaced over the training images.",
            ),
            Caption(
                "groups",
                "Groups of the bank",
                "The same training segments in groups by Ward's hierarchical clustering, with the share of each class "
                "and the segments nearest to the group's mean direction, at most one of each training image. Shares "
                f"are those of the sample, in which classes are balanced.{absent}",
            ),
        ]
    return captions


def _save(figure: Figure, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=RESOLUTION, format="png")
    files.write(path, buffer.getbuffer())
    return path


def _write(path: Path, text: str) -> Path:
    files.write(path, text)
    return path


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("bench.report.explanation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=in_html,
    )
