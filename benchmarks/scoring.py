"""What scoring under several protocols costs in one loop, beside the dearest of them alone.

An untrained softmax on FPN and MobileNetV2 predicts the test split of a Toyscapes set. *Together* is one scoring under
all protocols, *alone* one under each. The ratio is that of together to the dearest alone plus the time that the other
protocols spend in counting; protocols that predicted images each for themselves would have the sum of all alone. The
numbers of both are compared before anything is printed.

python benchmarks/scoring.py --data-root DIR
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from bench.config import grid as sweeps
from bench.model.predictor import Predictor
from bench.model.weights import build_method
from bench.plugins import registry
from bench.runs import plan as planning
from bench.scoring.protocols.base import Counts, Evaluation, Protocol, Reading, Values
from bench.scoring.score import Outcome, score


def timed(protocol: type[Protocol]) -> tuple[type[Protocol], list[float]]:
    """``protocol``, and the processor times that it will have spent in counting an image."""
    spent: list[float] = []

    def count(cls: type[Protocol], image: Reading) -> Counts:
        began = time.process_time()
        counts = protocol.count(image)
        spent.append(time.process_time() - began)
        return counts

    return type(protocol.__name__, (protocol,), {"count": classmethod(count)}), spent


def metrics(outcome: Outcome) -> Values:
    """What the protocol found; AssertionError with the reason where it failed."""
    assert outcome.scores is not None, outcome.reason
    return outcome.scores.metrics


@click.command()
@click.option("--dataset", default="toyscapes", show_default=True)
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.option(
    "--protocol", "names", multiple=True, default=("closed-set", "calibration", "boundary"), show_default=True
)
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--repeats", default=3, show_default=True)
def main(dataset: str, data_root: Path, names: tuple[str, ...], threads: int, repeats: int) -> None:
    """Print processor times and their ratio."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    source, method_class = registry.datasets.get(dataset), registry.methods.get("softmax")
    ((_, config),) = sweeps.grid([method_class], dataset, "quick", [0], [], []).runs
    predictor = Predictor(
        build_method(method_class, config, source.classes), config.recipe.inference, torch.device("cpu")
    )
    open_ = planning.opener(data_root, allow_partial=False)
    target = (source.name, source.eval_splits[0])

    def scored(*protocols: type[Protocol]) -> tuple[float, dict[str, Values]]:
        with tempfile.TemporaryDirectory() as scratch:
            evaluation = Evaluation(predictor, source, open_, Path(scratch))
            began = time.process_time()
            done = [o for outcomes in score(evaluation, {p: [target] for p in protocols}) for o in outcomes]
            return time.process_time() - began, {o.protocol.name: metrics(o) for o in done}

    protocols = {name: registry.protocols.get(name) for name in names}
    open_(*target)
    scored(*protocols.values())  # the first is not counted
    alone: dict[str, float] = {}
    counting: dict[str, float] = {}
    numbers: dict[str, Values] = {}
    together, shared = min((scored(*protocols.values()) for _ in range(repeats)), key=lambda found: found[0])
    for name, protocol in protocols.items():
        found = []
        for _ in range(repeats):
            watched, counts = timed(protocol)
            spent, measured = scored(watched)
            found.append((spent, sum(counts)))
            numbers |= measured
        alone[name], counting[name] = min(found)
    assert shared == numbers, "together and alone must give the same numbers"
    dearest = max(alone, key=alone.__getitem__)
    bound = alone[dearest] + sum(spent for name, spent in counting.items() if name != dearest)
    images = len(open_(*target))
    table = Table(title=f"{source.name}/{target[1]}, {images} images, {threads} thread(s)")
    for column in ("protocol", "alone, ms an image", "of it counting"):
        table.add_column(column, justify="left" if column == "protocol" else "right")
    for name in protocols:
        table.add_row(name, f"{1000 * alone[name] / images:.1f}", f"{1000 * counting[name] / images:.1f}")
    table.add_row("together", f"{1000 * together / images:.1f}", "")
    console = Console()
    console.print(table)
    console.print(f"together / (dearest alone + counting of the others): {together / bound:.2f}")
    console.print(f"together / sum of all alone: {together / sum(alone.values()):.2f}")


if __name__ == "__main__":
    main()
