"""What GMMSeg's head costs: against a plain implementation, in memory, and beside softmax in a training step.

python benchmarks/gmmseg_head.py              # everything
python benchmarks/gmmseg_head.py --speed      # one section: --speed, --memory or --step

``plain`` does what the method's description says, in the obvious way: differences of every pixel to every component,
loops over classes and components, moments from the whole memory. Both heads start from the same state, and their
losses, gradients and Gaussians are compared before anything is timed. Enlarging the logits to label size and the
cross-entropy there cost every method the same, so the head is timed with labels at its own size and at four times it.

Figures are medians over whole M-step intervals, taken in turns within one run. On the CPU they are processor time of
one thread, which other programs on the machine disturb less than elapsed time; still, only the ratios mean something.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from common import STRIDE, Classes, GivenFeatures, in_turns, peak_above
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Collectives, Context, Features, Losses, Method, Network, downsample_labels, upsample
from methods.gmmseg import GMMSeg
from methods.gmmseg.config import GMMSegConfig
from methods.softmax import Softmax

console = Console()


def context(device: torch.device, steps: int, step: int) -> Context:
    return Context(
        device=device,
        seed=0,
        steps=steps,
        step=step,
        collectives=Collectives(),
        cache=Path(),
        label_maps=lambda: iter(()),
        images=lambda first=0, every=1: iter(()),
    )


class PlainHead(nn.Module):
    """GMMSeg's head written the obvious way; same parameters, same results."""

    def __init__(self, fast: GMMSeg, memory: int) -> None:
        super().__init__()
        self.config = fast.config
        self.feature_norm, self.class_norm = nn.LayerNorm(fast.config.dim), nn.LayerNorm(len(fast.classes))
        self.means, self.stds = fast.means.clone(), fast.stds.clone()
        self.to(self.means.device)
        classes, components, dim = self.means.shape
        self.ring = torch.zeros(classes, components, memory, dim, device=self.means.device)
        self.filled = [[0] * components for _ in range(classes)]
        self.pointer = [[0] * components for _ in range(classes)]

    def log_density(self, features: Tensor) -> Tensor:
        """(N, C * K), by way of (N, C * K, D)."""
        means, stds = self.means.flatten(0, 1), self.stds.flatten(0, 1)
        scaled = (features.unsqueeze(1) - means) / stds
        constant = stds.log().sum(1) + 0.5 * means.shape[1] * math.log(2 * math.pi)
        return -0.5 * scaled.square().sum(2) - constant

    def assign(self, log_density: Tensor) -> Tensor:
        """Components (n,) of the pixels of one class from their densities (n, K)."""
        plan = (log_density / log_density.abs().max() / self.config.sinkhorn_eps).exp()
        plan /= plan.sum()
        for _ in range(self.config.sinkhorn_iters):
            plan /= plan.sum(0, keepdim=True) * plan.shape[1]
            plan /= plan.sum(1, keepdim=True) * plan.shape[0]
        return plan.argmax(1)

    def losses(self, batch: Batch) -> Losses:
        images, dim, height, width = batch.images.shape
        classes, components, _ = self.means.shape
        rows = batch.images.permute(0, 2, 3, 1).reshape(-1, dim)
        features = F.normalize(self.feature_norm(rows), dim=1)
        log_density = self.log_density(features)
        logits = self.class_norm(log_density.view(-1, classes, components).max(2).values)

        labels = downsample_labels(batch.labels, (height, width)).flatten()
        target = torch.full_like(labels, -100)
        by_class = log_density.detach().view(-1, classes, components)
        for label in labels.unique().tolist():
            if label < classes:
                pixels = labels == label
                target[pixels] = label * components + self.assign(by_class[pixels, label])
        observed = (features.detach(), labels, target, logits.detach().argmax(1) == labels)

        maps = logits.view(images, height, width, classes).permute(0, 3, 1, 2)
        maps = upsample(maps, (batch.labels.shape[1], batch.labels.shape[2]))
        full_target = torch.where(batch.labels < classes, batch.labels, -100)
        terms = {
            "cross_entropy": F.cross_entropy(maps, full_target),
            "component_cross_entropy": self.config.aux_weight * F.cross_entropy(log_density, target),
        }
        return Losses(terms, observed)

    @torch.no_grad()
    def after_step(self, observed: Sequence[tuple[Tensor, ...]], context: Context) -> None:
        ((features, labels, target, correct),) = observed
        classes, components, capacity, _ = self.ring.shape
        present = [label for label in labels.unique().tolist() if label < classes]
        for label in present:
            for component in range(components):
                found = features[correct & (target == label * components + component)]
                if len(found) > self.config.push:
                    found = found[torch.linspace(0, len(found) - 1, self.config.push).long()]
                pointer = self.pointer[label][component]
                slots = (pointer + torch.arange(len(found), device=found.device)) % capacity
                self.ring[label, component, slots] = found
                self.pointer[label][component] = (pointer + len(found)) % capacity
                self.filled[label][component] = min(self.filled[label][component] + len(found), capacity)
        if context.step % self.config.em_interval == 0:
            for label in present:
                for component in range(components):
                    self.refit(label, component)

    def refit(self, label: int, component: int) -> None:
        filled = self.filled[label][component]
        if filled:
            vectors = self.ring[label, component, :filled]
            centre = F.normalize(vectors.sum(0), dim=0)
            gamma = self.config.gamma_mean
            mean = gamma * self.means[label, component] + (1 - gamma) * centre
            self.means[label, component] = F.normalize(mean, dim=0)
            self.stds[label, component] = ((vectors - centre).square().mean(0) + self.config.ridge).sqrt()


