"""``bench`` in process, and what it says of a mistake."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner, Result

from bench.commands.cli import main


def call(*arguments: object, **options: Any) -> Result:
    """``bench ARGUMENTS``, with options of click's runner."""
    return CliRunner().invoke(main, [*map(str, arguments)], **options)


def assert_refused(outcome: Result, *words: str) -> None:
    """Nothing but one sentence, with these words in it, and exit code 2."""
    assert (outcome.exit_code, len(outcome.output.splitlines())) == (2, 1), outcome.output
    for word in words:
        assert word in outcome.stderr, outcome.stderr
