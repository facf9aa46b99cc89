"""Sheets: of each target the worst, the median and the best image, with what every method makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.common.console import note, progress
from bench.common.errors import UserError
from bench.data.reading import evenly
from bench.model import weights as models
from bench.model.predictor import ImagePrediction, Predictor
from bench.plugins import registry
from bench.records.ledger import ledger, parts
from bench.records.naming import Variant
from bench.records.store import Store
from bench.report import panels, pictures
from bench.report.leaderboard.model import slug
from bench.report.leaderboard.views import View, declared_score, title
from bench.report.panels import Panel, Panels, Picture, Scored
from bench.runs import execute as runs
from bench.runs import plan as planning
from bench.schema import side_file
from bench.schema.record import Record
from bench.scoring.protocols.base import OWN, Protocol
from bench.scoring.protocols.cross_domain import Mapping
from bench.scoring.protocols.targets import cross_domain
from datasets.base import ClassSet, Dataset, MissingData, Roots, Sample
from methods.base import Method

Tile = tuple[str, np.ndarray]
"""A caption and a picture (H, W, 3) uint8."""
Drawn = tuple[str, list[list[Tile]]]
"""What stands above an image, and what is drawn of it, in columns."""

_ERRORS = "Vermilion pixels are wrong, black ones do not count."
_HEAT = (
    "Cyan lines run around anomalies. The colours of a map go from its 1st to its 99th percentile, as the bar below it "
    "says; black pixels do not count."
)


def sheets(store: Store, root: Roots, out: Path, count: int) -> list[Path]:
    """Write a sheet for each table and target, and its panels for the page beside it; returns the sheets.

    A method is shown as in the tables: its configuration nearest to the defaults, with the score that it declares. Of
    several seeds it is the first. Raises UserError if there is no finished run with its model.
    """
    written = []
    taken: Counter[str] = Counter()
    for name, records in _tables(store):
        taken[name] += 1
        folder = out / (slug(name) + (f"-{taken[name]}" if taken[name] > 1 else ""))
        compared = [Run.of(store, record) for record in records]
        source = registry.datasets.get(records[0].config.data.name)
        open_ = planning.opener(root, records[0].config.data.allow_partial)
        for target, protocol in _targets(source).items():
            try:
                dataset = open_(*target)
                mapping = None if dataset.task == "anomaly" else _mapping(source, dataset)
            except (MissingData, UnlikeClasses) as error:
                note(f"skipped: {error}")
                continue
            key = protocol.target_name(target)
            shown = Target(dataset, mapping, compared, [run.scored(store, protocol, key) for run in compared])
            picked, rule = shown.chosen(count)
            doing = progress(picked, f"pictures of {dataset.name}/{dataset.split}", len(picked))
            drawn = [(f"{place}: {dataset.items[i].id}", shown.columns(dataset[i])) for i, place in doing]
            path = folder / f"{dataset.name}-{dataset.split}"
            written.append(pictures.save(_sheet(drawn, shown.classes), path.with_suffix(".png")))
            panels.write(_panels(name, protocol, rule, shown, drawn), path.with_suffix(".json"))
    return written


def _tables(store: Store) -> Iterator[tuple[str, list[Record]]]:
    """The title of each overview, and a record for each of its methods, of those that have their model."""
    known: dict[str, Record] = {}
    unknown: dict[str, None] = {}
    for record in store.records():
        if record.status == "complete" and (store.run_folder(record.run_id) / models.MODEL).exists():
            try:
                registry.methods.get(record.config.method_name)
                registry.datasets.get(record.config.data.name)
                known[record.run_id] = record
            except UserError as error:
                unknown[str(error)] = None
    if not known:
        nothing = f"there is no finished run with its model in {store.root}; make one with `bench run`"
        raise UserError(next(iter(unknown), nothing))
    for sentence in unknown:
        note(f"skipped: {sentence}")
    for _, members in parts(View().of(ledger(known.values())), "group"):
        first = members.sort_values(["method", "seed"]).drop_duplicates("method")
        yield title(first["config"].iloc[0]), [known[run] for run in first["run"]]


def _targets(source: type[Dataset]) -> dict[tuple[str, str], type[Protocol]]:
    """The headline split of ``source``, and every target of protocols that look elsewhere, each with the first."""
    on_source = next(protocol for protocol in registry.protocols if protocol.on_source)
    found = {(source.name, source.eval_splits[0]): on_source}
    for protocol in registry.protocols:
        for target in () if protocol.on_source else protocol.targets(source):
            found.setdefault(target, protocol)
    return found


class UnlikeClasses(Exception):
    """A target with other classes than the data set of training, and no map between them."""


def _mapping(source: type[Dataset], dataset: Dataset) -> Mapping:
    here = (dataset.name, dataset.split)
    class_map = next((t.class_map for t in cross_domain(source) if (t.dataset, t.split) == here), None)
    if class_map is None and source.classes.names != dataset.classes.names:
        raise UnlikeClasses(f"no class map leads from {source.name} to {'/'.join(here)}")
    return Mapping(class_map, source.classes, dataset.classes)


@dataclass(frozen=True)
class Run:
    """One of the runs that are compared, each of another method."""

    record: Record
    method: Method
    predict: Predictor
    score: str
    """The anomaly score by which tables rank it."""

    @classmethod
    def of(cls, store: Store, record: Record) -> Run:
        """Load its model."""
        method = runs.load(store, record)
        names = {name for result in record.protocols.values() for t in result.targets.values() for name in t.by_score}
        declared = declared_score(record.config.method_name) or method.headline_score
        score = declared if declared in names or not names else min(names)
        return cls(record, method, Predictor(method, record.config.recipe.inference, torch.device("cpu")), score)

    @property
    def name(self) -> str:
        """As tables call it."""
        return Variant.of(self.record.config, self.record.configuration).called()

    def scored(self, store: Store, protocol: type[Protocol], target: str) -> Scored | None:
        """What each image is worth, as far as the run has statistics of them."""
        arrays = store.statistics_of(self.record, side_file.under(protocol.name, target))
        return panels.scored(protocol, target, arrays, self.score if protocol.rows == "Score" else OWN)


@dataclass(frozen=True)
class Target:
    """Images on which runs are compared."""

    dataset: Dataset
    mapping: Mapping | None
    """To its classes; None where anomalies are to be found."""
    runs: Sequence[Run]
    scored: Sequence[Scored | None]
    """Of each run."""

    @property
    def classes(self) -> ClassSet | None:
        """Those that are to be found; None of anomalies."""
        return None if self.mapping is None else self.dataset.classes

    def chosen(self, count: int) -> tuple[list[tuple[int, str]], str]:
        """Indices of images, each with its place, and how they were chosen."""
        of_runs = [one for one in self.scored if one is not None]
        indices = {item.id: i for i, item in enumerate(self.dataset.items)}
        order = panels.worst_to_best(of_runs) if len(of_runs) == len(self.runs) else []
        order = [image for image in order if image in indices]
        if not order:
            return [(i, "image") for i in evenly(self.dataset, count)], "Images are evenly spaced."
        picked = [(indices[order[rank]], panels.place(rank, len(order))) for rank in evenly(order, count)]
        label = of_runs[0].metric.label
        return picked, f"Of {len(order)} images, ordered by the {label} of each alone, mean over these methods."

    def columns(self, sample: Sample) -> list[list[Tile]]:
        """The image above its truth, and what each run makes of it."""
        columns = [[("image", sample.image.permute(1, 2, 0).numpy()), self._truth(sample)]]
        for run, scored in zip(self.runs, self.scored):
            value = None if scored is None else scored.by_image.get(sample.id)
            told = "" if scored is None or value is None else f": {scored.metric.label} {scored.metric.text(value)}"
            columns.append(self._of_run(run, run.predict(sample.image), sample, told))
        return [[(caption, pictures.shrunk(pixels)) for caption, pixels in column] for column in columns]

    def _truth(self, sample: Sample) -> Tile:
        if self.mapping is not None:
            return "truth", pictures.overlay(sample.image, sample.label, self.dataset.classes)
        pixels = np.zeros((*sample.label.shape, 3), np.uint8)
        pixels[(sample.label == 0).numpy()] = (90, 90, 90)
        pixels[(sample.label == 1).numpy()] = (255, 160, 0)
        return "anomalies (orange), void (black)", pixels

    def _of_run(self, run: Run, prediction: ImagePrediction, sample: Sample, told: str) -> list[Tile]:
        """The map of the run's anomaly score; or its classes, and where they are wrong."""
        label, size = sample.label, (sample.label.shape[0], sample.label.shape[1])
        if self.mapping is None:
            scores = pictures.score_map(prediction, size, run.score, run.method.density_score)
            return [(f"{run.name}, {run.score}{told}", pictures.anomaly_map(scores, label))]
        logits = prediction.logits(size)
        predicted = self.mapping.predict(logits)[0] if self.mapping.is_given else logits.argmax(0)
        counts = torch.isin(label, torch.tensor(self.mapping.kept))
        wrong: Tensor = counts & (predicted != label)
        share = wrong.sum() / counts.sum().clamp(min=1)
        return [
            (f"{run.name}{told}", pictures.overlay(sample.image, predicted, self.dataset.classes)),
            (f"{run.name}: {100 * float(share):.1f} % wrong", pictures.errors(sample.image, wrong, counts)),
        ]


