"""What commands share: options, how results are printed, and how mistakes are shown."""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from bench.commands.completion import named
from bench.common import interruption, verbosity
from bench.common.errors import RankLost, RunFailed, UserError, describe_os_error
from bench.common.text import fitted, visible

ENDED_BY_A_PLUGIN = "a plugin ended the program (sys.exit({})); let it raise an error instead"

EXIT_FAILED, EXIT_USER = 1, 2


def verbosity_options() -> list[click.Parameter]:
    """``-q`` and ``-v``, of every command and of ``bench`` before them."""

    def option(name: str, variable: str, told: str) -> click.Option:
        return click.Option(
            [f"-{name[0]}", f"--{name}"],
            is_flag=True,
            expose_value=False,
            callback=lambda ctx, _, given: _set(ctx, variable) if given else None,
            help=f"{told}; also ${variable}=1.",
        )

    return [
        option("quiet", verbosity.QUIET, "No progress, no remarks, no command that comes next"),
        option("verbose", verbosity.VERBOSE, "The plan of runs, and tracebacks"),
    ]


def _set(ctx: click.Context, variable: str) -> None:
    """Set ``variable`` until the command ends."""
    if os.environ.get(variable) != "1":
        os.environ[variable] = "1"
        ctx.call_on_close(lambda: os.environ.pop(variable, None))


class Command(click.Command):
    """A command that shows a user's mistake as one sentence with exit code 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += verbosity_options()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Whatever its user or a plugin can cause ends in ``fail``."""
        from bench.plugins.own_datasets import require_own_datasets

        try:
            require_own_datasets()
            return super().invoke(ctx)
        except UserError as error:
            fail(str(error))
        except RunFailed as error:
            fail(str(error), EXIT_FAILED)
        except RankLost as error:
            if str(error):
                fail(f"interrupted: {error}; the same command continues", EXIT_FAILED, prefix="")
            raise click.exceptions.Exit(EXIT_FAILED) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise click.exceptions.Exit(EXIT_FAILED) from None
        except SystemExit as error:  # our own are click's
            fail(ENDED_BY_A_PLUGIN.format(error.code), EXIT_FAILED)
        except OSError as error:
            fail(describe_os_error(error))


def fail(sentence: str, code: int = EXIT_USER, prefix: str = "error: ") -> NoReturn:
    """Print one line to standard error and exit, unless a signal is the reason; after ``-v`` a traceback before it."""
    interruption.check()
    if verbosity.is_verbose() and sys.exception() is not None:
        traceback.print_exc()
    click.echo(prefix + visible(" ".join(sentence.split())), err=True)
    raise click.exceptions.Exit(code)


def say(text: object) -> None:
    """Print one line of a result to standard output."""
    click.echo(visible(str(text)))


def say_written(path: Path) -> None:
    """``say`` which file was written, but of no pipe or device: the line would follow what went to /dev/stdout."""
    if path.is_file():
        say(path)


def say_row(text: str) -> None:
    """Print one row of a list to standard output: one line, or several where the terminal is narrower."""
    click.echo(fitted(visible(text)))


def suggest(*words: object) -> None:
    """Name the command that is useful next: a line to standard error, if that is a terminal, and none after ``-q``."""
    from bench.common.console import console, note

    if console.is_terminal and not verbosity.is_quiet():
        note("next: " + shlex.join(["bench", *map(str, words), *_carried(words)]))


CARRIED = {
    "results": "--results",
    "named": "--results",
    "files": "--plugin",
    "plugins": "--plugin",
    "data_root": "--data-root",
}
"""Parameters that are said again to the next command, if they were given to this one: where things lie."""


def _carried(words: tuple[object, ...]) -> Iterator[str]:
    """Of what is ``CARRIED`` the part that the command of these ``words`` takes, and that they do not say."""
    context = click.get_current_context()
    command = context.find_root().command
    for word in words:
        if isinstance(command, click.Group):
            command = command.commands[str(word)]
    takes = {option for parameter in command.params for option in parameter.opts} - set(map(str, words))
    for name, option in CARRIED.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and option in takes:
            value = context.params[name]
            values = [os.pathsep.join(map(str, value))] if name == "data_root" else value
            for one in values if isinstance(values, list | tuple) else [values]:
                yield from (option, str(one))


json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


def say_json(value: object) -> None:
    """Print a result for programs: one JSON document, in ASCII and without control characters."""
    click.echo(as_json(value), nl=False)


