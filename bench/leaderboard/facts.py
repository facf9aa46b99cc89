"""What all rows of a table share, by name."""

from __future__ import annotations

from bench.leaderboard.grouping import DataKey, Group
from bench.leaderboard.labels import labels_of
from bench.records import Record


def facts_of(group: Group, protocol: str, records: list[Record]) -> dict[str, str]:
    """The facts of a group in the order of a caption; ``protocol`` with its version. Those not set are left out."""
    known = group.weights_hash[:8] in group.weights
    facts = {
        "data set": group.dataset,
        "supervision": group.supervision,
        "labels": labels_of(records).text if group.supervision else "",
        "network": f"{group.architecture}/{group.encoder}",
        "encoder weights": group.weights if known else f"{group.weights} ({group.weights_hash[:8]})",
        "recipe": f"{group.recipe} ({group.recipe_hash})",
        "inference": group.inference,
        "protocol": protocol,
        "ranks": str(group.ranks) if group.ranks != 1 else "",
        "training data": "" if group.data is None else _data(group.data),
        "hardware": _few({r.environment.hardware or r.environment.device for r in records}),
        "commits": _few(
            {
                (made.commit or "unknown")[:8] + (" (dirty)" if made.dirty else "")
                for r in records
                for made in (r.environment, r.scoring_environment)
                if made is not None
            }
        ),
    }
    return {name: text for name, text in facts.items() if text}


def _data(data: DataKey) -> str:
    files = f", files {data.content[:8]}" if data.content else ""
    return f"{data.images} images ({data.fingerprint[:8]}{files})"


def _few(values: set[str], limit: int = 4) -> str:
    ordered = sorted(values)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