def _panels(title: str, protocol: type[Protocol], rule: str, shown: Target, drawn: Sequence[Drawn]) -> Panels:
    classes = shown.classes
    return Panels(
        title=title,
        protocol=protocol.name,
        target=protocol.target_name((shown.dataset.name, shown.dataset.split)),
        rule=f"{rule} {_HEAT if classes is None else _ERRORS}",
        classes={} if classes is None else {n: f"#{bytes(c).hex()}" for n, c in zip(classes.names, classes.colours)},
        runs={run.record.run_id: run.record.checkpoint_hash for run in shown.runs},
        images=[
            Panel(heading=heading, columns=[[Picture.of(*tile) for tile in column] for column in columns])
            for heading, columns in drawn
        ],
    )


def _sheet(drawn: Sequence[Drawn], classes: ClassSet | None) -> Image.Image:
    """All panels below each other, the heading of each above its image."""
    rows = []
    for heading, ((image, *truth), *of_runs) in drawn:
        columns = [[(heading, image[1]), *truth], *of_runs]
        rows.append([pictures.grid([[pictures.panel([tile])] for tile in column]) for column in columns])
    sheet = pictures.grid(rows)
    return sheet if classes is None else pictures.grid([[sheet], [pictures.legend(classes, sheet.width)]])
