"""Leaderboards from records: ``build`` makes the tables, ``show``, ``render`` and ``write`` put them out."""

from bench.leaderboard.formats import FILES, render, write
from bench.leaderboard.model import Table
from bench.leaderboard.tables import build
from bench.leaderboard.terminal import show

__all__ = ["FILES", "Table", "build", "render", "show", "write"]
