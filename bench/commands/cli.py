"""The command line. Thin: every command gathers its arguments and calls the module that does the work.

Heavy imports happen inside the commands, so that ``bench --help`` answers at once.
"""

from __future__ import annotations

import click

from bench import __version__
from bench.commands.comparing import claims, compare, verify
from bench.commands.data import data
from bench.commands.keeping import clean, ls, merge, pull, push
from bench.commands.looking import cite, curve, explain, export, leaderboard, migrate, pictures, show
from bench.commands.options import verbosity_options
from bench.commands.plugins import check, doctor, list_, new
from bench.commands.running import evaluate, predict, profile, run, sample
from bench.commands.sweeping import status, sweep

RUNNING = (run, sweep, status, evaluate, predict, sample, profile)
LOOKING = (leaderboard, export, curve, show, pictures, explain, cite, migrate)
COMPARING = (compare, claims, verify)
KEEPING = (ls, clean, merge, push, pull)
PLUGINS = (list_, check, new, data, doctor)


@click.group(
    commands=[*RUNNING, *LOOKING, *COMPARING, *KEEPING, *PLUGINS],
    params=verbosity_options(),
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="genseg-bench")
def main() -> None:
    """Train and compare generative methods of semantic segmentation under the same protocols."""
