"""``bench`` and ``python -m bench``: the one entry, which answers signals before anything heavy is imported."""

import signal

from bench.common import interruption


def main() -> None:
    """Run the command line; exits as ``interruption.run`` says."""
    try:
        interruption.run(_command_line)
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a traceback, should one come while Python shuts down


def _command_line() -> None:
    from bench.commands.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
