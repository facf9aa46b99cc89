"""Dataset plugins: ``base`` is the contract, every other module or folder here is one dataset."""

GENSEG_BENCH = True
"""Tells this package from others of the same import name; the harness checks it at start."""
