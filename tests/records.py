"""Records like others, for tests."""

from __future__ import annotations

from typing import Any

from bench.schema.record import Record


def rerun(record: Record, **changes: Any) -> Record:
    """The ``record`` as one of a configuration with ``changes``."""
    config = record.config.model_copy(update=changes)
    return record.model_copy(update={"config": config, "run_id": config.run_id(), "fingerprint": config.fingerprint()})


def on(dataset: str, record: Record) -> Record:
    """The ``record`` as one of another data set."""
    return rerun(record, data=record.config.data.model_copy(update={"name": dataset}))
