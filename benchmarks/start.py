"""What it takes to start: processor time of commands that need no torch, beside the imports that any of them needs.

python benchmarks/start.py

Plain: ``python -c "import pandas, pydantic, click, rich"``. All take turns, the least of ``--rounds`` counts. Modules
are compiled once before, as an installation leaves them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from leaderboard import HERE, IMPORTS, copies, measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        copies(results := Path(folder) / "results", 2)
        wanted = ("--help", "run --help", "list methods", "list datasets", "show camvid", "show gmmseg")
        commands = {"plain": IMPORTS} | {f"bench {text}": ["-m", "bench", *text.split()] for text in wanted}
        commands["bench leaderboard, two records"] = ["-m", "bench", "leaderboard", str(results)]
        rounds = [
            {name: measured(arguments, HERE).seconds for name, arguments in commands.items()}
            for _ in range(options.rounds + 1)
        ][1:]
    least = {name: min(seconds[name] for seconds in rounds) for name in commands}
    for name, seconds in least.items():
        print(f"{name:<32}{seconds:5.2f} s  {seconds / least['plain']:5.2f}")


if __name__ == "__main__":
    main()
