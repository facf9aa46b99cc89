"""Reading records needs nothing of what makes them."""

from __future__ import annotations

import subprocess
import sys


def test_the_leaderboard_and_the_ledger_are_imported_without_torch():
    modules = "bench.report.leaderboard, bench.report.leaderboard.curves, bench.records.ledger"
    code = f"import sys, {modules}; print({{'torch', 'scipy', 'lightning', 'matplotlib'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
