"""Joining what a protocol finds now with what it found before, so that nothing scored is lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.plugins import registry
from bench.schema import side_file
from bench.schema.record import ProtocolResult, Record, Scores
from bench.scoring.protocols.base import Protocol
from datasets.base import Dataset


def merge(
    protocol: type[Protocol], old: ProtocolResult | None, new: ProtocolResult, order: list[str]
) -> ProtocolResult:
    """``new`` with the targets that only ``old`` has; of the others the scores are those of ``new``.

    A result that is not complete never replaces one that is. Results of different versions do not mix: ``new`` counts.
    ``order`` has the names of all targets of the ``protocol``, the headline first.
    """
    if old is None or old.status != "complete":
        return new
    if new.status != "complete":
        return old
    if old.version != new.version or old.targets.keys() <= new.targets.keys():
        return new
    targets = in_order({**old.targets, **new.targets}, order)
    headline = _headline(protocol, targets)
    summary = {**old.summary, **new.summary, **protocol.summarise([s.metrics for s in targets.values()], {})}
    readings = {
        reading: protocol.summarise([s.by_reading[reading] for s in targets.values()], {})
        for reading in (new.summary_by_reading or old.summary_by_reading)
        if all(reading in s.by_reading for s in targets.values())
    }
    joined = {"headline": headline, "targets": targets, "summary": summary, "summary_by_reading": readings}
    return new.model_copy(update=joined)


def merge_statistics(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], protocol: str, scored: Mapping[str, Scores]
) -> dict[str, np.ndarray]:
    """``old`` with all arrays of the targets ``scored`` now replaced by those in ``new``."""
    prefixes = tuple(side_file.under(protocol, target) for target in scored)
    return {**{key: array for key, array in old.items() if not key.startswith(prefixes)}, **new}


def in_order(targets: Mapping[str, Scores], order: list[str]) -> dict[str, Scores]:
    """``targets`` in the ``order`` of their protocol, the headline first, and what it does not name at the end."""
    places = {name: place for place, name in enumerate(order)}
    return {name: targets[name] for name in sorted(targets, key=lambda name: places.get(name, len(places)))}


def target_names(protocol: type[Protocol], source: type[Dataset]) -> list[str]:
    """All targets of methods trained on ``source`` as records name them, the headline first."""
    return [protocol.target_name(target) for target in protocol.targets(source)]


def enter(record: Record, name: str, found: ProtocolResult, source: type[Dataset]) -> None:
    """Put what a protocol found into the record, beside what it found before."""
    protocol = registry.protocols.known(name)
    order = [] if protocol is None or found.status != "complete" else target_names(protocol, source)
    results = {**record.protocols, name: merge(protocol or Protocol, record.protocols.get(name), found, order)}
    record.protocols = {known: results[known] for known in (*registry.protocols.names(), *results) if known in results}


def summarise(protocol: type[Protocol], result: ProtocolResult, results: Mapping[str, ProtocolResult]) -> None:
    """Fill in what the targets of ``result`` amount to, beside the ``results`` of all protocols.

    The summaries of other readings do without the headline, which their scores on the first target have.
    """
    targets = list(result.targets.values())
    result.headline = _headline(protocol, result.targets)
    result.summary = protocol.summarise([scores.metrics for scores in targets], results)
    for reading in targets[0].by_reading:
        if all(reading in scores.by_reading for scores in targets):
            found = protocol.summarise([scores.by_reading[reading] for scores in targets], results)
            further = {key: value for key, value in found.items() if key != protocol.headline()}
            if further:
                result.summary_by_reading[reading] = further


def _headline(protocol: type[Protocol], targets: Mapping[str, Scores]) -> str | None:
    """The first of the ``targets``, from which the summary repeats the headline metric if ``protocol`` has one."""
    return None if protocol.headline() is None else next(iter(targets), None)


def judged(record: Record, source: type[Dataset]) -> dict[str, ProtocolResult]:
    """The results of the record that have the target on which their protocol is judged, the first one."""
    protocols = {name: registry.protocols.known(name) for name, r in record.protocols.items() if r.targets}
    return {
        name: record.protocols[name]
        for name, protocol in protocols.items()
        if protocol is not None and {*target_names(protocol, source)[:1]} <= record.protocols[name].targets.keys()
    }
