"""Leaderboards from records: ``build(_views)`` make the tables, ``show``, ``render`` and ``write`` put them out."""

from bench.report.leaderboard.formats import FILES, render, write
from bench.report.leaderboard.model import Table
from bench.report.leaderboard.tables import build, build_views
from bench.report.leaderboard.terminal import show
from bench.report.leaderboard.views import EVERYTHING, View, require

__all__ = ["EVERYTHING", "FILES", "Table", "View", "build", "build_views", "render", "require", "show", "write"]
