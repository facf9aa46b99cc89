"""What a run and a sweep cost where they grow: the tables of docs/scaling.md, and what their constants are measured by.

python benchmarks/scaling.py                        # the tables, computed
python benchmarks/scaling.py --measure network      # processor time a pixel of the network, in training and prediction
python benchmarks/scaling.py --measure data         # processor time an image of decoding and of augmentation
python benchmarks/scaling.py --measure exchange     # bytes that a rank hands to the others in a step, by method
python benchmarks/scaling.py --measure memory       # of SegSort's bank and of exact ranking

Processor time of one thread. The methods' steps are those of ``training_step.py --encoder mobilenet_v2 --images 8`` on
the CPU, and of ``benchmarks/README.md`` on a GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

METHODS = ("softmax", "gmmseg", "agmm", "segsort", "gss")
NAMES = ("softmax", "GMMSeg", "AGMM", "SegSort", "GSS")

NETWORK_NS = 3169
"""Of processor time that training FPN with mobilenet_v2 takes for a pixel of a crop, in a step."""
STEP_MS = dict(zip(METHODS, (1775.7, 1907.3, 5269.7, 2023.2, 4324.2)))
"""Of a whole step on 8 crops of 256 x 256, 19 classes, on the same network."""
STEP_PIXELS = 8 * 256 * 256
GPU_NS = 56.6e6 / (16 * 512 * 512)
"""Of time that a step of softmax takes for a pixel, FPN with resnet50, float32, on one H100."""
GPU_RATIO = dict(zip(METHODS, (1.00, 1.19, 1.76, 1.91, 2.19)))
DECODE_NS, CROP_NS = 4.3e6 / (360 * 480), 5.4e6 / (256 * 256)
"""For a pixel of CamVid's images and of the crops that are made of them, colours changed."""
BANK_DIM = 32
LEVEL_BYTES = 4 + 8 + 8 + 8
"""Exact ranking, for each distinct score of an anomalous pixel: score and count, negatives between and at."""


def cpu_ns(method: str) -> float:
    """Nanoseconds of a training step for a pixel, on one thread."""
    return 1e6 * STEP_MS[method] / STEP_PIXELS


def training_seconds(steps: int, batch: int, crop: tuple[int, int], ns: float, ranks: int = 1) -> float:
    """Of computing alone; what is exchanged is hidden behind the backward pass as far as the link is fast enough."""
    return steps * batch * crop[0] * crop[1] * ns * 1e-9 / ranks


def bank_bytes(rows: int, dim: int = BANK_DIM) -> int:
    """Of SegSort's bank: float32 features and purity, int64 label, image and cluster, for each prototype."""
    return rows * (4 * dim + 4 + 3 * 8)


