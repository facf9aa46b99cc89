"""Names that a shell completes, found without importing what makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def named(*kinds: str) -> Complete:
    """Completes names of these kinds (``KINDS``); of ``file``, the shell completes paths where no name fits."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known = {name for kind in kinds if kind != "file" for name in KINDS[kind](context)}
        found = [CompletionItem(name) for name in sorted(known) if name.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type="file")] if "file" in kinds else [])

    return complete


def _registered(kind: str) -> Callable[[click.Context], Iterable[str]]:
    def listed(context: click.Context) -> Iterable[str]:
        from bench.plugins import registry

        known: registry.Registry[object] = getattr(registry, kind)
        return known.names()

    return listed


def _recipes(context: click.Context) -> Iterable[str]:
    from bench.config.tables import recipe_names

    return recipe_names()


def _runs(context: click.Context) -> Iterable[str]:
    """Those with a record in the results folder that the line names, or in the default one."""
    results = context.params.get("results") or context.params.get("named") or "results"
    return (path.stem for path in Path(results, "records").glob("*.json"))


KINDS: dict[str, Callable[[click.Context], Iterable[str]]] = {
    "method": _registered("methods"),
    "dataset": _registered("datasets"),
    "protocol": _registered("protocols"),
    "recipe": _recipes,
    "run": _runs,
}
"""The names of each kind, given the line so far."""
