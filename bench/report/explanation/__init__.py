"""``bench explain``: which training segments a prediction rests on, and how all that could be retrieved is laid out.

It works for methods that implement ``Method.evidence`` and ``Method.explain``.
"""

from bench.report.explanation.report import Sizes, explain

__all__ = ["Sizes", "explain"]