def link(exchanged: float, seconds: float, ranks: int) -> float:
    """Bytes a second with which a ring exchanges ``exchanged`` bytes of each rank in a tenth of ``seconds``."""
    return 2 * (ranks - 1) / ranks * exchanged / (seconds / 10)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table of Markdown, numbers to the right."""
    rule = "|".join(["", *["---"] * text_columns, *["--:"] * (len(head) - text_columns), ""])
    top, *lines = ("| " + " | ".join(row) + " |" for row in (head, *rows))
    return "\n".join((top, rule, *lines))


class Setting(NamedTuple):
    """A recipe on a data set, on a machine."""

    name: str
    machine: str
    steps: int
    batch: int
    crop: tuple[int, int]
    gpu: bool
    image: int = 0
    """Pixels of its images, where it is in the table of loading."""


RUNS = (
    Setting("`quick`, CamVid", "one CPU thread", 300, 8, (256, 256), False, 360 * 480),
    Setting("`quick`'s network, 2,400 steps", "one CPU thread", 2400, 8, (256, 256), False),
    Setting("`standard`, CamVid", "one H100", 8000, 16, (352, 352), True, 360 * 480),
    Setting("`standard`, BDD100K", "one H100", 40000, 16, (640, 640), True),
    Setting("`standard`, Cityscapes", "one H100", 40000, 16, (768, 768), True, 1024 * 2048),
)


def runs_table() -> str:
    """How long training takes."""

    def row(run: Setting) -> list[str]:
        ns = [GPU_NS * GPU_RATIO[m] if run.gpu else cpu_ns(m) for m in METHODS]
        seconds = [training_seconds(run.steps, run.batch, run.crop, each) for each in ns]
        size = f"{run.steps:,} x {run.batch} x {run.crop[0]}²"
        return [run.name, run.machine, size, *(_time(each) for each in seconds)]

    return table(("recipe", "on", "steps x batch x crop", *NAMES), [row(run) for run in RUNS], 3)


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parts_table() -> str:
    """What of a run is what."""
    rows = [
        [
            name,
            f"{NETWORK_NS:,}",
            f"{cpu_ns(method) - NETWORK_NS:,.0f}",
            f"{100 * (1 - NETWORK_NS / cpu_ns(method)):.0f} %",
            f"{GPU_NS * GPU_RATIO[method]:.1f}",
        ]
        for name, method in zip(NAMES, METHODS)
    ]
    return table(("method", "network, CPU", "head, CPU", "of the step", "step, H100"), rows)


def loading_seconds(image: int, crop: tuple[int, int]) -> float:
    """Of one process for a crop of ``crop`` pixels out of an image of so many."""
    return 1e-9 * (DECODE_NS * image + CROP_NS * crop[0] * crop[1])


def loading_table() -> str:
    """How many processes must load images so that training does not wait for them."""
    rows = []
    for run in (run for run in RUNS if run.image):
        ns = GPU_NS if run.gpu else cpu_ns("softmax")
        step = training_seconds(1, run.batch, run.crop, ns)
        loading = run.batch * loading_seconds(run.image, run.crop)
        rows.append(
            [run.name, run.machine, f"{1e3 * step:,.0f} ms", f"{1e3 * loading:,.0f} ms", f"{loading / step:.2f}"]
        )
    return table(("recipe", "on", "step of softmax", "its images, by one process", "processes"), rows, 2)


class Exchange(NamedTuple):
    """Bytes that a rank hands to the others in a step."""

    gradients: int
    norms: int
    method: int


EXCHANGED = {
    "softmax": Exchange(16_870_988, 272_896, 8),
    "gmmseg": Exchange(16_895_128, 273_920, 488_456),
    "agmm": Exchange(17_013_836, 276_992, 39_096),
    "segsort": Exchange(16_877_696, 272_896, 188_184),
    "gss": Exchange(19_669_644, 285_184, 16),
}
"""mobilenet_v2 and two crops of 256 x 256 for each of two ranks."""
RESNET50 = Exchange(4 * 26_115_904, 16 * 26_560, 0)
"""FPN with resnet50: float32, whatever the arithmetic of the network; means and variances, there and back."""


def exchange_table() -> str:
    """What a rank hands to the others in a step."""
    rows = [
        [
            name,
            *(f"{sent / 1e6:.2f} MB" for sent in EXCHANGED[method]),
            f"{100 * sum(EXCHANGED[method][1:]) / sum(EXCHANGED[method]):.1f} %",
        ]
        for name, method in zip(NAMES, METHODS)
    ]
    return table(("method", "gradients", "norms", "method", "beside gradients"), rows)


def ranks_table() -> str:
    """What is left of a step for each of 1, 8 and 64 ranks, and what they exchange."""
    rows = []
    for name, side, image, ns, sent in (
        ("CPU threads", 256, 360 * 480, cpu_ns("softmax"), sum(EXCHANGED["gmmseg"])),
        ("H100", 512, 1024 * 2048, GPU_NS, sum(RESNET50)),
    ):
        beyond = (cpu_ns("gmmseg") - ns) if name != "H100" else GPU_NS * (GPU_RATIO["gmmseg"] - 1)
        for ranks in (1, 8, 64):
            loading = 64 * loading_seconds(image, (side, side)) / ranks
            network, head = (training_seconds(1, 64, (side, side), each, ranks) for each in (ns, beyond))
            needed = f"{link(sent, network + head, ranks) / 1e9:,.2f} GB/s" if ranks > 1 else "-"
            moved = f"{2 * (ranks - 1) / ranks * sent / 1e6:.0f} MB"
            times = [f"{1e3 * seconds:,.1f} ms" for seconds in (loading, network, head)]
            rows.append([f"{name}, {side}²", str(ranks), *times, moved, needed])
    head_row = (
        "64 crops on",
        "ranks",
        "data",
        "network, softmax",
        "GMMSeg beyond it",
        "exchanged",
        "link for a tenth more",
    )
    return table(head_row, rows)


SETS = (("Cityscapes", 2975), ("Mapillary Vistas", 18000), ("COCO-Stuff 164k", 118287))


def bank_table() -> str:
    """SegSort's bank where every cluster of every training image enters it."""
    rows = [
        [
            name,
            f"{images:,}",
            *(f"{images * k / 1e6:.2f} M, {bank_bytes(images * k) / 1e9:.2f} GB" for k in (25, 64, 256)),
        ]
        for name, images in SETS
    ]
    return table(("data set", "training images", "25 clusters", "64 clusters", "256 clusters"), rows)


