"""What data sets with label maps in MATLAB files share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import Dataset


class MatlabLabels(Dataset):
    """A data set with label maps in ``.mat`` files, or in images where these were converted."""

    @abstractmethod
    def label_map(self, content: Mapping[str, Any]) -> Any:
        """The label map in the ``content`` of a file."""

    def decode_label(self, path: Path) -> np.ndarray:
        """Decode a MATLAB file, or an image."""
        if path.suffix != ".mat":
            return super().decode_label(path)
        from scipy.io import loadmat  # slow to import
        from scipy.io.matlab import MatReadError

        try:
            return np.asarray(self.label_map(loadmat(path)))
        except (KeyError, IndexError, TypeError, NotImplementedError, MatReadError) as error:
            raise ValueError(f"it is no {self.title} annotation: {error}") from error

    def check_label(self, path: Path) -> tuple[int, int] | None:
        """Width and height of an image; MATLAB files do not say theirs before they are read."""
        if path.suffix != ".mat":
            return super().check_label(path)
        if path.stat().st_size <= 128:
            raise ValueError("it ends within its header")
        return None
