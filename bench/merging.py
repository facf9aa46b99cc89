"""Joining what a protocol finds now with what it found before, so that nothing scored is lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.protocols import PROTOCOLS, Protocol
from bench.records import ProtocolResult, Record, Scores
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
    known = {**old.targets, **new.targets}
    targets = {name: known[name] for name in sorted(known, key=lambda n: order.index(n) if n in order else len(order))}
    summary = {**old.summary, **new.summary, **protocol.summarise([s.metrics for s in targets.values()])}
    readings = {
        reading: protocol.summarise([s.by_reading[reading] for s in targets.values()])
        for reading in (new.summary_by_reading or old.summary_by_reading)
        if all(reading in s.by_reading for s in targets.values())
    }
    return new.model_copy(update={"targets": targets, "summary": summary, "summary_by_reading": readings})


def merge_statistics(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], protocol: str, scored: Mapping[str, Scores]
) -> dict[str, np.ndarray]:
    """``old`` with all arrays of the targets ``scored`` now replaced by those in ``new``."""
    prefixes = tuple(f"{protocol}/{target}/" for target in scored)
    return {**{key: array for key, array in old.items() if not key.startswith(prefixes)}, **new}


def enter(record: Record, name: str, found: ProtocolResult, source: type[Dataset]) -> None:
    """Put what a protocol found into the record, beside what it found before."""
    protocol = PROTOCOLS[name]
    order = [protocol.target_name(target) for target in protocol.targets(source)]
    results = {**record.protocols, name: merge(protocol, record.protocols.get(name), found, order)}
    record.protocols = {known: results[known] for known in (*PROTOCOLS, *results) if known in results}