SPLITS = (
    ("Cityscapes val", 500, 2048 * 1024),
    ("Mapillary Vistas val, at 4000 x 3000", 2000, 4000 * 3000),
    ("COCO-Stuff val, at 640 x 480", 5000, 640 * 480),
)


def ranking_table() -> str:
    """Exact ranking metrics of one anomaly score, if so many pixels are anomalous, no two with one score."""
    rows = [
        [
            name,
            f"{images * pixels / 1e9:.2f}",
            *(f"{images * pixels * share * LEVEL_BYTES / 1e9:.2f} GB" for share in (0.003, 0.01, 0.1)),
            f"{images * pixels * 5 / 1e9:.1f} GB",
        ]
        for name, images, pixels in SPLITS
    ]
    return table(("split", "billion pixels", "0.3 %", "1 %", "10 %", "every score and label"), rows)


TABLES: tuple[Callable[[], str], ...] = (
    runs_table, parts_table, loading_table, exchange_table, ranks_table, bank_table, ranking_table
)  # fmt: skip


def seconds_of(work: Callable[[], object], rounds: int = 3) -> float:
    """Processor time of ``work``: the least of some rounds, after one that warms up."""
    work()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def measure_network() -> None:
    """Print nanoseconds a pixel."""
    import torch

    from bench.config.tables import NetworkConfig
    from bench.model.network import SegmentationNetwork

    network = SegmentationNetwork(NetworkConfig(encoder="mobilenet_v2"))
    crops, whole = torch.rand(8, 3, 256, 256), torch.rand(1, 3, 352, 480)

    def predict() -> None:
        with torch.no_grad():
            network(whole)

    trained = seconds_of(lambda: network(crops).dense.square().mean().backward())
    print(f"training: {1e9 * trained / STEP_PIXELS:.0f} ns a pixel")
    network.eval()
    print(f"prediction: {1e9 * seconds_of(predict) / (352 * 480):.0f} ns a pixel")
    for encoder in ("mobilenet_v2", "resnet50"):
        parameters = SegmentationNetwork(NetworkConfig(encoder=encoder)).parameters()
        print(f"{encoder}: {sum(4 * p.numel() for p in parameters):,} bytes of gradients")


