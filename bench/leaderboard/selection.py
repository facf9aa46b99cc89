"""Which runs count under a protocol: the complete ones, the newest of each seed, and the split they are judged on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.leaderboard.grouping import Variant, variant_of
from bench.leaderboard.protocols import shown
from bench.records import Record

REASON_LENGTH = 240


@dataclass
class Selection:
    """The runs of a group under one version of a protocol."""

    complete: dict[Variant, dict[int, Record]] = field(default_factory=lambda: defaultdict(dict))
    """By variant and seed."""
    incomplete: list[tuple[Record, str, str]] = field(default_factory=list)
    """With status and reason; not those scored under another version, or not under a protocol on request."""
    superseded: list[tuple[Record, Record]] = field(default_factory=list)
    """Complete runs of which there is a newer one with the same seed, and that one."""

    @property
    def used(self) -> list[Record]:
        """All runs that count."""
        return [record for by_seed in self.complete.values() for record in by_seed.values()]


def select(records: Iterable[Record], protocol: str, version: str) -> Selection:
    """Sort out the runs that count under ``version`` of ``protocol``."""
    selection = Selection()
    for record in sorted(records, key=lambda r: (r.created, r.run_id)):
        problem = _problem(record, protocol, version)
        if problem is not None:
            if problem != _UNMENTIONED:
                selection.incomplete.append((record, *problem))
            continue
        by_seed = selection.complete[variant_of(record)]
        earlier = by_seed.get(record.config.seed)
        if earlier is not None and earlier.run_id != record.run_id:
            selection.superseded.append((earlier, record))
        by_seed[record.config.seed] = record
    return selection


def headline(protocol: str, records: Iterable[Record]) -> str:
    """The split that a protocol of several splits summarises; without a summary, the test split."""
    key = shown(protocol).headline or "miou"
    candidates: set[str] | None = None
    for result in (record.protocols[protocol] for record in records):
        same = {t for t, s in result.targets.items() if s.metrics.get(key) == result.summary.get(key)}
        candidates = same if candidates is None else candidates & same
    return min(candidates or {"test"})


def first_reason(record: Record) -> str | None:
    """Why a protocol of the run has no scores."""
    return next((r.reason for r in record.protocols.values() if r.reason), None)


def sentence(text: str | None) -> str:
    """A reason in one line of limited length."""
    words = " ".join((text or "no reason was recorded").split())
    return words if len(words) <= REASON_LENGTH else words[: REASON_LENGTH - 1] + "…"


_UNMENTIONED = ("", "")
"""Of runs scored under another version of the protocol, or not under one that is only scored on request."""


def _problem(record: Record, protocol: str, version: str) -> tuple[str, str] | None:
    """Why the run is not averaged, as (status, reason); None if it is."""
    if record.status != "complete":
        return "failed", sentence(record.reason or first_reason(record) or "no reason was recorded")
    result = record.protocols.get(protocol)
    if result is None and not shown(protocol).by_default:
        return _UNMENTIONED
    if result is None:
        return "not scored", f"the run was not scored under {protocol}"
    if result.version != version:
        return _UNMENTIONED
    if result.status != "complete":
        return result.status, sentence(result.reason or "no reason was recorded")
    if not result.targets:
        return "not scored", "the protocol has no target"
    return None
