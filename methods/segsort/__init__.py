"""SegSort: pixel embeddings sorted into segments, and segments labelled by their nearest in the training set."""

from methods.segsort.config import SegSortConfig
from methods.segsort.method import SegSort

__all__ = ["SegSort", "SegSortConfig"]