def measure_data(root: str, images: int = 32) -> None:
    """Print milliseconds an image of CamVid."""
    import torch

    from bench.config.tables import Recipe
    from bench.data.batches import training_batches
    from bench.plugins import registry

    dataset = registry.datasets.get("camvid")(Path(root), "train", allow_partial=True)
    recipe = Recipe(batch_size=8, workers=0, steps=images)
    decoded = seconds_of(lambda: [dataset[i] for i in range(images)]) / images
    drawn = (
        seconds_of(lambda: [*islice(training_batches(dataset, recipe, 0, torch.device("cpu")), images // 8)]) / images
    )
    print(f"decoded: {1e3 * decoded:.1f} ms; decoded and made a crop: {1e3 * drawn:.1f} ms")


def measure_exchange(images: int = 2) -> None:
    """Print what each of two ranks with so many crops hands to the other."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            multiprocessing.get_context("fork").Process(target=partial(_exchange, rank, images, Path(folder)))
            for rank in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()


def _exchange(rank: int, images: int, folder: Path) -> None:
    import torch
    from lightning.fabric import Fabric
    from training_step import Trainer, make_batch

    from bench.config.tables import NetworkConfig
    from bench.training.ranks import FabricCollectives, handed, synchronise_norms

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ.setdefault("MASTER_PORT", "29511")
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    batch = make_batch(images, 256, fabric.device)
    for name in METHODS:
        trainer = Trainer(name, NetworkConfig(encoder="mobilenet_v2"), batch, "32", folder / str(rank))
        ranks = FabricCollectives(fabric)
        synchronise_norms(trainer.method, ranks.counted_as("norms"), fabric.device)
        trainer.method.collectives = trainer.context.collectives = ranks
        trainer()
        first = handed(ranks)
        trainer()
        sent = handed(ranks) - first
        gradients = sum(p.nbytes for p in trainer.method.parameters() if p.requires_grad)
        if rank == 0:  # as EXCHANGED has it
            print(f'    "{name}": Exchange({gradients:_}, {sent["norms"]:_}, {sent["method"]:_}),', flush=True)
    torch.distributed.destroy_process_group()


def measure_memory(classes: int = 19, clusters: int = 256, positives: int = 10_000_000) -> None:
    """Print what a bank of Cityscapes' size and a ranking hold, and their peaks."""
    import numpy as np
    import torch
    from common import peak_above

    from bench.scoring.metrics.ranking import NegativeCounts, PositiveScores
    from methods.base import Collectives
    from methods.segsort.bank import PrototypeBank

    cpu = torch.device("cpu")
    parts = [
        {
            "features": torch.nn.functional.normalize(torch.randn(clusters, BANK_DIM), dim=1),
            "labels": torch.randint(classes, (clusters,)),
            "purity": torch.rand(clusters),
            "images": torch.full((clusters,), image),
            "clusters": torch.arange(clusters),
        }
        for image in range(SETS[0][1])
    ]
    bank = PrototypeBank(BANK_DIM, classes)
    peak = peak_above(lambda: bank.build(parts, 0.0, Collectives()), cpu)
    held = sum(getattr(bank, name).nbytes for name in bank.ROWS)
    print(f"bank of {len(bank):,}: {held / 1e6:.0f} MB, at the peak {peak / 1e6:.0f} MB beyond the parts")
    queries = bank.features[:clusters].clone()
    print(f"{clusters} queries: {seconds_of(lambda: bank.nearest(queries, 21)):.2f} s")

    scores = np.random.default_rng(0).permutation(positives).astype(np.float32).reshape(10, -1)
    found = [PositiveScores()]

    def collect() -> None:
        for number, image in enumerate(scores):
            found[0].update(str(number), image, np.ones_like(image, np.int64))
        NegativeCounts(found[0].finish())

    print(f"ranking of {positives:,} scores: at the peak {peak_above(collect, cpu) / positives:.0f} bytes for each")


def main() -> None:
    """Print the tables, or what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=("network", "data", "exchange", "memory"))
    parser.add_argument("--data-root", default="data")
    arguments = parser.parse_args()
    if arguments.measure is None:
        print("\n\n".join(make() for make in TABLES))
    elif arguments.measure == "data":
        measure_data(arguments.data_root)
    else:
        {"network": measure_network, "exchange": measure_exchange, "memory": measure_memory}[arguments.measure]()


if __name__ == "__main__":
    main()
