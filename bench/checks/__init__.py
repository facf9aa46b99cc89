"""The rules of the three contracts, each a check by name: ``bench check``."""
