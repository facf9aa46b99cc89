"""Which images, labels and plugins a run was trained and scored with, and whether these are still what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.common.errors import UserError
from bench.config.tables import RunConfig
from bench.data import fingerprint
from bench.plugins import registry
from bench.plugins.files import changed_plugin
from bench.records.store import Store
from bench.runs.plan import Opener, Plan, opener
from bench.schema.record import DatasetInfo, Record
from datasets.base import Dataset, MissingData, Roots
from datasets.supervision import official, parse, supervise
from datasets.supervision.derive import VERSIONS
from datasets.supervision.wrapper import DerivedLabels, SparseDataset
from methods.base import Method
from methods.capabilities import LearnsWithoutLabels


@dataclass(frozen=True)
class TrainingLabels:
    """The training images of a run."""

    dense: Dataset
    """With all labels."""
    config: RunConfig
    store: Store
    finishing: Dataset | None = None
    """What ``finish`` sees, if that is not what training saw."""

    @classmethod
    def of(cls, dense: Dataset, config: RunConfig, store: Store) -> TrainingLabels:
        """Those of a run, from its training split."""
        return cls(dense, config, store, dense if config.data.supervision == "none" else None)

    @cached_property
    def info(self) -> DatasetInfo:
        """What is trained on, for the record."""
        return _describe(self.dense, self.config)

    @cached_property
    def seen(self) -> Dataset:
        """With the labels that training sees, derived where they are not there: scoring does without them."""
        return _supervised(self.dense, self.config, self.store)

    def require_published(self) -> None:
        """Raises UserError if the run says how published labels are read, and there are none."""
        if self.config.data.void_is_unlabelled and isinstance(self.seen, DerivedLabels):
            raise UserError(
                f"data.void_is_unlabelled is about published labels, but those of kind {self.seen.kind} are derived "
                f"from the dense ones, since {self.seen.folder} has none; put them there, or leave "
                "data.void_is_unlabelled out"
            )

    def require_labelled(self) -> None:
        """Raises UserError if no pixel of the training split has a class: every loss would be of nothing."""
        labels = self.dense if self.config.data.supervision == "none" else self.seen
        if not any(bool((labels.label(index) < len(labels.classes)).any()) for index in range(len(labels))):
            raise UserError(
                f"no pixel of the {len(labels)} training images of {labels.name} has a class, all are void or without "
                f"label (the first label is {labels.items[0].label}); correct the labels, or choose another supervision"
            )

    def supervision(self, method_class: type[Method]) -> dict[str, Any]:
        """Which labels training saw, where they come from, and how many of the valid pixels they label."""
        if not isinstance(self.seen, SparseDataset):
            return {"kind": "dense", "source": "dense", "labelled_fraction": 1.0}
        facts = {
            "kind": str(self.seen.kind),
            "source": self.seen.source,
            "labelled_fraction": self.seen.labelled_fraction(),
            "labelled_pixels_per_image": round(self.seen.labelled_pixels_per_image(), 1),
        }
        if self.seen.kind.family == "none":
            assert issubclass(method_class, LearnsWithoutLabels), "a configuration of others is refused"
            facts |= {"after_training": "dense", "without_labels": dict(method_class.without_labels)}
        return facts


def require_same_labels(record: Record, dense: Dataset, now: DatasetInfo) -> None:
    """Raises UserError if the run was trained on other images or labels than are there now."""
    trained = record.data
    source, source_now = str(record.supervision.get("source", "")), _source(dense, record.config)
    if trained is not None and trained.images != now.images:
        change = f"{trained.images} images, now {now.images}"
    elif trained is not None and trained.fingerprint != now.fingerprint:
        change = "other labels"
    elif source and source_now != ("official" if source.startswith("official") else source):
        change = f"labels that were {source}, now {source_now}"
    elif trained is not None and trained.content not in (None, now.content):
        change = "other image or label files"
    else:
        return
    raise UserError(
        f"run {record.run_id} was trained on other data than {dense.folder} holds now ({change}); restore that data, "
        "or train again with `bench run` and --force"
    )


def require_same_data(record: Record, planned: Plan, dense: Dataset | MissingData, open_: Opener) -> None:
    """Raises UserError if a finished run was trained or scored on other data than is there now.

    Training data that is not there at all has not changed.
    """
    if not isinstance(dense, MissingData):
        require_same_labels(record, dense, _describe(dense, record.config))
    for name, targets in planned.targets.items():
        for target in targets:
            scored = record.protocols[name].targets[registry.protocols.get(name).target_name(target)].dataset
            now = fingerprint.describe(open_(*target))
            if scored != now.model_copy(update={} if scored.content else {"content": None}):
                raise UserError(
                    f"{name} of run {record.run_id} was scored on other data than {'/'.join(target)} holds now; "
                    f"restore that data, or score it again with `bench evaluate {record.run_id}`"
                )


def require_same_plugins(record: Record, now: Mapping[str, str]) -> None:
    """Raises UserError if a plugin file is another one ``now`` than the run was trained with."""
    changed = changed_plugin(record.plugins, now)
    if changed is not None:
        raise UserError(
            f"{changed} is not the file that run {record.run_id} was trained with; put that one back, or train again "
            "with `bench run` and --force (a method with a raised `version` makes a new run)"
        )


def training_set(config: RunConfig, root: Roots, store: Store) -> Dataset:
    """The images of a run with the labels that its training saw. Raises DataError if they are not there."""
    source = registry.datasets.get(config.data.name)
    assert source.train_split is not None
    dense = opener(root, config.data.allow_partial)(source.name, source.train_split)
    return _supervised(dense, config, store)


def _supervised(dense: Dataset, config: RunConfig, store: Store) -> Dataset:
    kind, seed = config.data.supervision, config.seed
    return supervise(dense, kind, seed, store.cache, void_is_unlabelled=config.data.void_is_unlabelled)


def _describe(dense: Dataset, config: RunConfig) -> DatasetInfo:
    """Which data training reads: published sparse labels count too, derived ones follow from the dense labels."""
    info = fingerprint.describe(dense)
    published = official.find(dense, parse(config.data.supervision))
    if published is None:
        return info
    images, labels = [item.image for item in dense.items], [item.label for item in dense.items]
    return info.model_copy(update={"content": fingerprint.content(images, labels, published.files)})


def _source(dense: Dataset, config: RunConfig) -> str:
    """Where the labels of training come from, as far as it can be told without reading them."""
    kind = parse(config.data.supervision)
    if kind.family == "dense":
        return "dense"
    return "official" if official.find(dense, kind) is not None else f"derived: {kind.family}@{VERSIONS[kind.family]}"
