"""The harness: trains, scores and compares method plugins through the two contracts in ``methods`` and ``datasets``."""

__version__ = "0.1.0"
