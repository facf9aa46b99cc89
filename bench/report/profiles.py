"""Profiles in the terminal."""

from __future__ import annotations

from rich.table import Table

from bench.common.console import Output
from bench.runs.profiling import PARTS, Profile


def show(found: Profile) -> None:
    """Print where time and memory go."""
    output, columns = Output(), {"a training step": found.training, "the prediction of an image": found.inference}
    columns = {heading: seconds for heading, seconds in columns.items() if seconds}
    table = Table()
    table.add_column("part")
    for heading in columns:
        table.add_column(f"ms of {heading}", justify="right")
        table.add_column("share", justify="right")
    for name in PARTS:
        if any(name in seconds for seconds in columns.values()):
            table.add_row(name, *(cell for seconds in columns.values() for cell in _cells(seconds, name)))
    table.add_section()
    table.add_row("all", *(cell for seconds in columns.values() for cell in (_ms(sum(seconds.values())), "")))
    output.print(table)
    if found.cost is not None:
        table = Table()
        table.add_column("memory of a training step")
        table.add_column("MB", justify="right")
        for name, size in found.memory.items():
            table.add_row(name, f"{size / 1e6:,.1f}")
        table.add_section()
        table.add_row("peak", f"{found.cost.peak_memory_mb:,.1f}")
        output.print(table)
        if found.cost.bytes_a_step:
            output.print(f"each rank hands the others {found.cost.exchanged} a step", highlight=False)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"


def _cells(seconds: dict[str, float], name: str) -> tuple[str, str]:
    if name not in seconds:
        return "", ""
    return _ms(seconds[name]), f"{100 * seconds[name] / sum(seconds.values()):.1f} %"
