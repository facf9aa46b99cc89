"""A small data set and one processor to train on."""

from tests.bench.conftest import fabric, mini

__all__ = ["fabric", "mini"]
