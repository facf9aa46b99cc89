"""How tables treat each protocol: as it describes itself, or, if it is not installed, by its name alone."""

from __future__ import annotations

from bench.plugins import registry
from bench.scoring.protocols.base import Protocol


def shown(protocol: str) -> type[Protocol]:
    """What ``protocol`` says of itself; an unknown one is called by its name."""
    unknown = {"name": protocol, "title": protocol, "by_default": True}
    return registry.protocols.known(protocol) or type("Unknown", (Protocol,), unknown)


def primary(protocol: str) -> tuple[str, ...]:
    """The metrics that order the rows, the first of them that a table has."""
    described = shown(protocol)
    return described.primary or tuple(column.key for column in described.columns[:1])


def order(protocol: str) -> tuple[int, str]:
    """Sort key that puts protocols in the order of tables, unknown ones at the end."""
    names = registry.protocols.names()
    return names.index(protocol) if protocol in names else len(names), protocol