def as_json(value: object) -> str:
    """What ``say_json`` prints."""
    return json.dumps(value, indent=1).replace("\x7f", "\\u007f") + "\n"  # all else without a glyph is escaped


class Place(click.Path):
    """A path on the command line. The empty one, which would mean the working folder, is a mistake."""

    def __init__(self, **kinds: bool) -> None:
        super().__init__(path_type=Path, **kinds)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, checked for being of the right kind if it exists."""
        if not str(value) or "\0" in str(value):
            self.fail("the path is empty or holds a NUL; name a file or folder, '.' for the working folder", param, ctx)
        return super().convert(value, param, ctx)


class Places(Place):
    """One path or several, separated as in PATH."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The paths, a tuple of them."""
        return tuple(super(Places, self).convert(part, param, ctx) for part in str(value).split(os.pathsep))


results = click.option(
    "--results", type=Place(file_okay=False), default=Path("results"), help="Folder of records and runs."
)
data_root = click.option(
    "--data-root",
    type=Places(),
    envvar="BENCH_DATA",
    default="data",
    help=f"Folder of the data sets, or several with {os.pathsep!r} between them: the first that has a set counts; also "
    "$BENCH_DATA.",
)
device = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")


def devices(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--device``, ``--devices`` and ``--nodes``; how many processes there are is settled first."""

    @click.option("--devices", type=click.IntRange(1), help="Processes on each machine, one for each GPU.")
    @click.option("--nodes", type=click.IntRange(1), default=1, help="Machines; see docs/ranks.md.")
    @device
    @wraps(command)
    def wrapper(*args: Any, device: str, devices: int | None, nodes: int, **kwargs: Any) -> Any:
        # Both are read when torch is imported; DDP remarks on parameters, and the profiler on each start.
        if devices is not None or nodes > 1:
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        from bench.training import ranks

        ranks.declare(devices, nodes, device)
        return command(*args, device=device, **kwargs)

    return wrapper


protocols = click.option(
    "--protocol",
    "protocols",
    multiple=True,
    shell_complete=named("protocol"),
    help="Default: closed-set, cross-domain and anomaly, as far as their data is there.",
)


class Address(Place):
    """A folder, or the URL of one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path, or the URL as it is."""
        return value if "://" in str(value) else super().convert(value, param, ctx)


def _results_argument(kind: Place) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument("results", type=kind, metavar="[RESULTS]", required=False)
        @click.option("--results", "named", type=kind, help="The same as RESULTS.  [default: results]")
        @wraps(command)
        def wrapper(*args: Any, results: Path | str | None, named: Path | str | None, **kwargs: Any) -> Any:
            if results is not None and named is not None and Path(results).resolve() != Path(named).resolve():
                fail(f"RESULTS is {results} and --results is {named}; give one of them")
            return command(*args, results=results or named or Path("results"), **kwargs)

        return wrapper

    return decorate


results_argument = _results_argument(Place(file_okay=False))
"""``[RESULTS]``, also accepted as ``--results DIR`` like everywhere else."""


def read_results_argument(
    writes: Callable[[Mapping[str, Any]], bool] = lambda given: False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``results_argument`` of a command that only reads, and so may read from the URL of any file system of fsspec.

    ``writes`` says by what else is given whether it writes, which it then does where ``--out`` says.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @_results_argument(Address(file_okay=False))
        @wraps(command)
        def wrapper(*args: Any, results: Path | str, **kwargs: Any) -> Any:
            if not isinstance(results, Path) and writes(kwargs) and kwargs["out"] is None:
                fail(f"{results} is only read; say with --out where to write")
            from bench.records import remote

            with remote.at_hand(results) as folder:
                return command(*args, results=folder, **kwargs)

        return wrapper

    return decorate


def plugins(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--plugin FILE.py``, repeatable; what the files hold is registered before ``command`` begins."""

    @click.option("--plugin", "files", type=Place(), multiple=True, help="A file with a method, data set or protocol.")
    @wraps(command)
    def wrapper(*args: Any, files: tuple[Path, ...], **kwargs: Any) -> Any:
        load_plugins(files)
        return command(*args, **kwargs)

    return wrapper


def load_plugins(files: tuple[Path, ...]) -> None:
    """Register the plugins of the user's files."""
    from bench.plugins import registry

    for path in files:
        registry.load_plugin(path)
