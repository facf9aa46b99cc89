"""How a trained method is scored. Each protocol has a version; scores of different versions never share a table.

``base`` is the contract, every other module with a protocol in it is one. ``registry.protocols`` knows them by name.
"""

from bench.protocols.anomaly import Anomaly
from bench.protocols.base import Evaluation, Protocol
from bench.protocols.boundary import Boundary
from bench.protocols.calibration import Calibration
from bench.protocols.closed_set import ClosedSet
from bench.protocols.cross_domain import CrossDomain

__all__ = ["Anomaly", "Boundary", "Calibration", "ClosedSet", "CrossDomain", "Evaluation", "Protocol"]
