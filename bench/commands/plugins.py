"""Commands on plugins themselves, and on the machine: what there is, a new one, whether contracts and needs are met."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands import options
from bench.commands.completion import named
from bench.commands.options import EXIT_FAILED, Command, Place, fail, say, say_json, suggest
from bench.common.errors import UserError, near

if TYPE_CHECKING:
    from bench.checks.method import NotApplicable

KINDS = ("methods", "datasets", "protocols", "recipes", "architectures")


@click.command("list", cls=Command)
@click.argument("kind", type=click.Choice(KINDS))
@options.json_option
@options.plugins
def list_(kind: str, as_json: bool) -> None:
    """List what there is of a KIND."""
    from bench.commands import catalogue as documentation

    rows = documentation.listing(kind)
    if as_json:
        say_json(rows)
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        say(f"{row['name']:<{width}}  {row['summary']}".rstrip())


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(["method", "dataset", "protocol"]))
@click.argument("name")
@click.option("--out", type=Place(file_okay=False), default=Path("."))
def new(kind: str, name: str, out: Path) -> None:
    """Write a file with a working method, data set or protocol NAME, to change into yours."""
    from bench.plugins import templates

    path = templates.new(kind, name, out)
    say(path)
    suggest("check", name, "--plugin", path)


@click.command(cls=Command)
@click.argument("name", shell_complete=named("method", "dataset", "protocol"))
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of the method to check.")
@options.plugins
@options.data_root
def check(name: str, assignments: tuple[str, ...], data_root: tuple[Path, ...]) -> None:
    """Prove that the method, data set or protocol NAME honours its contract.

    Every check is named; the exit code is 1 if one fails.
    """
    from bench.checks import dataset as dataset_contract
    from bench.checks import method as contract
    from bench.checks import protocol as protocol_contract
    from bench.common.console import progress
    from bench.config import tables as config
    from bench.plugins import registry

    checks: Iterator[tuple[str, str | NotApplicable | None]]
    if name in registry.methods.names():
        kind, checks = "method", contract.check(registry.methods.get(name), config.method_settings(assignments))
    elif name in registry.datasets.names():
        kind, checks = "data set", dataset_contract.check(registry.datasets.get(name), data_root)
    elif name in registry.protocols.names():
        kind, checks = "protocol", protocol_contract.check(registry.protocols.get(name))
    else:
        try:
            registry.methods.get(name)
        except UserError as error:
            others = "; of ".join(f"{k.kind}s, {near(name, k.names())}" for k in registry.KINDS[1:])
            raise UserError(f"{error}; of {others}") from None
    failures = 0
    for rule, problem in progress(checks, f"checking {name}"):
        is_failure = isinstance(problem, str)
        word = "ok  " if problem is None else "FAIL" if is_failure else "n/a "
        say(f"{word}  {rule}" + ("" if problem is None else f": {problem}"))
        failures += is_failure
    if failures:
        fail(f"{name} breaks {failures} rule(s) of the {kind} contract", EXIT_FAILED)
    say(f"{name} honours the {kind} contract")
    if kind == "method":
        suggest("run", "--method", name, "--method", "softmax", "--dataset", "toyscapes")
    elif kind == "data set":
        suggest("data", "verify", name)
    else:
        suggest("run", "--method", "softmax", "--dataset", "toyscapes", "--protocol", name)


@click.command(cls=Command)
@options.json_option
@options.data_root
@options.results
@options.device
@options.plugins
def doctor(as_json: bool, data_root: tuple[Path, ...], results: Path, device: str) -> None:
    """Look whether this machine has what runs need, and say what to do where it does not; exit code 1 then."""
    from bench.checks import machine

    found = list(machine.examine(data_root, results, device))
    if as_json:
        say_json([finding._asdict() for finding in found])
    else:
        for finding in found:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            say(f"{finding.state.upper() if finding.state == 'problem' else finding.state:<7}  {finding.what}{remedy}")
    if any(finding.state == "problem" for finding in found):
        raise click.exceptions.Exit(EXIT_FAILED)
    suggest("run", "--method", "gmmseg", "--method", "softmax", "--dataset", "toyscapes")
