"""What the page says of a row's runs: how each was made, the command that repeats it, and what to cite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter

from bench.common.errors import UserError
from bench.config.command import command
from bench.plugins import registry
from bench.report import citation
from bench.report.circumstances import costs, surroundings
from bench.report.leaderboard.model import Row
from bench.report.leaderboard.views import title
from bench.schema.record import Record


@dataclass(frozen=True)
class Block:
    """Runs that differ in the seed alone."""

    title: str
    seeds: tuple[int, ...]
    facts: Mapping[str, Sequence[str]]
    """By name, for each seed."""
    command: str
    """Makes the first of them; empty where the method is not installed or refuses the settings of then."""
    configuration: str
    """All of it but the seed, as JSON."""


@dataclass(frozen=True)
class Details:
    """Of the runs of a row."""

    anchor: str
    label: str
    blocks: tuple[Block, ...]
    bibtex: str
    """Of the method; empty where it cites nothing."""


def details(rows: Iterable[Row], records: Sequence[Record]) -> dict[tuple[str, ...], Details]:
    """By their runs, of all ``rows`` that have a record for each of them."""
    known = {record.run_id: record for record in records}
    commands = _commands(known.values())
    by_runs = {row.run_ids: row for row in rows if row.run_ids and known.keys() >= {*row.run_ids}}
    return {runs: _details(row, [known[name] for name in runs], commands) for runs, row in by_runs.items()}


def _details(row: Row, records: Sequence[Record], commands: Mapping[str, str]) -> Details:
    configured = sorted(((_configuration(record), record) for record in records), key=_sort_key)
    by_configuration = groupby(configured, key=itemgetter(0))
    blocks = [_block(text, [record for _, record in alike], commands) for text, alike in by_configuration]
    digest = hashlib.sha256("\n".join(row.run_ids).encode()).hexdigest()[:12]
    return Details(f"run-{digest}", row.label, tuple(blocks), _bibtex(row.method))


def _sort_key(configured: tuple[str, Record]) -> tuple[str, int]:
    return configured[0], configured[1].config.seed


def _configuration(record: Record) -> str:
    return record.config.model_dump_json(exclude={"seed"}, indent=1)


def _block(configuration: str, records: Sequence[Record], commands: Mapping[str, str]) -> Block:
    first = records[0]
    told = [dict(_facts(record)) for record in records]
    names = dict.fromkeys(name for facts in told for name in facts)
    return Block(
        title(first.config),
        tuple(record.config.seed for record in records),
        {name: [facts.get(name, "") for facts in told] for name in names},
        commands.get(first.run_id, ""),
        configuration,
    )


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "run", record.run_id
    yield "finished", record.created
    yield from surroundings(record.environment).items()
    if record.scoring_environment is not None:
        yield from ((f"{name} of scoring", text) for name, text in surroundings(record.scoring_environment).items())
    yield from costs(record)
    hashes = {
        "fingerprint": record.fingerprint,
        "training data (SHA-256)": record.data and (record.data.content or record.data.fingerprint),
        "encoder weights (SHA-256)": record.config.encoder_weights_hash,
        "model (SHA-256)": record.checkpoint_hash,
        "counts per image (SHA-256)": record.statistics_hash,
        **{f"{name} (SHA-256)": digest for name, digest in record.plugins.items()},
    }
    yield from ((name, digest) for name, digest in hashes.items() if digest)


def _commands(records: Iterable[Record]) -> dict[str, str]:
    """By run, of methods that are installed and take the settings of then: each method is read once."""
    found = {}
    ordered = sorted(records, key=lambda record: record.config.method_name)
    for name, of_method in groupby(ordered, key=lambda record: record.config.method_name):
        with suppress(UserError), registry.methods.to_read(name) as method:
            for record in of_method:
                with suppress(UserError):
                    found[record.run_id] = command(record.config, method)
    return found


@cache
def _bibtex(method: str) -> str:
    with suppress(UserError):
        return "\n\n".join(citation.entries(method))
    return ""
