"""What SegSort's two stages cost against plain implementations.

python benchmarks/segsort.py            # both at the size of 16 crops of 480 at stride 8
python benchmarks/segsort.py --small    # a quick look at a fraction of it

``plain`` k-means takes one image after the other, as released implementations do: sums of a cluster's pixels by
scatter, cosines, argmax. ``plain`` loss writes down the definition over the whole (pixels, segments) matrix: cosines,
their exponentials, own segments, positives and negatives each live at once, and autograd keeps what it needs of them.
Both pairs are checked to agree before anything is timed.

Times are medians of rounds taken in turns: processor time of one thread on the CPU, elapsed time on an accelerator.
On one CPU thread the loop over images is bound by the same arithmetic as the batch, so the ratio there says little;
what batching saves is the launches on an accelerator. Memory is the peak beyond what was held before, each
measured in a fresh process.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import torch
from common import in_turns, peak_above, peak_elsewhere
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from methods.segsort.clustering import spherical_kmeans
from methods.segsort.loss import neighbourhood_loss

console = Console()


LossInputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Pixels, labels, own segments, prototypes, their labels."""


class Size(NamedTuple):
    images: int
    pixels: int
    """Per image."""
    clusters: int
    segments: int
    dim: int = 32
    classes: int = 21
    iterations: int = 10
    kappa: float = 10.0


FULL = Size(images=16, pixels=3600, clusters=25, segments=1600)
SMALL = Size(images=4, pixels=1600, clusters=25, segments=200)


def unit(generator: torch.Generator, *shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def kmeans_inputs(size: Size, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = unit(generator, size.images, size.pixels, size.dim + 2)
    start = torch.randint(size.clusters, (size.images, size.pixels), generator=generator)
    return vectors.to(device), torch.ones_like(start, dtype=torch.bool).to(device), start.to(device)


def plain_kmeans(vectors: Tensor, valid: Tensor, start: Tensor, clusters: int, iterations: int) -> list[Tensor]:
    found = []
    for image in range(len(vectors)):
        pixels, assignment = vectors[image][valid[image]], start[image][valid[image]]
        for _ in range(iterations):
            sums = pixels.new_zeros(clusters, pixels.shape[1])
            sums.scatter_add_(0, assignment.unsqueeze(1).expand_as(pixels), pixels)
            assignment = (pixels @ F.normalize(sums, dim=1).t()).argmax(1)
        found.append(assignment)
    return found


def loss_inputs(size: Size, device: torch.device) -> LossInputs:
    generator = torch.Generator().manual_seed(0)
    prototypes = unit(generator, size.segments, size.dim)
    classes = torch.arange(size.segments) % size.classes
    own = torch.randint(size.segments, (size.images * size.pixels,), generator=generator)
    pixels = F.normalize(prototypes[own] + 0.7 * unit(generator, len(own), size.dim), dim=1)
    pixels, prototypes = pixels.to(device).requires_grad_(), prototypes.to(device).requires_grad_()
    return pixels, classes[own].to(device), own.to(device), prototypes, classes.to(device)


def plain_loss(
    pixels: Tensor, labels: Tensor, own: Tensor, prototypes: Tensor, classes: Tensor, kappa: float
) -> Tensor:
    similarity = (kappa * pixels @ prototypes.t()).exp()
    own_mask = F.one_hot(own, len(prototypes)).to(similarity.dtype)
    same = (labels.unsqueeze(1) == classes).to(similarity.dtype)
    right = similarity * (same - own_mask)
    wrong = similarity * (1 - same)
    right_sum, wrong_sum = right.sum(1), wrong.sum(1)
    return -(right_sum / (right_sum + wrong_sum)).log().mean()


def loss_step(plain: bool, inputs: LossInputs, kappa: float) -> tuple[Tensor, Tensor, Tensor]:
    inputs[0].grad = inputs[3].grad = None
    loss = (plain_loss if plain else neighbourhood_loss)(*inputs, kappa)
    loss.backward()
    assert inputs[0].grad is not None
    assert inputs[3].grad is not None
    return loss.detach(), inputs[0].grad, inputs[3].grad


def compare(size: Size, arguments: argparse.Namespace) -> None:
    device, rounds = arguments.device, arguments.rounds
    table = Table(title=f"SegSort's stages, {device}")
    for column in ("stage", "plain ms", "ours ms", "speed-up", "plain GB", "ours GB", "same"):
        table.add_column(column, justify="right")

    inputs = kmeans_inputs(size, device)
    settings = (size.clusters, size.iterations)
    expected = torch.stack(plain_kmeans(*inputs, *settings))
    same = (spherical_kmeans(*inputs, *settings).assignment == expected).float().mean().item()
    assert same > 0.999, f"only {same:.4f} of the pixels are assigned alike"
    times = in_turns(
        {
            "plain": lambda: plain_kmeans(*inputs, *settings),
            "ours": lambda: spherical_kmeans(*inputs, *settings),
        },
        device,
        rounds,
    )
    row = [f"k-means, B={size.images}\nN={size.pixels} K={size.clusters}"]
    row += [f"{1000 * times['plain']:.1f}", f"{1000 * times['ours']:.1f}", f"{times['plain'] / times['ours']:.2f}x"]
    table.add_row(*row, "", "", f"{100 * same:.2f}%")

    tensors = loss_inputs(size, device)
    slow, fast = loss_step(True, tensors, size.kappa), loss_step(False, tensors, size.kappa)
    worst = max(((f - s).norm() / s.norm()).item() for s, f in zip(slow, fast))
    assert worst < 1e-3, f"loss or gradients differ by {worst:.1e}"
    del slow, fast
    times = in_turns(
        {
            "plain": lambda: loss_step(True, tensors, size.kappa),
            "ours": lambda: loss_step(False, tensors, size.kappa),
        },
        device,
        rounds,
    )
    row = [f"loss + gradients\nN={size.images * size.pixels} S={size.segments}"]
    row += [f"{1000 * times['plain']:.0f}", f"{1000 * times['ours']:.0f}", f"{times['plain'] / times['ours']:.2f}x"]
    peaks = [f"{peak_elsewhere(name) / 1e9:.3f}" for name in ("plain", "segsort")]
    table.add_row(*row, *peaks, f"{worst:.0e} off")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a fraction of the size, in seconds")
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--threads", default=1, type=int, help="threads of PyTorch on the CPU")
    parser.add_argument("--peak", choices=("plain", "segsort"), help="print only the peak bytes of this loss step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = SMALL if arguments.small else FULL
    if arguments.peak is None:
        compare(size, arguments)
        return
    plain = arguments.peak == "plain"
    loss_step(plain, loss_inputs(SMALL._replace(pixels=50), arguments.device), size.kappa)  # libraries are loaded
    tensors = loss_inputs(size, arguments.device)
    print(peak_above(lambda: loss_step(plain, tensors, size.kappa), arguments.device))


if __name__ == "__main__":
    main()
