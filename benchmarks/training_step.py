"""What a training step of every method costs, as a ratio to softmax's on the same network and batch.

Whole steps: forward, losses, backward, optimiser and online estimation, without loading data. On a GPU it also counts
how often a step waits for the device (each wait leaves the GPU idle while the next kernels are launched).
``--network channels-last`` and ``--network compile`` add a row of every method on such a network.

``--profile METHOD`` prints instead which operators the time of that method's steps goes to, how often they are called,
and on a GPU which lines wait for it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import now
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from bench.config.tables import NetworkConfig
from bench.model.network import SegmentationNetwork
from bench.plugins import registry
from datasets.class_sets import CITYSCAPES_19
from methods.base import Batch, Collectives, Context, Method

METHODS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "gmmseg": {},
    "agmm": {},
    "segsort": {"clusters": 64},
    "gss": {"codec": "patch"},
}
STEPS = 1000


def make_batch(images: int, side: int, device: torch.device) -> Batch:
    """Noise, with labels in patches, a tenth of them void, as street scenes have."""
    generator = torch.Generator().manual_seed(0)
    classes = len(CITYSCAPES_19)
    coarse = torch.randint(classes, (images, 1, side // 32, side // 32), generator=generator).float()
    labels = F.interpolate(coarse, size=side)[:, 0].long()
    labels[:, : side // 10] = 255
    present = torch.stack([(labels == c).flatten(1).any(1) for c in range(classes)], 1)
    pixels = torch.rand(images, 3, side, side, generator=generator)
    return Batch(pixels.to(device), labels.to(device), tuple(map(str, range(images))), present.to(device))


class Trainer:
    """A method with its optimiser."""

    def __init__(
        self, name: str, network: NetworkConfig, batch: Batch, precision: str, cache: Path, form: str = ""
    ) -> None:
        plugin = registry.methods.get(name)
        device = batch.images.device
        torch.manual_seed(0)
        settings = {**METHODS[name], **({"hidden": 128} if name == "gss" else {})}
        config = plugin.Config.model_validate(settings)
        self.method: Method = plugin(config, SegmentationNetwork(network), CITYSCAPES_19).to(device)
        if form == "compile":
            self.method.network.compile()
        elif form == "channels-last":
            self.method.network.to(memory_format=torch.channels_last)
            batch = replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))
        self.batch, self.precision, self.step = batch, precision, 0
        self.context = Context(
            device=device, seed=0, steps=STEPS, step=0, collectives=Collectives(), cache=cache,
            label_maps=lambda: iter(batch.labels.cpu()), images=lambda first=0, every=1: iter([batch][first::every]),
        )  # fmt: skip
        with torch.no_grad():
            self.method.prepare(self.context)
        self.optimiser = torch.optim.AdamW([p for p in self.method.parameters() if p.requires_grad], lr=1e-4)
        self.method.train()

    def __call__(self) -> None:
        """One training step."""
        self.context.step = self.step
        batch = Batch(self.batch.images, self.batch.labels, self.batch.ids, self.batch.present)
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            terms, observed = self.method.losses(batch)
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.method.after_step([observed], self.context)
        self.step += 1


def waits(trainer: Trainer, steps: int) -> Counter[str]:
    """The lines at which ``steps`` steps make the host wait for the device, and how often each does."""
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(steps):
            trainer()
    torch.cuda.set_sync_debug_mode("default")
    return Counter(f"{w.filename}:{w.lineno}" for w in caught if "synchroniz" in str(w.message))


def profile(trainer: Trainer, steps: int, rows: int = 40) -> None:
    """Print the operators of ``steps`` steps by their own time on the device, and the lines that wait for a GPU."""
    on_gpu = trainer.batch.images.device.type == "cuda"
    for _ in range(steps):  # warms up
        trainer()
    with torch.profiler.profile() as profiler:  # of every activity that there is here
        for _ in range(steps):
            trainer()
    events = profiler.key_averages()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    print(events.table(sort_by=order, row_limit=rows, max_name_column_width=70))
    if on_gpu:
        launches = sum(e.count for e in events if "LaunchKernel" in e.key)
        print(f"{launches / steps:.0f} launches a step; waits a step:")
        for place, count in waits(trainer, steps).most_common():
            print(f"{count / steps:5.1f} {place}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--images", default=4, type=int)
    parser.add_argument("--side", default=256, type=int)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--precision", default="32", choices=("32", "bf16"))
    parser.add_argument("--steps", default=5, type=int, help="timed at once")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--method", choices=tuple(METHODS), action="append", help="besides softmax; default: all")
    parser.add_argument("--network", choices=("channels-last", "compile"), action="append", default=[])
    parser.add_argument("--profile", choices=tuple(METHODS), help="print this method's operators and no table")
    arguments = parser.parse_args()
    device = arguments.device
    methods = ["softmax", *(n for n in arguments.method or METHODS if n != "softmax")]
    forms = {
        f"{name}, {form}".removesuffix(", "): (name, form) for name in methods for form in ("", *arguments.network)
    }
    names = list(forms)
    batch = make_batch(arguments.images, arguments.side, device)
    network = NetworkConfig(encoder=arguments.encoder)
    if arguments.profile:
        with tempfile.TemporaryDirectory() as folder:
            profile(Trainer(arguments.profile, network, batch, arguments.precision, Path(folder)), arguments.steps)
        return
    title = (
        f"Training steps: {arguments.images} crops of {arguments.side}x{arguments.side}, 19 classes, FPN "
        f"{arguments.encoder}, {arguments.precision}, {device}"
    )
    table = Table(title=title)
    for column in ("method", "ms a step", "of softmax's", "peak GB", "waits a step"):
        table.add_column(column, justify="right")
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks, stalls = dict.fromkeys(names, ""), dict.fromkeys(names, "")
    with tempfile.TemporaryDirectory() as folder:
        trainers = {}
        for name in names:
            held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
            method, form = forms[name]
            trainer = trainers[name] = Trainer(method, network, batch, arguments.precision, Path(folder), form)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            for _ in range(arguments.steps):  # warms up
                trainer()
            if device.type == "cuda":
                peaks[name] = f"{(torch.cuda.max_memory_allocated() - held) / 1e9:.2f}"
                stalls[name] = f"{waits(trainer, arguments.steps).total() / arguments.steps:.1f}"
        for _ in range(arguments.rounds):
            for name, trainer in trainers.items():
                start = now(device)
                for _ in range(arguments.steps):
                    trainer()
                times[name].append((now(device) - start) / arguments.steps)
    reference = statistics.median(times["softmax"])
    for name in names:
        middle = statistics.median(times[name])
        table.add_row(name, f"{1000 * middle:.1f}", f"{middle / reference:.2f}", peaks[name], stalls[name])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
