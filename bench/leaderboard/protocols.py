"""How tables treat each protocol, known here by name so that tables need none of the code that scores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """How the tables of one protocol look."""

    title: str
    primary: tuple[str, ...] = ()
    """The metrics that order the rows: the first of them that the table has."""
    headline: str | None = None
    """The metric that the protocol's summary repeats from the split it is judged on."""
    by_default: bool = True
    """False for what is scored where it is asked for: that a run lacks it is not worth a line."""


PROTOCOLS = {
    "closed-set": Shown("Closed-set segmentation", ("miou",), "miou"),
    "cross-domain": Shown("Cross-domain segmentation", ("harmonic_mean", "miou")),
    "anomaly": Shown("Anomaly segmentation", ("ap",)),
    "calibration": Shown("Calibration", ("ece",), "ece", by_default=False),
    "boundary": Shown("Boundaries", ("boundary_iou",), "boundary_iou", by_default=False),
}
"""In the order of the tables."""

_ORDER = {name: i for i, name in enumerate(PROTOCOLS)}


def shown(protocol: str) -> Shown:
    """How tables of ``protocol`` look; an unknown one is called by its name."""
    return PROTOCOLS.get(protocol, Shown(protocol))


def order(protocol: str) -> tuple[int, str]:
    """Sort key that puts protocols in the order of tables."""
    return _ORDER.get(protocol, len(_ORDER)), protocol
