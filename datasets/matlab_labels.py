"""MATLAB files, and what data sets with label maps in them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import Dataset


def read_matlab(path: Path) -> dict[str, Any]:
    """The variables in a MATLAB file. Raises one of ``integrity.DECODING_ERRORS`` for what is none, or damaged."""
    from scipy.io import loadmat  # slow to import
    from scipy.io.matlab import MatReadError

    load: Callable[[Any], dict[str, Any]] = loadmat  # its types know of no open file
    try:
        with path.open("rb") as file:
            return load(file)
    except (IndexError, KeyError, TypeError, NotImplementedError, MatReadError) as error:
        raise ValueError(f"it is no MATLAB file: {error}") from error


class MatlabLabels(Dataset):
    """A data set with label maps in ``.mat`` files, or in images where these were converted."""

    @abstractmethod
    def label_map(self, content: Mapping[str, Any]) -> Any:
        """The label map in the ``content`` of a file."""

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode a MATLAB file, or an image."""
        if path.suffix != ".mat":
            return super().decode_label(path)
        content = read_matlab(path)
        try:
            return np.asarray(self.label_map(content))
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"it is no {self.title} annotation: {error}") from error

    def check_label(self, path: Path) -> tuple[int, int] | None:
        """Width and height of an image; MATLAB files do not say theirs before they are read."""
        if path.suffix != ".mat":
            return super().check_label(path)
        if path.stat().st_size <= 128:
            raise ValueError("it ends within its header")
        return None
