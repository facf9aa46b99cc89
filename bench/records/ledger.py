"""The ledger: every number of every record as one row of a data frame, of which all that is shown is a selection.

``COLUMNS`` says what the columns are. A run that has no number under a protocol has one row there without a metric,
so that failed and skipped runs are in the frame too; one that failed before it saw its data stands in every group
that it may belong to. What follows from other numbers is worked out here and not read from a record's summary: drop and
retention across domains, the means over targets, the closed-set score beside anomalies.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, namedtuple
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.common import files
from bench.common.errors import UserError
from bench.common.text import cell
from bench.config.tables import NOT_OF_THE_RESULT
from bench.records.naming import Variant
from bench.records.store import Store
from bench.schema.record import DatasetInfo, Record, Scores
from bench.scoring.metrics.catalogue import metric
from bench.scoring.metrics.confusion import harmonic_mean

GROUP = (
    "dataset", "supervision", "labels", "architecture", "encoder", "weights", "weights_hash", "recipe", "recipe_hash",
    "inference", "ranks", "training_images", "training_fingerprint", "training_content",
)  # fmt: skip
"""The columns that runs of one table share, in the order by which tables are sorted."""

FORMATS = ("parquet", "csv", "json")
"""What the ledger is written as."""

TRAINING = "training"
"""Stands for a protocol in the rows of what training cost."""

COLUMNS: dict[str, str] = {
    "run": "id of the run, the name of its record",
    "created": "when it was finished (UTC, ISO 8601)",
    "run_status": "complete or failed",
    "run_reason": "why it failed",
    "group": "what may share a table: a hash of the next columns, to training_content",
    "dataset": "data set of training",
    "supervision": "labels that training saw: dense, points, clicks-20, ...",
    "labels": "where these come from, with a hash of published files",
    "architecture": "of the network, with the options of its decoder",
    "encoder": "of the network",
    "weights": "encoder weights at the start",
    "weights_hash": "SHA-256 of their file",
    "recipe": "name of the recipe",
    "recipe_hash": "of everything in it that can change a result",
    "inference": "scale, windows and test-time augmentation",
    "ranks": "processes that trained together",
    "training_images": "images of the training split; 0 for a run that failed before it saw them",
    "training_fingerprint": "hash over their names and labels",
    "training_content": "hash over their files, where one is known",
    "partial": "whether fewer images than the release has were accepted",
    "labelled_share": "labelled over valid pixels of training",
    "labelled_pixels": "labelled pixels of a training image",
    "hardware": "of training",
    "device": "cpu or cuda",
    "checkpoint": "SHA-256 of the trained weights, where one is known",
    "commit": "of the suite in training; '(dirty)' after it: with changes that were not committed",
    "scoring_commit": "the same of a later scoring",
    "method": "name of the method",
    "method_version": "its version",
    "configuration": "what people call the run's settings: the method, and those that are not its defaults",
    "seed": "of training",
    "protocol": f"how it was scored; '{TRAINING}' for what training cost",
    "version": "of the protocol",
    "status": "of the protocol: complete, failed or skipped",
    "reason": "why it is not complete",
    "target": "what was scored: a split of the data set, or data set/split; empty for means over targets",
    "headline": "whether the protocol is judged on this target",
    "data": "what makes numbers the same measurement: the target's data and classes; of a mean, those of all targets",
    "over": "the targets of a mean",
    "images": "images of the target",
    "fingerprint": "hash over their names and labels",
    "classes": "number and hash of the classes that were averaged",
    "notes": "what else was said of the target, a line each",
    "reading": "the anomaly score, or the reading of the checkpoint; empty for the method's own prediction",
    "metric": "what was measured; empty where nothing was",
    "part": "the class, or the part of the errors, that the number is of; empty for the whole",
    "unit": "share for numbers in [0, 1]",
    "direction": "higher or lower is better; empty for what is not ranked",
    "value": "the number; missing where it is undefined",
}
"""What each column says."""

_OBJECTS = ("variant", "config", "without_labels")
"""Columns for code alone, beside ``COLUMNS``: `Variant`, `RunConfig`, and the settings asked by training unlabelled."""

_OF_A_NUMBER = (
    "run", "protocol", "version", "status", "reason", "target", "headline", "data", "over", "images", "fingerprint",
    "classes", "notes", "reading", "metric", "part", "value",
)  # fmt: skip
_KEY = ["run", "protocol", "version", "target", "data", "reading", "metric", "part"]
_READING = ["run", "reading"]


def ledger(source: Store | Iterable[Record]) -> pd.DataFrame:
    """All numbers of a results folder, or of ``records``: one row for each, with the columns of ``COLUMNS``.

    Three more hold Python objects, for code (`export` leaves them out).
    """
    records = source.records() if isinstance(source, Store) else list(source)
    content = _known_content(records)
    runs = pd.DataFrame([_run(record, content) for record in records])
    numbers = pd.DataFrame([n for record in records for n in _numbers(record, content)], columns=_OF_A_NUMBER)
    if runs.empty:
        return pd.DataFrame(columns=[*COLUMNS, *_OBJECTS])
    runs["group"] = [_digest(key) for key in runs[list(GROUP)].itertuples(index=False, name=None)]
    runs = _sheltered(runs).sort_values([*GROUP], kind="stable")
    numbers["value"] = numbers["value"].astype(float)
    derived = [*_across_domains(numbers), _closed_set_beside_anomalies(numbers)]
    numbers = pd.concat([*derived, numbers]).drop_duplicates(_KEY)
    numbers = pd.concat([_means_over_targets(numbers), numbers]).drop_duplicates(_KEY)
    measured = list(zip(numbers["metric"], numbers["protocol"]))
    metrics = {pair: metric(*pair) for pair in {*measured}}
    numbers["unit"] = [metrics[key, protocol].unit_of_values if key else "" for key, protocol in measured]
    numbers["direction"] = [metrics[pair].better or "" for pair in measured]
    frame = runs.merge(numbers, on="run")[[*COLUMNS, *_OBJECTS]]
    # One block of objects: rows are chosen in one go, and not column by column.
    return frame.astype({column: object for column in frame if frame[column].dtype == "str"}).copy()


# What a record says


def _run(record: Record, content: _Content) -> dict[str, Any]:
    config, environment, scoring = record.config, record.environment, record.scoring_environment
    recipe = config.recipe.model_dump(mode="json", exclude=set(NOT_OF_THE_RESULT))
    files = "" if record.data is None else content(record.data, _published(record))
    return {
        "run": record.run_id,
        "created": record.created,
        "run_status": record.status,
        "run_reason": record.reason or next((r.reason for r in record.protocols.values() if r.reason), None) or "",
        "dataset": config.data.name,
        "supervision": config.data.supervision,
        "labels": _labels(record, files),
        "architecture": config.network.architecture_label(),
        "encoder": config.network.encoder,
        "weights": record.encoder_weights,
        "weights_hash": config.encoder_weights_hash or "",
        "recipe": config.recipe.name,
        "recipe_hash": _digest(recipe),
        "inference": record.inference,
        "ranks": environment.ranks,
        "training_images": 0 if record.data is None else record.data.images,
        "training_fingerprint": "" if record.data is None else record.data.fingerprint,
        # The files of published labels belong to their source.
        "training_content": "" if _published(record) else files,
        "partial": config.data.allow_partial,
        "labelled_share": record.supervision.get("labelled_fraction"),
        "labelled_pixels": record.supervision.get("labelled_pixels_per_image"),
        "hardware": environment.hardware,
        "device": environment.device,
        "checkpoint": record.checkpoint_hash or "",
        "commit": _commit(environment.commit, environment.dirty),
        "scoring_commit": "" if scoring is None else _commit(scoring.commit, scoring.dirty),
        "method": config.method_name,
        "method_version": config.method_version,
        "configuration": record.configuration,
        "seed": config.seed,
        "variant": Variant.of(config, record.configuration),
        "config": config,
        "without_labels": record.supervision.get("without_labels") or {},
    }


def _labels(record: Record, files: str) -> str:
    """Where a run's labels come from, with a hash of published files; empty if it failed before it saw them.

    Dense labels have one source, which records did not name at first.
    """
    dense = record.config.data.supervision == "dense" and record.data is not None
    source = str(record.supervision.get("source", "dense" if dense else ""))
    return f"{source} ({files[:8]})" if files and _published(record) else source


def _published(record: Record) -> str:
    """The source of labels that were read from files beside the dense ones; empty for all others."""
    source = str(record.supervision.get("source", ""))
    return source if source.startswith("official") else ""


def _commit(commit: str | None, dirty: bool | None) -> str:
    return (commit or "unknown")[:8] + (" (dirty)" if dirty else "")


def _numbers(record: Record, content: _Content) -> Iterator[tuple[Any, ...]]:
    """The rows of a run, as ``_OF_A_NUMBER`` has them."""
    for name, result in record.protocols.items():
        state = (record.run_id, name, result.version, result.status, result.reason or "")
        if not result.targets:
            yield *state, "", False, "", "", 0, "", "", "", "", "", "", None
        judged = result.targets.get(result.headline or "")
        repeated = judged.metrics.items() if judged is not None else ()
        described = {target: _description(scores, content) for target, scores in result.targets.items()}
        for target, scores in result.targets.items():
            data, images, fingerprint, classes = described[target]
            notes = "\n".join(scores.notes)
            of_target = (*state, target, scores is judged, data, "", images, fingerprint, classes, notes)
            for reading, key, part, value in _of_target(scores):
                yield *of_target, reading, key, part, value
        if not result.targets:
            continue
        # A mean over other targets is another number; what belongs to the checkpoint does not depend on them.
        data = "; ".join(sorted(f"{target}|{found[0]}" for target, found in described.items()))
        of_all = (*state, "", False, data, ", ".join(sorted(result.targets)), 0, "", "", "")
        for reading, summary in {"": result.summary, **result.summary_by_reading}.items():
            for key, value in summary.items():
                if key == "closed_set_miou":
                    yield *state, "", False, "", "", 0, "", "", "", reading, key, "", value
                elif (key, value) not in repeated:
                    yield *of_all, reading, key, "", value
    training = record.training
    if training is not None:
        costs = {
            "parameters": training.parameters / 1e6,
            "seconds": training.seconds / 60,
            "images_per_second": training.images_per_second,
            "peak_memory_mb": training.peak_memory_mb,
        }
        if record.inference_seconds is not None:
            costs["inference_seconds"] = 1000 * record.inference_seconds
        for key, value in costs.items():
            yield record.run_id, TRAINING, "", "complete", "", "", False, "", "", 0, "", "", "", "", key, "", value
    if not record.protocols and training is None:
        yield record.run_id, "", "", "", "", "", False, "", "", 0, "", "", "", "", "", "", None


def _of_target(scores: Scores) -> Iterator[tuple[str, str, str, float | None]]:
    """(reading, metric, part, value) of every number of a target."""
    for reading, metrics in {"": scores.metrics, **scores.by_score, **scores.by_reading}.items():
        for key, value in metrics.items():
            yield reading, key, "", value
    for key, by_class in scores.per_class.items():
        for name, value in by_class.items():
            yield "", key, name, value
    for key, parts in scores.decomposition.items():
        for name, value in parts.items():
            yield "", f"decomposition/{key}", name, value


def _description(scores: Scores, content: _Content) -> tuple[str, int, str, str]:
    """Definition, number of images, fingerprint and classes of a target."""
    names = sorted(scores.per_class.get("iou", ()))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:6]
    classes = f"{len(names)} classes {digest}"
    data = scores.dataset
    definition = (data.name, data.split, data.images, data.fingerprint, content(data), classes)
    return "|".join(map(str, definition)), data.images, data.fingerprint, classes


class _Content:
    """The hash of a data set's files; where a record has none, as older ones do, the one hash known.

    Where several are known (a set and a re-encoded copy of it), it stays empty: which it was cannot be told.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], set[str]] = defaultdict(set)

    def add(self, data: DatasetInfo, labels: str = "") -> None:
        if data.content is not None:
            self._known[data.name, data.split, data.images, data.fingerprint, labels].add(data.content)

    def __call__(self, data: DatasetInfo, labels: str = "") -> str:
        found = self._known.get((data.name, data.split, data.images, data.fingerprint, labels), set())
        return next(iter(found)) if len(found) == 1 else data.content or ""


