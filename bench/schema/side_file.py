"""Names of arrays in the side file of statistics per image: ``protocol/target/kind``, of a reading
``protocol/target/reading/kind``. They are built and taken apart here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Statistics per image by name, (n, ...) each."""

IDS = "ids"
"""The kind that names the images of a target, (n,)."""


def under(protocol: str, target: str = "", reading: str = "") -> str:
    """How the names of all arrays of a protocol begin, or of one of its targets, or of a reading on it."""
    return "".join(f"{part}/" for part in (protocol, target, reading) if part)


def of(arrays: Arrays, kinds: Iterable[str], protocol: str, target: str, reading: str = "") -> dict[str, NDArray[Any]]:
    """Those of the ``kinds`` that are there of a target and a reading, by kind."""
    prefix = under(protocol, target, reading)
    return {kind: arrays[prefix + kind] for kind in kinds if prefix + kind in arrays}


def protocol_and_kind(name: str) -> tuple[str, str]:
    """What ``name`` says without knowing the protocol's targets, in which there may be slashes too."""
    return name.partition("/")[0], name.rpartition("/")[2]
