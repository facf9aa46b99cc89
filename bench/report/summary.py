"""What a run found, in the terminal as soon as it is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.table import Table

from bench.common.console import console, note, styled
from bench.plugins import registry
from bench.schema.record import Record, Scores
from bench.scoring.described import primary
from bench.scoring.metrics.catalogue import Metric, metric


def show(records: Iterable[Record]) -> None:
    """Print a table for each run below its id, which is never cut: other commands ask for it."""
    for record in records:
        table = Table()
        for heading in ("protocol", "target", "score"):
            table.add_column(heading, overflow="fold")
        for row in _rows(record):
            table.add_row(*map(styled, row))
        note(record.run_id)
        console.print(table)


def _rows(record: Record) -> Iterator[tuple[str, str, str]]:
    """Protocol, target and score."""
    for protocol, result in record.protocols.items():
        if result.status == "skipped":
            yield protocol, "", _why_skipped(record, protocol)
        elif result.status != "complete":
            yield protocol, "", f"{result.status}: {result.reason}" if result.reason else result.status
        for target, scores in result.targets.items():
            partial = f" ({scores.dataset.images} images of partial data)" * record.config.data.allow_partial
            yield protocol, target + partial, _score(protocol, scores)


def _why_skipped(record: Record, protocol: str) -> str:
    """In few words, for a narrow column: the notes of the run have the whole sentence."""
    targets = registry.protocols.get(protocol).targets(registry.datasets.get(record.config.data.name))
    names = list(dict.fromkeys(name for name, _ in targets))
    if not names:
        return "skipped: no target"
    return f"skipped: {', '.join(names)} {'is' if len(names) == 1 else 'are'} absent"


def _score(protocol: str, scores: Scores) -> str:
    """The primary metric, and of several anomaly scores the best one's, with one metric more."""
    wanted = primary(protocol)
    if not scores.by_score:
        key = next((key for key in wanted if key in scores.metrics), next(iter(scores.metrics)))
        return _brief(metric(key, protocol), scores.metrics[key])
    first = next(key for key in wanted if key in next(iter(scores.by_score.values())))
    best, found = max(scores.by_score.items(), key=lambda item: item[1][first] or 0)
    keys = [first, *[key for key in found if key != first][:1]]
    return f"{best}: {' '.join(_brief(metric(key, protocol), found[key]) for key in keys)}"


def _brief(column: Metric, value: float | None) -> str:
    number = "n/a" if value is None else f"{100 * value:.1f}" if column.percent else column.text(value)
    return f"{column.label} {number}"
