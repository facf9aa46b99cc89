"""``bench`` and ``python -m bench``: the one entry, which answers signals before anything heavy is imported."""

import io
import signal
import sys

from bench.common import interruption


def main() -> None:
    """Run the command line; exits as ``interruption.run`` says."""
    _replace_what_cannot_be_encoded()
    try:
        interruption.run(_command_line)
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a traceback, should one come while Python shuts down


def _replace_what_cannot_be_encoded() -> None:
    """Let both streams show a question mark where their encoding, Latin-1 for example, lacks a character of a table."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where there is none
            stream.reconfigure(errors="replace")


def _command_line() -> None:
    from bench.commands.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
