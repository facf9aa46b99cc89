"""Which labels training saw, in the words of tables."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

import pandas as pd

from datasets.supervision.kinds import parse

BASELINE = "softmax"
"""Its result from dense labels is the upper line of all methods."""
_NOT_SEEDED = ("dense", "coarse", "none")
"""Families of kinds with nothing random in their labels."""


@dataclass(frozen=True)
class Labels:
    """The labels that runs of one supervision and source were trained from."""

    kind: str
    source: str
    """``derived: <rule>@<version>``, ``official: <folder> (<hash>)`` or ``dense``; empty where that is not said."""
    share: float | None
    """Labelled over valid pixels, mean over runs."""
    pixels: float | None
    """Labelled pixels of an image, mean over runs."""

    @property
    def origin(self) -> str:
        """``derived`` or ``official``; empty for dense labels and where nothing is known."""
        origin = self.source.partition(":")[0]
        return origin if origin in ("derived", "official") else ""

    @property
    def seeded(self) -> bool:
        """Whether another seed means other labels."""
        return self.origin == "derived" and parse(self.kind).family not in _NOT_SEEDED

    @property
    def text(self) -> str:
        """For a caption: source, share and number of labelled pixels; empty for dense labels."""
        if self.kind == "dense":
            return ""
        if self.kind == "none":
            return "none in training, dense ones after it"
        share = None if self.share is None else f"{_percent(self.share)} of the pixels"
        pixels = None if self.pixels is None else f"{self.pixels:.0f} an image"
        return ", ".join(filter(None, (self.source, share, pixels)))

    @property
    def heading(self) -> str:
        """For a column: the kind, its share and whether published files were read."""
        if self.kind in ("dense", "none"):
            return self.kind
        share = None if self.share is None else f"{_percent(self.share)} labelled"
        inside = ", ".join(filter(None, (share, self.origin)))
        return f"{self.kind} ({inside})" if inside else self.kind


def labels_of(runs: pd.DataFrame) -> Labels:
    """The labels of ``runs``, rows of the ledger that share supervision and labels."""
    first = runs.iloc[0]
    return Labels(
        kind=first["supervision"],
        source=first["labels"],
        share=_mean(runs["labelled_share"]),
        pixels=_mean(runs["labelled_pixels"]),
    )


def _mean(values: pd.Series) -> float | None:
    known = values.dropna().tolist()
    return mean(known) if known else None


def _percent(share: float) -> str:
    """Two digits from whatever place they begin at: shares of labelled pixels go down to a hundredth of a per cent."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"
