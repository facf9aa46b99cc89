"""Records of older schemas, read as if they were of today's."""

from __future__ import annotations

from typing import Any

from bench.config.tables import RunConfig
from bench.records import naming
from bench.schema.record import SCHEMA_VERSION, ProtocolResult, Record


def migrated(content: Any) -> Record:
    """The record in JSON ``content`` of this schema or an older one. Raises ValueError for anything else."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version == 1:
        config = RunConfig.model_validate(content.get("config"))
        content = {**content, "schema_version": SCHEMA_VERSION, "configuration": naming.name(config)}
    elif version != SCHEMA_VERSION:
        raise ValueError(f"it has schema version {version!r:.40}, this suite reads 1 to {SCHEMA_VERSION}")
    record = Record.model_validate(content)
    if version == 1:
        for result in record.protocols.values():
            result.headline = _headline(result)
    return record


def _headline(result: ProtocolResult) -> str | None:
    """The first target with the number that the summary repeats: schema 1 did not say from which one it is."""
    summary = result.summary
    likely = [target for target, scores in result.targets.items() if summary.keys() & scores.metrics.keys()]
    same = [target for target in likely if summary.items() & result.targets[target].metrics.items()]
    return next(iter(same + likely), None)
