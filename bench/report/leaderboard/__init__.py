"""Leaderboards from records: ``build`` makes the tables, ``show``, ``render`` and ``write`` put them out."""

from bench.report.leaderboard.formats import FILES, render, write
from bench.report.leaderboard.model import Table
from bench.report.leaderboard.tables import build
from bench.report.leaderboard.terminal import show

__all__ = ["FILES", "Table", "build", "render", "show", "write"]
