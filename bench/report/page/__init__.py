"""The leaderboard as one HTML page: ``page`` writes it, ``section`` the part of one table."""

from bench.report.page.page import page, section

__all__ = ["page", "section"]
