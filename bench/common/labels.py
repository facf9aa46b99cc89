"""The two values of a label map that are no class, for data sets, methods and metrics alike."""

IGNORE = 255
"""Label of a pixel that does not exist for training or scoring: void, padding, outside."""

UNLABELLED = 254
"""Label of a valid pixel without annotation (sparse supervision)."""
