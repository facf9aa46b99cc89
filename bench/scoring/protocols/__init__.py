"""How a trained method is scored. Each protocol has a version; scores of different versions never share a table.

``base`` is the contract, every other module with a protocol in it is one. ``registry.protocols`` knows them by name.
"""

from bench.scoring.protocols.anomaly import Anomaly
from bench.scoring.protocols.base import Evaluation, Protocol
from bench.scoring.protocols.boundary import Boundary
from bench.scoring.protocols.calibration import Calibration
from bench.scoring.protocols.closed_set import ClosedSet
from bench.scoring.protocols.cross_domain import CrossDomain

__all__ = ["Anomaly", "Boundary", "Calibration", "ClosedSet", "CrossDomain", "Evaluation", "Protocol"]
