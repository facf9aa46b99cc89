"""How a trained method is scored. Each protocol has a version; scores of different versions never share a table."""

from __future__ import annotations

from bench.protocols.anomaly import Anomaly
from bench.protocols.base import Evaluation, Protocol
from bench.protocols.closed_set import ClosedSet
from bench.protocols.cross_domain import CrossDomain

PROTOCOLS: dict[str, type[Protocol]] = {p.name: p for p in (ClosedSet, CrossDomain, Anomaly)}
"""Protocols by name, in the order in which they are run."""

__all__ = ["PROTOCOLS", "Anomaly", "ClosedSet", "CrossDomain", "Evaluation", "Protocol"]