def build(classes: int, components: int, dim: int, memory: int, device: torch.device) -> GMMSeg:
    """The head alone: dense features are already projected."""
    torch.manual_seed(0)
    config = GMMSegConfig(components=components, dim=dim, memory=memory, scale_time_constants=False)
    head = GMMSeg(config, GivenFeatures(dim), Classes(classes))
    head.projection = nn.Sequential()
    head.to(device).prepare(context(device, 80000, 0))
    return head


def make_batch(images: int, dim: int, side: int, classes: int, device: torch.device) -> Batch:
    """Features that mostly show their label, on blocky label maps of side ``STRIDE * side``."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(classes, (images, 1, 16, 16), generator=generator).float()
    labels = F.interpolate(coarse, size=STRIDE * side)[:, 0].long()
    labels[:, : side // 4] = 255
    centres = torch.randn(classes + 1, dim, generator=generator)
    cells = downsample_labels(labels, (side, side)).clamp(max=classes)
    features = centres[cells].permute(0, 3, 1, 2)
    features = F.relu(features + torch.randn(features.shape, generator=generator))
    return Batch(images=features.contiguous().to(device).requires_grad_(), labels=labels.to(device))


def head_step(head: GMMSeg | PlainHead, batch: Batch, step: int) -> tuple[dict[str, Tensor], Tensor]:
    """Losses of a training step, and their gradient with respect to the features."""
    head.zero_grad(set_to_none=True)
    batch.images.grad = None
    losses, observed = head.losses(batch)
    sum(losses.values(), torch.zeros(())).backward()
    head.after_step([observed], context(batch.images.device, 80000, step))
    assert batch.images.grad is not None
    return dict(losses), batch.images.grad


def check_same(fast: GMMSeg, plain: PlainHead, batch: Batch, interval: int) -> str:
    """Run both over one M-step interval from the same state. Raises AssertionError if results differ."""
    worst = {"loss": 0.0, "gradient": 0.0, "means": 0.0, "stds": 0.0}
    for step in range(interval + 1):
        expected, gradient = head_step(plain, batch, step)
        found, other = head_step(fast, batch, step)
        for name, loss in expected.items():
            worst["loss"] = max(worst["loss"], abs(found[name].item() / loss.item() - 1))
        worst["gradient"] = max(worst["gradient"], ((other - gradient).norm() / gradient.norm()).item())
        for name in ("means", "stds"):
            expected_state, found_state = getattr(plain, name), getattr(fast, name)
            worst[name] = max(worst[name], ((found_state - expected_state).norm() / expected_state.norm()).item())
    tolerance = {"loss": 1e-4, "gradient": 1e-2, "means": 1e-3, "stds": 1e-2}
    for name, value in worst.items():
        assert value < tolerance[name], f"{name} differ by {value:.1e}"
    return ", ".join(f"{name} {value:.0e}" for name, value in worst.items())


def speed(device: torch.device, memory: int, rounds: int) -> None:
    classes, components, dim, side = 19, 5, 64, 128
    table = Table(title=f"Head training step: C=19 K=5 D=64 N={side * side} M={memory}, {device}")
    for column in ("labels", "plain ms", "gmmseg ms", "speed-up", "largest relative differences"):
        table.add_column(column, justify="right")
    for labels in ("1x", f"{STRIDE}x"):
        fast = build(classes, components, dim, memory, device)
        plain = PlainHead(fast, memory)
        batch = make_batch(1, dim, side, classes, device)
        if labels == "1x":
            batch.labels = downsample_labels(batch.labels, (side, side))
        interval = fast.config.em_interval
        agreement = check_same(fast, plain, batch, interval)

        def interval_of(head: GMMSeg | PlainHead, batch: Batch = batch, interval: int = interval) -> None:
            for step in range(interval):
                head_step(head, batch, step)

        times = in_turns({"plain": partial(interval_of, plain), "gmmseg": partial(interval_of, fast)}, device, rounds)
        slow, quick = (1000 * seconds / interval for seconds in times.values())
        table.add_row(labels, f"{slow:.1f}", f"{quick:.1f}", f"{slow / quick:.1f}x", agreement)
    console.print(table)
    console.print()


def peak_memory(device: torch.device) -> None:
    """Peak of one step. Runs in a fresh process: its allocator holds nothing back from earlier sections."""
    classes, components, dim, side, images = 150, 8, 64, 128, 2
    head = build(classes, components, dim, 2000, device)
    batch = make_batch(images, dim, side, classes, device)
    peak = peak_above(lambda: head_step(head, batch, 0), device)
    pixels = images * side * side
    tensor = pixels * classes * components * dim * 4
    table = Table(title=f"Peak memory of a head step, C=150 K=8 D=64 N={pixels}, {device}")
    for column in ("implementation", "GB beyond the persistent state"):
        table.add_column(column, justify="right")
    table.add_row("plain, computed: two (N, J, D) tensors", f"{2 * tensor / 1e9:.1f}")
    table.add_row("gmmseg, measured", f"{peak / 1e9:.2f}")
    console.print(table)
    console.print()


class FPN(Network):
    """The network of the quick recipe, with random weights."""

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        model = smp.FPN("mobilenet_v2", encoder_weights=None)
        self.encoder, self.decoder = model.encoder, model.decoder
        self.out_channels = model.decoder.out_channels

    def forward(self, images: Tensor) -> Features:
        pyramid = self.encoder(images)
        return Features(dense=self.decoder(pyramid), pyramid=tuple(pyramid))


def training_step(device: torch.device, rounds: int) -> None:
    classes, steps, interval = 11, 300, GMMSeg.Config().em_interval
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(8, 3, 256, 256, generator=generator).to(device)
    labels = F.interpolate(torch.randint(classes, (8, 1, 8, 8), generator=generator).float(), size=256)
    labels = labels[:, 0].long().to(device)
    trainers = {}
    plugins: tuple[type[Method], ...] = (Softmax, GMMSeg)
    for plugin in plugins:
        torch.manual_seed(0)
        method = plugin(plugin.Config(), FPN(), Classes(classes)).to(device)
        method.prepare(context(device, steps, 0))
        trainers[plugin.name] = (method, torch.optim.AdamW(method.parameters(), lr=1e-4))

    def train(method: Method, optimiser: torch.optim.Optimizer) -> None:
        for step in range(interval):
            optimiser.zero_grad()
            losses = method.losses(Batch(images=images, labels=labels))
            sum(losses.terms.values(), torch.zeros((), device=device)).backward()
            optimiser.step()
            method.after_step([losses.observed], context(device, steps, step))

    calls = {name: partial(train, *trainer) for name, trainer in trainers.items()}
    in_turns(calls, device, 1)  # warms up
    times = in_turns(calls, device, rounds)
    table = Table(title=f"Full training step, FPN mobilenet_v2, 8 x 256 x 256, C=11, {device}")
    for column in ("method", "ms per step", "ratio"):
        table.add_column(column, justify="right")
    for name, seconds in times.items():
        table.add_row(name, f"{1000 * seconds / interval:.0f}", f"{seconds / times['softmax']:.3f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for section in ("speed", "memory", "step"):
        parser.add_argument(f"--{section}", action="store_true", help="only the sections that are named")
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", default=3, type=int, help="M-step intervals that are timed")
    parser.add_argument("--ring", default=32000, type=int, help="vectors remembered per component, for --speed")
    parser.add_argument("--threads", default=1, type=int, help="threads of PyTorch on the CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    everything = not (arguments.speed or arguments.memory or arguments.step)
    if arguments.speed or everything:
        speed(arguments.device, arguments.ring, arguments.rounds)
    if arguments.memory and not everything:
        peak_memory(arguments.device)
    elif everything:
        command = [sys.executable, __file__, "--memory", "--device", str(arguments.device)]
        subprocess.run(command, check=True)
    if arguments.step or everything:
        training_step(arguments.device, arguments.rounds)


if __name__ == "__main__":
    main()
