"""AGMM's loss step against the same formulas written the obvious way: memory, time, values and gradients.

    python benchmarks/agmm.py                 # 16 crops of 321 x 321, 256 channels, 21 classes, stride 4
    python benchmarks/agmm.py --images 4      # where the 10 GB of the plain form are not to be had
    python benchmarks/agmm.py --images 6 --exact    # tells which of the two rounds

A step takes features and classifier to the five weighted losses and back to both gradients; the network before
them is the same for either. ``plain`` enlarges the features to label size for the centres and forms the
difference of every cell to the centre of every class. Each candidate runs in its own process; memory is its
peak during a step beyond what was resident before. Both start from the same numbers, and their losses and
gradients are compared; ``--exact`` compares either with the plain form in float64, which needs twice its memory. Times
are the best of a few steps; on a shared machine only their ratio means something.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from common import STRIDE, Classes, GivenFeatures, peak_above
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from methods.agmm import AGMM
from methods.base import Batch, upsample

EPS = 1e-6
"""Inside logarithms, of either form and preset: the plain form cannot do without."""
TIES = 2e-6
"""Share of the elements of the features' gradient that may differ as a whole: |f - mu| turns where a feature
equals a centre up to rounding, which no form in float32 can decide."""


def make_batch(images: int, side: int, dim: int, classes: int, present: int, device: str) -> Batch:
    """Non-negative features, ``present`` classes of 40 labelled 3 x 3 squares in each image, padding below."""
    generator = torch.Generator().manual_seed(0)
    cells = -(-side // STRIDE)
    features = torch.randn(images, dim, cells, cells, generator=generator).relu_()
    labels = torch.full((images, side, side), 254)
    labels[:, side - side // 8 :] = 255
    for image in range(images):
        for label in torch.randperm(classes, generator=generator)[:present].tolist():
            for _ in range(40):
                y, x = torch.randint(side - side // 8 - 3, (2,), generator=generator).tolist()
                labels[image, y : y + 3, x : x + 3] = label
    return Batch(images=features.to(device).requires_grad_(), labels=labels.to(device))


def make_method(dim: int, classes: int, preset: str, device: str) -> AGMM:
    torch.manual_seed(0)
    method = AGMM(AGMM.Config(preset=preset, dim=dim, eps=EPS), GivenFeatures(dim), Classes(classes))
    method.projection = nn.Sequential()
    return method.to(device)


def plain_losses(features: Tensor, logits: Tensor, labels: Tensor, preset: str) -> dict[str, Tensor]:
    """The five terms of either preset, with tensors of shape (B, D, H, W) and (B, C, D, h, w)."""
    images, classes, _, _ = logits.shape
    size = (labels.shape[1], labels.shape[2])
    p = upsample(logits, size).softmax(1)
    domain, labelled = labels != 255, labels < classes
    small_valid = nn.functional.interpolate(
        nn.functional.pad(domain[:, None].float(), (0, -size[1] % STRIDE, 0, -size[0] % STRIDE), mode="replicate"),
        size=features.shape[2:],
        mode="bilinear",
    )

    large = upsample(features, size)
    mu = features.new_zeros(images, classes, features.shape[1])
    active = torch.zeros(images, classes, device=features.device)
    for image in range(images):
        for label in labels[image].unique().tolist():
            if label < classes:
                mask = labels[image] == label
                mu[image, label] = large[image][:, mask].sum(1) / (mask.sum() + 1e-6)
                active[image, label] = 1

    d = (features.unsqueeze(1) - mu[..., None, None]).abs().mean(2)
    if preset == "released":
        d = d * small_valid
    energy = d**2
    if preset == "paper":
        weight = logits.softmax(1) * small_valid
        variance = (weight * d**2).sum((2, 3)) / (weight.sum((2, 3)) + 1e-6)
        energy = d**2 / (2 * variance.detach() + 1e-6)[..., None, None]
    r = upsample((-energy).exp(), size) * active[..., None, None]

    def both(target: Tensor, prediction: Tensor) -> Tensor:
        """(B, H, W): halved binary cross-entropy, averaged over the image's classes."""
        terms = -target * (prediction + EPS).log() - (1 - target) * (1 - prediction + EPS).log()
        return (terms / 2 * active[..., None, None]).sum(1) / active.sum(1)[:, None, None]

    target = torch.where(labelled, labels, 0)
    one_hot = nn.functional.one_hot(target, classes).permute(0, 3, 1, 2) * labelled.unsqueeze(1)
    suppressed = -((1 - p + EPS).log() * (1 - active)[..., None, None]).sum(1)
    count = active.sum(0)
    vectors = mu.sum(0)
    if preset == "paper":
        vectors = vectors / count.clamp(min=1)[:, None]
    seen = [k for k in range(classes) if count[k] > 0]
    closeness = [(-((vectors[i] - vectors[j]).abs().mean() ** 2)).exp() for i in seen for j in seen if i < j]
    return {
        "cross_entropy": -(p.log() * one_hot).sum() / labelled.sum(),
        "self_training": both(r, p)[domain].mean(),
        "mixture": both(one_hot.float(), r)[labelled].mean(),
        "separation": torch.stack(closeness).mean(),
        "absent_classes": suppressed[domain].mean(),
    }


