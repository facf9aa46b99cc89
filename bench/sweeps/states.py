"""How far runs are, read from the results folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal, NamedTuple

from bench.common import claims
from bench.records.store import OLDER, SO_FAR, Store
from bench.training.checkpoint import CHECKPOINT


class State(NamedTuple):
    """How far a run is."""

    run: str
    state: Literal["queued", "running", "stale", "interrupted", "done", "failed"]
    """Stale: its process is gone, or has not been heard of for long. Interrupted: it was stopped and can go on."""
    reason: str = ""
    claim: claims.Claim | None = None
    """Who makes it, or did."""

    @property
    def progress(self) -> str:
        """What it does, how far that is, and how long it takes yet."""
        if self.claim is None or not self.claim.task:
            return self.reason
        of = f"/{self.claim.total}" if self.claim.total is not None else ""
        left = self.claim.seconds_left
        remaining = "" if left is None else f"{left / 60:.0f} min left"
        told = (f"{self.claim.task} {self.claim.done}{of}", self.claim.detail, f"{self.claim.rate:.3g}/s", remaining)
        return ", ".join(filter(None, told))


def state(store: Store, run: str, protocols: Iterable[str] = (), now: float | None = None) -> State:
    """That of one run; done when all ``protocols`` are in its record. ``now`` is as for ``claims.find``."""
    folder = store.run_folder(run)
    found = claims.find(folder, now)
    if found is not None and found.alive:
        return State(run, "running", "", found.claim)
    try:
        record = json.loads(store.record_path(run).read_bytes())
        if record["status"] == "complete" and {*protocols} <= {*record["protocols"]}:
            return State(run, "done")
        if record["status"] == "failed":
            return State(run, "failed", str(record["reason"]))
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        return State(run, "failed", f"record {store.record_path(run)} is damaged; move it away")
    if found is not None:
        return State(
            run, "stale", f"{found.claim.process} on {found.claim.host} was last heard of {found.age:.0f} s ago"
        )
    begun = any((folder / name).exists() for name in (CHECKPOINT, SO_FAR, OLDER[SO_FAR]))
    return State(run, "interrupted" if begun else "queued")


def runs_of(store: Store) -> set[str]:
    """Every run that the folder knows of, but for those that are only planned."""
    folders = {path.parent.name for path in (store.root / "runs").glob(f"*/{claims.PREFIX}*")}
    folders |= {path.parent.name for path in (store.root / "runs").glob(f"*/{CHECKPOINT}")}
    folders |= {path.parent.name for path in (store.root / "runs").glob(f"*/{SO_FAR}")}
    return folders | {path.stem for path in store.records_folder.glob("*.json")}
