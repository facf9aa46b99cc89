"""How a trained method is scored. Each protocol has a version; scores of different versions never share a table."""

from __future__ import annotations

from bench.protocols.anomaly import Anomaly
from bench.protocols.base import Evaluation, Protocol
from bench.protocols.boundary import Boundary
from bench.protocols.calibration import Calibration
from bench.protocols.closed_set import ClosedSet
from bench.protocols.cross_domain import CrossDomain

PROTOCOLS: dict[str, type[Protocol]] = {p.name: p for p in (ClosedSet, CrossDomain, Anomaly, Calibration, Boundary)}
"""Protocols by name, in the order in which they are run. Not all are run by default."""

__all__ = ["PROTOCOLS", "Anomaly", "Boundary", "Calibration", "ClosedSet", "CrossDomain", "Evaluation", "Protocol"]
