"""Which splits of which data sets a model is scored on: those its source names, and those that name the source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bench.common.errors import UserError
from bench.plugins import registry

if TYPE_CHECKING:
    from datasets.base import ClassMap, Dataset, Target


def cross_domain(source: type[Dataset]) -> list[Target]:
    """The source's own cross-domain targets, then the headline splits of data sets that declare themselves its targets.

    Raises UserError if the class map of one of these does not fit.
    """
    from datasets.base import Target

    declared = []
    for dataset, class_map in _declaring(source):
        if dataset.eval_splits:
            require_fit(class_map, source, dataset, f"target_of {source.name} in data set {dataset.name}")
            declared.append(Target(dataset.name, dataset.eval_splits[0], class_map))
    return _with(source.cross_domain, declared)


def anomaly(source: type[Dataset]) -> list[Target]:
    """The source's own anomaly targets, then the anomaly splits of data sets that declare themselves its targets."""
    from datasets.base import Target

    declared = [
        Target(dataset.name, split)
        for dataset, _ in _declaring(source)
        for split, facts in dataset.splits.items()
        if facts.task == "anomaly"
    ]
    return _with(source.anomaly, declared)


def _declaring(source: type[Dataset]) -> Iterator[tuple[type[Dataset], ClassMap | None]]:
    for dataset in registry.datasets:
        if source.name in dataset.target_of:
            yield dataset, dataset.target_of[source.name]


def _with(own: Iterable[Target], declared: Iterable[Target]) -> list[Target]:
    """``own`` targets and those ``declared`` that are not among them."""
    named = {(target.dataset, target.split) for target in own}
    return [*own, *(target for target in declared if (target.dataset, target.split) not in named)]


def require_fit(class_map: ClassMap | None, source: type[Dataset], target: type[Dataset], where: str) -> None:
    """Raises UserError unless ``class_map``, stated ``where``, leads from the source's classes to the target's."""
    wanted = f"give it one from {source.classes.name} to {target.classes.name}"
    if class_map is None:
        if source.classes.names != target.classes.names:
            raise UserError(
                f"{where} has no class map, but {source.name} and {target.name} have other classes; {wanted}"
            )
        return
    fits = (class_map.source, class_map.target) == (source.classes.name, target.classes.name)
    if not fits or len(class_map.table) != len(source.classes):
        raise UserError(
            f"{where} has a class map of {len(class_map.table)} classes from {class_map.source} to "
            f"{class_map.target}; {wanted}"
        )