def make_step(name: str, shape: tuple[int, ...], preset: str, device: str) -> Callable[[], dict[str, Tensor]]:
    """One step from features to losses and gradients, in float64 for ``exact``."""
    images, side, dim, classes, present = shape
    batch = make_batch(images, side, dim, classes, present, device)
    method = make_method(dim, classes, preset, device)
    if name == "exact":
        batch.images = batch.images.detach().double().requires_grad_()
        method.double()

    def step() -> dict[str, Tensor]:
        batch.images.grad = method.classifier.weight.grad = None
        if name == "agmm":
            losses = dict(method.losses(batch).terms)
        else:
            logits = method.classifier(batch.images)
            losses = plain_losses(batch.images, logits, batch.labels, preset)
        torch.stack(list(losses.values())).sum().backward()
        result = {term: value.detach() for term, value in losses.items()}
        assert batch.images.grad is not None
        assert method.classifier.weight.grad is not None
        return result | {"to features": batch.images.grad, "to classifier": method.classifier.weight.grad}

    return step


def measure(name: str, shape: tuple[int, ...], preset: str, device: str, rounds: int, path: Path) -> dict[str, Any]:
    """Seconds and peak bytes of a step, in this process; its result goes to ``path``."""
    make_step(name, (1, 33, 8, 5, 2), preset, device)()  # first-call costs are no part of the measurement
    step = make_step(name, shape, preset, device)
    result: dict[str, Tensor] = {}
    held = peak_above(lambda: result.update(step()), torch.device(device))
    torch.save({term: tensor.cpu() for term, tensor in result.items()}, path)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "bytes": held}


def step_once(name: str, shape: tuple[int, ...], preset: str, device: str, path: Path) -> None:
    """One step in this process; the result goes to ``path``."""
    torch.save({term: tensor.cpu() for term, tensor in make_step(name, shape, preset, device)().items()}, path)


def compare(found: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Relative differences, of gradients in the Euclidean norm."""
    difference = {name: (found[name] - value).flatten() for name, value in expected.items()}
    values = {name: float(change.norm() / expected[name].norm()) for name, change in difference.items()}
    change = difference["to features"]
    ties = round(TIES * len(change))
    rest = change.index_fill(0, change.abs().topk(ties).indices, 0)
    tied = f"{float(rest.norm() / expected['to features'].norm()):.0e} but for {ties} of {len(change)} elements"
    return ", ".join(f"{name} {value:.0e}" + f" ({tied})" * (name == "to features") for name, value in values.items())


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--images", default=16, help="crops in a batch")
@click.option("--side", default=321, help="rows and columns of a crop")
@click.option("--dim", default=256, help="channels of the features")
@click.option("--classes", default=21, help="classes of the data set")
@click.option("--present", default=3, help="classes labelled in each crop")
@click.option("--preset", default="released", type=click.Choice(["released", "paper"]))
@click.option("--device", default="cpu")
@click.option("--rounds", default=3, help="timed steps")
@click.option("--threads", default=1, help="CPU threads")
@click.option("--exact", is_flag=True, help="compare with float64 too")
def main(
    images: int,
    side: int,
    dim: int,
    classes: int,
    present: int,
    preset: str,
    device: str,
    rounds: int,
    threads: int,
    exact: bool,
) -> None:
    shape, measured, results = (images, side, dim, classes, present), {}, {}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="agmm-benchmark-") as folder:
        for name in ("plain", "agmm"):
            path = Path(folder) / f"{name}.pt"
            with context.Pool(1, torch.set_num_threads, (threads,)) as pool:
                measured[name] = pool.apply(measure, (name, shape, preset, device, rounds, path))
            results[name] = torch.load(path)
        if exact:
            path = Path(folder) / "exact.pt"
            with context.Pool(1, torch.set_num_threads, (threads,)) as pool:
                pool.apply(step_once, ("exact", shape, preset, device, path))
            results["exact"] = torch.load(path)
    table = Table(
        title=f"Loss step, {images} crops of {side} x {side}, D={dim} C={classes}, {present} classes in each, "
        f"stride {STRIDE}, preset {preset}, {device}"
    )
    for column in ("implementation", "seconds", "speed-up", "GB beyond the inputs", "share of memory"):
        table.add_column(column, justify="right")
    reference = measured["plain"]
    for name, row in measured.items():
        table.add_row(
            name,
            f"{row['seconds']:.3f}",
            f"{reference['seconds'] / row['seconds']:.1f}x",
            f"{row['bytes'] / 1e9:.2f}",
            f"{row['bytes'] / reference['bytes']:.3f}",
        )
    console = Console(width=120)
    console.print(table)
    for name, other in (("agmm", "plain"), ("agmm", "exact"), ("plain", "exact")):
        if other in results:
            console.print(f"{name} against {other}: {compare(results[name], results[other])}")


if __name__ == "__main__":
    main()
