"""How fast images of a data set are read, beside how fast a training step uses them up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import torch
from lightning.fabric import Fabric

from bench.config import tables as config
from bench.data.batches import training_batches
from bench.data.reading import AHEAD, read_ahead
from bench.model.weights import build_method
from bench.plugins import registry
from bench.training import ranks
from bench.training.loop import LossModule
from bench.training.optimiser import make_optimiser
from datasets.base import Dataset, Roots
from methods.base import Batch

STEPS = 5
"""Training steps that are timed, after one that is not."""


def measure(plugin: type[Dataset], root: Roots, recipe: str, images: int, device: str) -> Iterator[tuple[str, float]]:
    """What was timed, and its images a second: decoding alone, the loader of scoring, that of training, its need."""
    dataset = plugin(root, plugin.train_split or next(iter(plugin.splits)), allow_partial=True)
    indices = [i % len(dataset) for i in range(images)]
    yield "decoded, by one thread", _rate((dataset[i] for i in indices), 1)
    yield f"read ahead for scoring, by {AHEAD} threads", _rate(read_ahead(dataset, indices), 1)
    if plugin.train_split is None:
        return
    method = registry.methods.get("softmax")
    run = config.build(method, plugin.name, recipe, 0, [{"network": {"encoder_weights": None}}])
    size, (height, width) = run.recipe.batch_size, run.recipe.augmentation.crop
    fabric = ranks.make_fabric(device, run.recipe.precision)
    steps = max(images // size, 2) + 1
    endless = run.recipe.model_copy(update={"steps": steps, "accumulate": 1})
    batches = training_batches(dataset, endless, 0, fabric.device)
    yield f"in batches of {size} crops of {width}x{height}, by {run.recipe.workers} processes", _rate(batches, size)
    need = size / _step_seconds(run, dataset, fabric)
    network = f"{run.network.architecture_label()} with {run.network.encoder}"
    yield f"used by training steps of softmax, {network} on {fabric.device}, recipe {run.recipe.name}", need


def _rate(things: Iterable[object], size: int) -> float:
    """Images a second of things of ``size`` images each, from the first on: what starts the loader does not count."""
    iterator = iter(things)
    next(iterator)
    began = time.monotonic()
    count = sum(1 for _ in iterator)
    return count * size / (time.monotonic() - began)


def _step_seconds(run: config.RunConfig, dataset: Dataset, fabric: Fabric) -> float:
    """Seconds of a training step, its batch being there: noise, in classes at random."""
    method = build_method(registry.methods.get(run.method_name), run, dataset.classes).to(fabric.device)
    wrapped, optimiser = fabric.setup(LossModule(method), make_optimiser(method, run.recipe.optimiser))
    size, crop, classes = run.recipe.batch_size, run.recipe.augmentation.crop, len(dataset.classes)
    labels = torch.randint(classes, (size, *crop))
    batch = Batch(
        torch.rand(size, 3, *crop), labels, tuple(map(str, range(size))), torch.ones(size, classes, dtype=torch.bool)
    ).to(fabric.device)

    def step() -> float:
        terms, _ = wrapped(batch)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        fabric.backward(total)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(total.detach())  # waits for the device

    step()
    began = time.monotonic()
    for _ in range(STEPS):
        step()
    return (time.monotonic() - began) / STEPS
