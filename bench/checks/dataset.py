"""``bench check`` for data sets: the rules of their contract, each a check by name, run on the class and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bench.checks.method import ContractViolation, require
from bench.common.errors import UserError, first_line
from bench.common.labels import histogram
from bench.data.reading import evenly
from bench.plugins import registry
from bench.scoring.protocols.targets import require_fit
from datasets.base import IGNORE, UNLABELLED, ClassMap, Dataset, Roots

READ = 100
"""Images of a split that are decoded, evenly spaced: headers and ends are read of all."""


def check(dataset_class: type[Dataset], root: Roots) -> Iterator[tuple[str, str | None]]:
    """Run every check on a data set below ``root``: its name with what was found, and None or what is wrong."""
    for name, rule in (("facts", _facts), ("label ids", _label_ids), ("targets", _targets)):
        yield _outcome(name, lambda rule=rule: rule(dataset_class))  # type: ignore[misc]
    for split in dataset_class.splits:
        yield _outcome(f"split {split}", lambda split=split: _split(dataset_class, root, split))  # type: ignore[misc]


def _outcome(name: str, rule: Callable[[], str]) -> tuple[str, str | None]:
    try:
        found = rule()
    except (ContractViolation, UserError) as error:
        return name, str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a data set under check may raise anything
        return name, f"{type(error).__name__}: {first_line(error)}"
    return f"{name}: {found}" if found else name, None


def _facts(dataset: type[Dataset]) -> str:
    """The name, number of classes and roles of the splits."""
    require(dataset.name.isidentifier() and dataset.name.islower(), f"{dataset.name!r} is no lower-case identifier")
    require(2 <= len(dataset.classes) <= UNLABELLED, f"there are {len(dataset.classes)} classes, not 2 to 254")
    require(bool(dataset.splits), "there is no split")
    both = sorted({*dataset.splits} & {*dataset.withheld})
    require(not both, f"split {', '.join(both)} is both offered and withheld")
    roles = {"train_split": [dataset.train_split], "eval_splits": dataset.eval_splits}
    for role, splits in {**roles, "selection_split": [dataset.selection_split]}.items():
        for split in splits:
            if split is not None:
                require(
                    split in dataset.splits, f"{role} names {split!r}, which is none of {', '.join(dataset.splits)}"
                )
                require(dataset.splits[split].task == "segmentation", f"{role} names {split!r}, an anomaly split")
    if dataset.train_split is not None:
        require(bool(dataset.eval_splits), "eval_splits is empty, so that what is trained would not be measured")
        require(dataset.train_split not in dataset.eval_splits, "eval_splits names the training split")
        require(dataset.selection_split != dataset.eval_splits[0], "selection_split is the headline of eval_splits")
    return ""


def _label_ids(dataset: type[Dataset]) -> str:
    """The tables from raw ids: every class is reached, and nothing else."""
    for table, values, allowed in (
        ("raw_ids", dataset.raw_ids, {*range(len(dataset.classes)), UNLABELLED, IGNORE}),
        ("anomaly_ids", dataset.anomaly_ids, {0, 1, IGNORE}),
    ):
        wrong = sorted({*(values or {}).values()} - allowed)
        require(not wrong, f"{table} leads to {', '.join(map(str, wrong))}, which is no label")
    if dataset.raw_ids is not None:
        unreached = [n for i, n in enumerate(dataset.classes.names) if i not in dataset.raw_ids.values()]
        require(not unreached, f"no raw id of raw_ids leads to {', '.join(unreached)}")
    return ""


def _targets(dataset: type[Dataset]) -> str:
    """Targets exist, class maps fit."""
    for role, targets in (("cross_domain", dataset.cross_domain), ("anomaly", dataset.anomaly)):
        task = "anomaly" if role == "anomaly" else "segmentation"
        for target in targets:
            other, where = registry.datasets.get(target.dataset), f"{target.dataset}/{target.split}"
            facts = other.splits.get(target.split)
            require(facts is not None and facts.task == task, f"{role} names {where}, which is no {task} split")
            if role == "cross_domain":
                _fit(target.class_map, dataset, other, f"cross_domain target {where}")
    for name, class_map in dataset.target_of.items():
        source = registry.datasets.get(name)
        if dataset.eval_splits:
            _fit(class_map, source, dataset, f"target_of {name}")
    return ""


def _fit(class_map: ClassMap | None, source: type[Dataset], target: type[Dataset], where: str) -> None:
    require_fit(class_map, source, target, where)
    ids = {*range(len(target.classes)), IGNORE}
    require(class_map is None or {*class_map.table} <= ids, f"the class map of {where} leads to ids without class")


def _split(dataset_class: type[Dataset], root: Roots, split: str) -> str:
    """Its files are there, whole and of one size; ids are unique; labels are in range. Which classes occur."""
    dataset = dataset_class(root, split)
    ids = [item.id for item in dataset.items]
    twice = sorted({i for i in ids if ids.count(i) > 1}) if len({*ids}) < len(ids) else []
    require(not twice, f"{len(twice)} ids occur more than once, {', '.join(twice[:3])} for one; ids must be unique")
    dataset.check_files()
    counts, read = np.zeros(256, dtype=np.int64), evenly(ids, READ)
    for index in read:
        label = dataset[index].label.numpy()
        require(label.dtype == np.uint8, f"label {ids[index]} is {label.dtype}, not uint8")
        counts += histogram(label)
    names = ("in-distribution", "anomaly") if dataset.task == "anomaly" else dataset.classes.names
    named = {**dict(zip(names, counts)), "unlabelled": counts[UNLABELLED], "void": counts[IGNORE]}
    shares = [f"{name} {count / counts.sum():.1%}" for name, count in named.items() if count]
    never = [name for name, count in zip(names, counts) if not count]
    return f"{len(ids)} images; labels of {len(read)}: {', '.join(shares)}" + (
        f"; in none of them: {', '.join(never)}" if never else ""
    )
