"""Segmentation metrics: pure functions over counts, and thin streaming classes that hold mergeable counts."""
