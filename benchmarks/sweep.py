"""What a sweep of many runs costs beside the runs: a simulation in which each run only leaves its record.

python benchmarks/sweep.py                  # 10,000 runs, one in a hundred fails, one in a hundred is killed first
python benchmarks/sweep.py --runs 1000

Measured are the plan, the scheduler with all that it reads and writes, `bench status`, and then the reading of all
records, the ledger and the leaderboard's page. One real run of `majority` on Toyscapes lends the record.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from bench.commands.cli import main as bench
from bench.common.console import console
from bench.records.ledger import ledger
from bench.records.store import Store
from bench.schema.record import Record
from bench.sweeps import plan, schedule
from bench.sweeps.states import runs_of, state

GRID = """
methods = ["majority"]
datasets = ["toyscapes_mini"]
protocols = ["closed-set"]
seeds = [{seeds}]
set = ["recipe.steps=1,2,3,4,5,6,7,8,9,10"]
"""


class Ended:
    """A run that ended with this exit code."""

    said = ""

    def __init__(self, code: int) -> None:
        self.code = code

    def ended(self) -> int:
        return self.code

    def stop(self) -> None:
        pass


class Simulated:
    """Leaves a record, but for one run in a hundred that fails and one that is killed."""

    slots = 64

    def __init__(self, store: Store, record: Record, runs: Sequence[plan.Planned]) -> None:
        self.store, self.record, self.count = store, record, 0
        self.configs = {tuple(run.words): run.config for run in runs}

    def start(self, words: Sequence[str], log: Path) -> Ended:
        self.count += 1
        if self.count % 100 == 0:
            return Ended(1)
        if self.count % 100 == 50:
            return Ended(-9)
        config = self.configs[tuple(words)]
        update = {"run_id": config.run_id(), "fingerprint": config.fingerprint(), "config": config.portable()}
        self.store.write(self.record.model_copy(update=update))
        return Ended(0)


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    began, cpu = time.monotonic(), time.process_time()
    yield
    seconds = time.monotonic() - began
    print(
        f"{what}: {seconds:.1f} s ({time.process_time() - cpu:.1f} s of processor), "
        f"{1e3 * seconds / count:.2f} ms a run"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    count = parser.parse_args().runs
    schedule.POLL = 0.0
    console.quiet = True
    with tempfile.TemporaryDirectory() as folder:
        root, grid = Path(folder), Path(folder) / "grid.toml"
        short = ["--method", "majority", "--dataset", "toyscapes_mini", "--protocol", "closed-set", "--device", "cpu"]
        made = CliRunner().invoke(bench, ["run", *short, "--data-root", folder, "--results", str(root / "one")])
        if made.exit_code:
            raise SystemExit(made.output)
        (record,) = Store(root / "one").records()
        record.statistics_hash = None
        store = Store(root / "results")
        grid.write_text(GRID.format(seeds=", ".join(map(str, range(count // 10)))))
        with timed("plan", count):
            runs = plan.planned(plan.read(grid))
            plan.keep(store, "grid", runs)
        launcher = Simulated(store, record, runs)
        with timed("scheduler", count):
            outcome = schedule.work(runs, store, launcher)
        told = f"{len(outcome.done)} done, {len(outcome.failed)} failed, {len(outcome.interrupted)} killed"
        with timed(f"scheduler again, after {told}", count):
            schedule.work(runs, store, launcher)
        with timed("status", count):
            print(schedule.counted([state(store, run) for run in runs_of(store) | plan.kept(store)]))
        with timed("records", count):
            records = store.records()
        with timed("ledger", count):
            print(f"{len(ledger(records)):,} rows")
        with timed("page", count):
            arguments = ["leaderboard", str(store.root), "--format", "html", "--out", str(root / "page")]
            made = CliRunner().invoke(bench, arguments)
        print(f"{made.exit_code}: {sum(path.stat().st_size for path in (root / 'page').glob('*.html')) / 1e6:.1f} MB")
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at the most")


if __name__ == "__main__":
    main()
