"""What tables cost: processor time and peak memory of ``bench leaderboard``, of the records as they are and of many.

python benchmarks/leaderboard.py                          # against the imports that any such command needs
python benchmarks/leaderboard.py --against CHECKOUT       # against another state of this repository
python benchmarks/leaderboard.py --page                   # of the HTML page, in place of the tables
python benchmarks/leaderboard.py --records 1000           # of copies of the committed records, with their side files

Plain: ``python -c "import pandas, pydantic, click, rich"``, or the other checkout. Sides take turns, the least of
``--rounds`` counts. The output of both checkouts is compared before anything is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent.parent
IMPORTS = ["-c", "import pandas, pydantic, click, rich"]


class Cost(NamedTuple):
    seconds: float
    """Of the processor."""
    megabytes: float
    """At the peak."""
    output: str


def measured(arguments: list[str], checkout: Path, written: Path | None = None) -> Cost:
    """What a fresh process of Python costs, with the code of ``checkout``; its output is what it has ``written``."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, cwd=checkout, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed in {checkout}")
        output.seek(0)
        text = output.read() if written is None else written.read_text()
        return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def copies(results: Path, number: int) -> None:
    """``number`` records in ``results``: the committed ones again and again, with recipes of other names."""
    paths = sorted((HERE / "results" / "records").glob("*.json"))
    (results / "records").mkdir(parents=True)
    for i in range(number):
        path = paths[i % len(paths)]
        record = json.loads(path.read_text())
        record["config"]["recipe"]["name"] += f"-{i // len(paths)}"
        record["run_id"] = f"{path.stem}-{i}"
        (results / "records" / f"{path.stem}-{i}.json").write_text(json.dumps(record))
        shutil.copy(path.with_suffix(".npz"), results / "records" / f"{path.stem}-{i}.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--page", action="store_true", help="write the HTML page")
    parser.add_argument("--records", type=int, help="as many, copied from the committed ones")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = HERE / "results"
        if options.records:
            results = Path(folder) / "results"
            copies(results, options.records)
        command = ["-m", "bench", "leaderboard", str(results)]
        report = Path(folder) / "report.html" if options.page else None
        if report is not None:
            command += ["--format", "html", "--out", folder]
        plain, checkout = (command, options.against.resolve()) if options.against else (IMPORTS, HERE)
        ours, others = [], []
        for _ in range(options.rounds):
            ours.append(measured(command, HERE, report))
            others.append(measured(plain, checkout, report))
    if options.against and ours[0].output != others[0].output:
        print("the tables differ")
    for name, side in (("bench leaderboard", ours), ("plain", others)):
        print(f"{name}: {min(c.seconds for c in side):.2f} s of processor time, {min(c[1] for c in side):.0f} MB")
    ratio = min(c.seconds for c in ours) / min(c.seconds for c in others)
    print(f"ratio: {ratio:.2f} in time, {min(c[1] for c in ours) / min(c[1] for c in others):.2f} in memory")


if __name__ == "__main__":
    main()