def _known_content(records: Iterable[Record]) -> _Content:
    content = _Content()
    for record in records:
        if record.data is not None:
            content.add(record.data, _published(record))
        for result in record.protocols.values():
            for scores in result.targets.values():
                content.add(scores.dataset)
    return content


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _sheltered(runs: pd.DataFrame) -> pd.DataFrame:
    """``runs`` in which those that failed before they saw their data stand in every group that otherwise fits."""
    unseen = [column for column in GROUP if column == "labels" or column.startswith("training_")]
    kin = [column for column in GROUP if column not in unseen]
    blind = runs["training_fingerprint"] == ""
    complete = runs.loc[runs["run_status"] != "failed", "group"]
    homeless = runs[blind & (runs["labels"] == "") & ~runs["group"].isin(complete)]
    hosts = runs.loc[~blind, [*GROUP, "group"]].drop_duplicates()
    guests = homeless.drop(columns=[*unseen, "group"]).merge(hosts, on=kin)
    return pd.concat([runs[~runs["run"].isin(guests["run"])], guests], ignore_index=True)


# What follows from the numbers


def _across_domains(numbers: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What is lost across domains, and which share is retained, of every target and reading."""
    found = numbers[(numbers["protocol"] == "cross-domain") & (numbers["part"] == "")]
    source = found[found["metric"] == "source_miou"]
    here = found.loc[found["metric"] == "miou", [*_without("metric"), "value"]]
    both = source.merge(here, on=_without("metric"), suffixes=("", "_here"))
    retained = both["value_here"] / both["value"].where(both["value"] > 0)
    yield both.assign(metric="drop", value=both["value"] - both["value_here"])[[*_OF_A_NUMBER]]
    yield both.assign(metric="retention", value=retained)[[*_OF_A_NUMBER]]


def _means_over_targets(numbers: pd.DataFrame) -> pd.DataFrame:
    """Harmonic mean of the mIoUs, mean of the drops and of the retentions, of every reading that all targets have."""
    found = numbers[(numbers["protocol"] == "cross-domain") & (numbers["part"] == "") & (numbers["target"] != "")]
    found = found.assign(where=found["target"] + "|" + found["data"])
    targets = found.groupby("run")["target"].nunique()
    empty = dict.fromkeys(("target", "fingerprint", "classes", "notes"), "")
    means = []
    for key, of, mean in (
        ("harmonic_mean", "miou", harmonic_mean),
        ("mean_drop", "drop", np.mean),
        ("mean_retention", "retention", np.mean),
    ):
        here = found[found["metric"] == of]
        here = here[here.groupby(_READING)["target"].transform("size") == here["run"].map(targets)]
        if not here.empty:
            readings = here.groupby(_READING, sort=False)
            first = here.drop_duplicates(_READING).assign(
                **empty,
                headline=False,
                images=0,
                metric=key,
                data=["; ".join(sorted(texts)) for _, texts in readings["where"]],
                over=[", ".join(sorted(texts)) for _, texts in readings["target"]],
                value=[mean(values.to_numpy()) for _, values in readings["value"]],
            )
            means.append(first[[*_OF_A_NUMBER]])
    return pd.concat(means) if means else numbers[:0]


def _closed_set_beside_anomalies(numbers: pd.DataFrame) -> pd.DataFrame:
    """The closed-set mIoU of each checkpoint that was scored for anomalies, on its headline split."""
    chosen = (numbers["protocol"] == "closed-set") & (numbers["metric"] == "miou") & numbers["headline"]
    whole = (numbers["part"] == "") & (numbers["reading"] == "") & (numbers["status"] == "complete")
    closed = numbers[chosen & whole].sort_values("target").drop_duplicates("run")
    scored = numbers[(numbers["protocol"] == "anomaly") & (numbers["target"] != "")].drop_duplicates("run")
    both = scored.merge(closed[["run", "value"]], on="run", suffixes=("", "_closed"))
    empty = dict.fromkeys(("target", "data", "over", "fingerprint", "classes", "notes", "reading", "part"), "")
    derived = both.assign(**empty, headline=False, images=0, metric="closed_set_miou", value=both["value_closed"])
    return derived[[*_OF_A_NUMBER]]


def _without(*columns: str) -> list[str]:
    return [key for key in _KEY if key not in columns]


def rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a part of the ledger, as tuples with the columns' names."""
    row = _row(tuple(frame.columns))
    return map(row._make, zip(*(frame[column].tolist() for column in frame)))


@cache
def _row(columns: tuple[str, ...]) -> Any:
    """The type of a row: pandas makes one for each frame, which takes longer than the rows of most."""
    return namedtuple("Row", columns)


def parts(frame: pd.DataFrame, key: str | list[str], sort: bool = False) -> Iterator[tuple[Any, pd.DataFrame]]:
    """``frame`` by ``key``, in the order of appearance or sorted: each value with its rows."""
    return iter(frame.groupby(key, sort=sort))


# For notebooks


def export(frame: pd.DataFrame, path: Path, format: str) -> None:
    """Write the ``COLUMNS`` of ``frame`` as one of ``FORMATS``, every digit of the numbers included.

    Raises UserError if Parquet is wanted and pyarrow is not installed.
    """
    frame = frame[[*COLUMNS]]
    if format == "parquet":
        try:
            content = frame.to_parquet(engine="pyarrow", index=False)
        except ImportError:
            raise UserError(
                "Parquet files are written by pyarrow, which is not installed; "
                "pip install 'genseg-bench[parquet]', or choose another --format"
            ) from None
    elif format == "csv":
        text = frame.select_dtypes(["str", "object"])
        content = frame.assign(**text.map(cell)).to_csv(index=False, lineterminator="\n").encode()
    else:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        content = json.dumps(rows).encode()
    files.write(path, content)
