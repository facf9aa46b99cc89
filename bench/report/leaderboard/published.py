"""Figures that others published, from ``published.json``: shown beside measured ones, never ranked with them.

Only figures of those who measured them are in the file; ``evidence`` says where they state them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.scoring.described import shown

SHARE_OF_SUPERVISED = "share of supervised mIoU"
"""The metric of figures that relate a method without labels to itself with dense ones."""


class Published(BaseModel):
    """One published number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    trained_on: str
    """Data set, by this suite's name where it has one."""
    supervision: str = "dense"
    protocol: str
    target: str
    """``dataset`` or ``dataset/split``."""
    metric: str
    value: str = Field(pattern=r"^\d+(\.\d+)?$")
    """Per cent, with the digits that the source prints."""
    network: str = "not stated"
    source: str
    evidence: Literal["official repository", "paper", "re-run by others"]
    """Stated in the authors' repository; in the paper, read in a third-party transcription; or by another group."""
    note: str = ""

    @property
    def target_dataset(self) -> str:
        """The target without its split."""
        return self.target.partition("/")[0]


def load() -> list[Published]:
    """All published figures that come with the suite."""
    text = resources.files("bench.report.leaderboard").joinpath("published.json").read_text(encoding="utf-8")
    return [Published.model_validate(entry) for entry in json.loads(text)]


def matching(
    entries: Iterable[Published], protocol: str, dataset: str, supervision: str, targets: Iterable[str]
) -> list[Published]:
    """The figures that belong beside a table.

    Figures on splits of the data set of training are of the same data set and supervision. Those of the other
    protocols are of one of the table's targets, whatever they were trained on: the row says so.
    """
    wanted = set(targets) | {target.partition("/")[0] for target in targets}
    if shown(protocol).on_source:
        return [
            e for e in entries if e.protocol == protocol and e.trained_on == dataset and e.supervision == supervision
        ]
    return [
        e
        for e in entries
        if e.protocol == protocol and (e.target in wanted or ("/" not in e.target and e.target_dataset in wanted))
    ]


def shares_of_supervised(entries: Iterable[Published], methods: Iterable[str]) -> list[Published]:
    """The figures of what ``methods`` reach without labels, as a share of what they reach with them."""
    wanted = set(methods)
    return [e for e in entries if e.metric == SHARE_OF_SUPERVISED and e.method in wanted]
