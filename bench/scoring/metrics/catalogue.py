"""Every metric by name: what it is called, which values it can have, which direction is better, how it is printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

from bench.plugins import registry

Better = Literal["higher", "lower"] | None

ROUNDING = 1e-6
"""By how much arithmetic may carry a value over the end of its range."""


@dataclass(frozen=True)
class Metric:
    """How tables treat one metric, and the range that its values are in.

    ``better`` is None for what describes the data or the cost and is not ranked; ``percent`` metrics are
    stored as shares and printed times 100; ``shown`` is False for what only CSV and JSON hold, and so is what is
    ``of_all_rows`` where a row of the table lacks it.
    """

    key: str
    label: str
    better: Better = "higher"
    percent: bool = True
    decimals: int = 2
    shown: bool = True
    of_all_rows: bool = False
    low: float = 0.0
    high: float = 1.0
    unit: str = ""

    @property
    def unit_of_values(self) -> str:
        """The unit of stored values: ``share`` of what is printed in per cent."""
        return "share" if self.percent else self.unit

    @property
    def heading(self) -> str:
        """The label with an arrow towards the better values."""
        return self.label + {"higher": " ↑", "lower": " ↓", None: ""}[self.better]

    def text(self, value: float) -> str:
        """``value`` as printed, without a unit."""
        text = f"{value * (100 if self.percent else 1):.{self.decimals}f}"
        return text[1:] if text.startswith("-") and not text.strip("-0.") else text

    def allows(self, value: float) -> bool:
        """Whether the metric can have this value; it is never NaN or infinite."""
        return math.isfinite(value) and self.low - ROUNDING <= value <= self.high + ROUNDING


_SHARED = (
    Metric("share_of_own_dense", "of own dense", None, decimals=1, high=math.inf),
    Metric("share_of_upper_line", "of upper line", None, decimals=1, high=math.inf),
    Metric("parameters", "Parameters (M)", None, percent=False, high=math.inf, unit="million"),
    Metric("seconds", "Training (min)", None, percent=False, decimals=1, high=math.inf, unit="min"),
    Metric("images_per_second", "Training images/s", None, percent=False, decimals=1, high=math.inf, unit="images/s"),
    Metric("peak_memory_mb", "Peak memory (MB)", None, percent=False, decimals=0, high=math.inf, unit="MB"),
    Metric("inference_seconds", "Inference (ms)", None, percent=False, decimals=0, high=math.inf, unit="ms"),
    Metric("iou", "IoU", shown=False),
    Metric("share", "Share", None, shown=False),
)
"""What is not of one protocol."""


def metrics(protocol: str | None = None) -> Mapping[str, Metric]:
    """By key, in the order of tables: the columns of ``protocol``, those of all others, what is not of one protocol."""
    return _metrics(protocol, registry.protocols.changes)


@lru_cache(maxsize=64)
def _metrics(protocol: str | None, changes: int) -> Mapping[str, Metric]:
    names = sorted(registry.protocols.names(), key=lambda name: name != protocol)
    found: dict[str, Metric] = {}
    for known in chain(*(registry.protocols.get(name).columns for name in names), _SHARED):
        found.setdefault(known.key, known)
    return found


def metric(key: str, protocol: str | None = None) -> Metric:
    """The metric ``key``, as ``protocol`` has it or else another; an unknown one is printed as it is, unranked."""
    known = metrics(protocol).get(key)
    if known is not None:
        return known
    oracle = key.endswith("_oracle")
    label = key.removesuffix("_oracle").replace("_", " ") + (" (oracle)" if oracle else "")
    return Metric(key, label, None, percent=False, decimals=4, low=-math.inf, high=math.inf)


def order(key: str, protocol: str | None = None) -> tuple[int, str]:
    """Sort key that puts metrics in the order of tables."""
    keys = [*metrics(protocol)]
    return keys.index(key) if key in keys else len(keys), key
