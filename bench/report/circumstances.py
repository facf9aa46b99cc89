"""Where a run was made and what it cost, in words: `bench show` and the page say the same."""

from __future__ import annotations

from collections.abc import Iterator

from bench.schema.record import Environment, Record


def surroundings(made: Environment) -> dict[str, str]:
    """Of training, or of a later scoring, by name."""
    threads = "" if made.threads is None else f", {made.threads} thread{'s' * (made.threads > 1)}"
    packages = {"python": made.python, **made.packages}
    said = {
        "commit": (made.commit or "unknown") + " with changes" * bool(made.dirty),
        "hardware": f"{made.hardware or made.device}{threads}",
        "device": f"{made.device}, {made.ranks} process{'es' * (made.ranks > 1)}",
        "platform": made.platform,
        "software": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }
    return {name: text for name, text in said.items() if text}


def costs(record: Record) -> Iterator[tuple[str, str]]:
    """By name; nothing of a run that failed before it was trained."""
    training, inference = record.training, record.inference_seconds
    if training is None:
        return
    text = f"{training.steps:,} steps in {training.seconds / 60:.1f} min, {training.parameters / 1e6:.2f} M parameters"
    yield "training", text + ("" if inference is None else f", {1000 * inference:.0f} ms a prediction")
    if training.bytes_a_step:
        ranks = record.environment.ranks
        yield "exchange", f"{ranks} ranks, each of which hands the others {training.exchanged} a step"
