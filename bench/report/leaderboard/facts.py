"""What all rows of a table share, by name."""

from __future__ import annotations

import pandas as pd

from bench.records.naming import PARTIAL
from bench.report.leaderboard.labels import labels_of


def facts_of(runs: pd.DataFrame, protocol: str) -> dict[str, str]:
    """The facts of a group's ``runs`` in the order of a caption; ``protocol`` with its version. Empty ones go."""
    group = runs.iloc[0]
    known = group["weights_hash"][:8] in group["weights"]
    files = f", files {group['training_content'][:8]}" if group["training_content"] else ""
    images = f"{group['training_images']} images ({group['training_fingerprint'][:8]}{files})"
    facts = {
        "data set": group["dataset"],
        "supervision": group["supervision"],
        "labels": labels_of(runs).text if group["supervision"] else "",
        "network": f"{group['architecture']}/{group['encoder']}",
        "encoder weights": group["weights"] if known else f"{group['weights']} ({group['weights_hash'][:8]})",
        "recipe": f"{group['recipe']} ({group['recipe_hash']})",
        "inference": group["inference"],
        "protocol": protocol,
        "ranks": str(group["ranks"]) if group["ranks"] != 1 else "",
        "training data": images if group["training_fingerprint"] else "",
        "hardware": _few(set(runs["hardware"].where(runs["hardware"] != "", runs["device"]))),
        "commits": _few({*runs["commit"], *runs["scoring_commit"]} - {""}),
    }
    return {name: text for name, text in facts.items() if text}


def partial_rules(numbers: pd.DataFrame) -> list[str]:
    """What to say of rows on partial data, with the number of images that each target had; nothing without them."""
    found = numbers[numbers["partial"] & (numbers["target"] != "")]
    if found.empty:
        return []
    targets = found.groupby(["target", "images"]).size().index
    had = ", ".join(f"{target} {images} images" for target, images in targets)
    return [f"Rows{PARTIAL}: data.allow_partial accepted fewer images than a release has. Scored here: {had}."]


def _few(values: set[str], limit: int = 4) -> str:
    ordered = sorted(values)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
